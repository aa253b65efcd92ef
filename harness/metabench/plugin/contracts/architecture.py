"""The choices of a searched network, and the tensors that describe an architecture."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class CellChoices:
    """The choices in one type of cell.

    Attributes:
        edges: (source, target) of each edge; logits have this order.
        primitives: names of the candidate operations, the same on every edge. One that is named
            ``zero`` is no operation: it takes a share of an edge's weight, and no genotype has it.
        kept: how many edges into each node a genotype keeps.
        input_pairs: whether the pairs of inputs of each node can have weights of their own.
    """

    edges: tuple[tuple[int, int], ...]
    primitives: tuple[str, ...]
    kept: int = 2
    input_pairs: bool = False

    def pairs(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """Per node, in order, the pairs of edges into it (their positions in ``edges``).

        This is the order of the weights ``<cell>.inputs``, one node after another.

        >>> CellChoices(((0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), ("skip",)).pairs()
        {2: ((0, 1),), 3: ((2, 3), (2, 4), (3, 4))}
        """
        into: dict[int, list[int]] = {}
        for position, (_, target) in enumerate(self.edges):
            into.setdefault(target, []).append(position)
        return {
            node: tuple(itertools.combinations(sorted(into[node], key=self.edges.__getitem__), 2))
            for node in sorted(into)
        }


INPUTS = ".inputs"
"""Ends the key of the weights of input pairs of a cell: ``<cell>.inputs``."""
NEEDED = ".needed"
"""Ends the key of the marks of operations of a cell: ``<cell>.needed``."""
ZERO = "zero"
"""The primitive that is no operation; see :class:`CellChoices`."""


Params = dict[str, "Tensor"]
"""Weights by name: ``[*shape]`` when shared, ``[tasks, *shape]`` once a task owns them."""
Arch = dict[str, "Tensor"]
"""Architecture logits by cell type, ``[edges, operations]``, or ``[tasks, edges, operations]``
where each task has its own; empty if nothing is searched.

If the network has input pairs, a strategy may add ``<cell>.inputs``, ``[pairs]`` or
``[tasks, pairs]``, in the order of :meth:`CellChoices.pairs`. It may add further logits
``<cell>.<name>`` of any shape, which it alone reads."""
Mixture = dict[str, "Tensor"]
"""Weights of operations by cell type, ``[tasks or 1, edges, operations]``; empty if nothing is
searched.

``<cell>.inputs [tasks or 1, pairs]`` are weights of the pairs of inputs of each node: an edge is
then multiplied by the sum of the weights of the pairs it belongs to (MetaNAS, equation 7). Without
them a node sums over all its edges with weight 1.

``<cell>.needed [tasks or 1, edges, operations]`` (bool) is a hint. An operation that is not marked
has weight 0, and the gradient of that weight is not needed, so a network need not compute the
operation. Marks may be on the CPU when the weights are on another device; they can then be read
without waiting for the device."""
