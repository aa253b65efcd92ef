"""Decodes weights of operations into architectures, for all tasks at once.

DARTS (Liu et al. 2019): per node the edges are ranked by their largest weight among operations
other than zero; the best ``kept`` stay. Where pairs of inputs have weights (MetaNAS), the edges of
the best pair of each node stay instead. Each kept edge gets its best operation other than zero.
Ties go to the earlier edge, pair and operation.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from metabench import INPUTS, NEEDED, ZERO, CellChoices, Edge, Genotype, Mixture
from metabench_plugins.spaces.parts.operation_weights import membership


def harden(mixture: Mixture, choices: Mapping[str, CellChoices]) -> Mixture:
    """Weights of the decoded architecture: 1 for each kept operation and pair, 0 for the rest.

    Args:
        mixture: ``<cell> [tasks, edges, operations]``, ``<cell>.inputs [tasks, pairs]``.
        choices: of the space.
    """
    hard: Mixture = {}
    for cell, found in choices.items():
        usable = without_zero(mixture[cell].detach(), found)
        strength, operation = usable.max(dim=-1)  # [tasks, edges]
        if cell + INPUTS in mixture:
            pairs = mixture[cell + INPUTS].detach()
            hard[cell + INPUTS] = _best_pairs(pairs, found)
            kept = edges_of(hard[cell + INPUTS], found)
        else:
            kept = _strongest(strength, found)
        hard[cell] = kept[..., None] * F.one_hot(operation, len(found.primitives))
    return hard


def without_zero(weights: Tensor, choices: CellChoices) -> Tensor:
    """Put the zero operation below all others in ``[..., operations]``."""
    zero = torch.tensor([name == ZERO for name in choices.primitives])
    return weights.masked_fill(zero.to(weights.device, non_blocking=True), -torch.inf)


def _strongest(strength: Tensor, choices: CellChoices) -> Tensor:
    """Mark the ``kept`` strongest edges into each node, ``[tasks, edges]``."""
    kept = torch.zeros_like(strength)
    for node in sorted({target for _, target in choices.edges}):
        edges = [edge for edge, (_, target) in enumerate(choices.edges) if target == node]
        into = torch.tensor(edges).to(strength.device, non_blocking=True)
        ranked = strength[:, into].sort(dim=1, descending=True, stable=True).indices
        kept = kept.scatter(1, into[ranked[:, : choices.kept]], 1.0)
    return kept


def _best_pairs(weights: Tensor, choices: CellChoices) -> Tensor:
    """Mark the heaviest pair of each node, ``[tasks, pairs]``."""
    nodes = torch.split(weights, [len(pairs) for pairs in choices.pairs().values()], dim=1)
    marked = [F.one_hot(node.argmax(dim=1), node.shape[1]) for node in nodes]
    return torch.cat(marked, dim=1).to(weights.dtype)


def edges_of(pairs: Tensor, choices: CellChoices) -> Tensor:
    """Spread ``[tasks, pairs]`` over the edges that are in them, ``[tasks, edges]``."""
    return pairs @ membership(choices, pairs)


def place(hard: Mixture, like: Tensor) -> Mixture:
    """Move weights of :func:`harden` to where ``like`` lives, and mark what has to be computed.

    The marks lie on the CPU, so that a network need not wait for an accelerator to read them.
    Weights that come from an accelerator get none: to mark them would have to wait for it.
    """
    there = {key: weights.to(like, non_blocking=True) for key, weights in hard.items()}
    known = [key for key, weights in hard.items() if weights.device.type == "cpu"]
    of_cells = [key for key in known if not key.endswith(INPUTS)]
    return there | {cell + NEEDED: hard[cell] != 0 for cell in of_cells}


def genotypes(hard: Mixture, choices: Mapping[str, CellChoices]) -> list[Genotype]:
    """Read the architectures off weights of :func:`harden`, one per task."""
    kept = {cell: hard[cell].bool().tolist() for cell in choices}
    n_tasks = max(map(len, kept.values()))
    return [
        Genotype.of(
            {
                cell: [
                    Edge(*choices[cell].edges[edge], choices[cell].primitives[operation])
                    for edge, row in enumerate(rows[task])
                    for operation, chosen in enumerate(row)
                    if chosen
                ]
                for cell, rows in kept.items()
            }
        )
        for task in range(n_tasks)
    ]


def decode(mixture: Mixture, choices: Mapping[str, CellChoices]) -> Genotype:
    """The architecture of a mixture that all tasks share."""
    (genotype,) = genotypes(harden(mixture, choices), choices)
    return genotype


def one_hot(genotype: Genotype, choices: Mapping[str, CellChoices]) -> Mixture:
    """Weights ``[1, edges, operations]`` (float32, CPU): how often a genotype has each operation.

    That is 0 or 1, but for published cells that feed a node twice by the same operation.
    """
    hard: Mixture = {}
    kept = dict(genotype.cells)
    for cell, found in choices.items():
        hard[cell] = torch.zeros(1, len(found.edges), len(found.primitives))
        for edge in kept[cell]:
            position = found.edges.index((edge.source, edge.target))
            hard[cell][0, position, found.primitives.index(edge.primitive)] += 1
    return hard


def straight_through(mixture: Mixture, hard: Mixture) -> Mixture:
    """The value of ``hard`` with the gradient of ``mixture`` (Bengio et al. 2013)."""
    # The difference comes first: it is exactly 0, and the sum exactly the hard weight.
    return {key: hard[key] + (weights - weights.detach()) for key, weights in mixture.items()}
