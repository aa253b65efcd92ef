"""A cell: two input nodes, intermediate nodes that sum their edges, and their concatenation.

Node ``j`` is ``sum_i g_i sum_o a_o o(x_i)`` over the edges into it (DARTS, equation 2; MetaNAS,
equation 7), where ``g_i`` is 1 without input pairs, and else the sum of the weights of the pairs
that edge ``i`` belongs to. In a child every kept operation counts once. A supernet may mix a part
of the channels alone; see :mod:`~metabench_plugins.spaces.parts.partial_channels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metabench import ZERO, CellChoices, Genotype, Params, UsageError, nn, unknown
from metabench_plugins.spaces.parts.image_maps import (
    Shapes,
    factorized_reduction,
    join_channels,
    reduction_shapes,
)
from metabench_plugins.spaces.parts.mixed_op import Candidate, Term, mixed, weighted
from metabench_plugins.spaces.parts.operation_weights import Amounts
from metabench_plugins.spaces.parts.partial_channels import halved, shuffled
from metabench_plugins.spaces.parts.primitives import (
    EPS,
    PRIMITIVES,
    Feed,
    Pool,
    norm_shapes,
    norm_weights,
)
from metabench_plugins.spaces.parts.published_cells import REDUCTION


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a network.

    Attributes:
        name: its weights are ``<name>.<part>``.
        kind: ``normal`` or ``reduction``.
        inputs: channels of the two maps it reads.
        channels: of each node.
        halve_first: whether the first input is twice as large as the second.
        affine: whether batch norms have scale and shift.
        edges: ``(source, target)``.
        candidates: the operations.
        partial: K, of whose K parts of a node's channels one is mixed; 1 in a child.
    """

    name: str
    kind: str
    inputs: tuple[int, int]
    channels: int
    halve_first: bool
    affine: bool
    edges: tuple[tuple[int, int], ...]
    candidates: tuple[Candidate, ...]
    partial: int = 1

    @property
    def mixed_channels(self) -> int:
        """Channels of the operations."""
        return self.channels // self.partial

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return self.channels * (self._last_node() - 1)

    def shapes(self) -> Shapes:
        """Shapes of all weights by full name."""
        shapes: Shapes = {}
        for i, inputs in enumerate(self.inputs):
            name = f"{self.name}.input{i}"
            if i == 0 and self.halve_first:
                parts = reduction_shapes(inputs, self.channels)
            else:
                parts = {"pointwise": (self.channels, inputs, 1, 1)}
            if self.affine:
                parts |= norm_shapes("norm", self.channels)
            shapes |= {f"{name}.{part}": shape for part, shape in parts.items()}
        for candidate in self.candidates:
            shapes |= candidate.shapes(self.mixed_channels)
        return shapes

    def forward(
        self,
        weights: Params,
        given: Amounts | None,
        mask: Tensor | None,
        first: Feed,
        second: Feed,
    ) -> Tensor:
        """Compute the cell.

        Args:
            weights: of the network.
            given: weights of operations; None where each counts once.
            mask: ``[tasks, candidates, n]`` of DropPath, or None.
            first: output of the cell before the last one.
            second: output of the last cell.
        """
        feeds = [
            Feed(self._input(0, weights, first)),
            Feed(self._input(1, weights, second)),
        ]
        mixing = [self._mixing(feed) for feed in feeds]
        wide: Mapping[tuple[int, int], Tensor] = {}
        if given is not None:
            wide = given.by_channel(self._scaled(given), self.mixed_channels)
        for node in range(2, self._last_node() + 1):
            total: Tensor | None = None
            for edge, (source, target) in enumerate(self.edges):
                if target == node:
                    terms = self._on_edge(edge, given, wide, mask)
                    total = mixed(terms, mixing[source], weights, onto=total)
            if total is None:
                total = self._zeros(mixing[0].x)
            if self.partial > 1 and given is not None:
                total = shuffled(total, self._bypass(node, given, feeds))
            feeds.append(Feed(total))
            mixing.append(self._mixing(feeds[-1]))
        return join_channels([feed.x for feed in feeds[2:]])

    def _mixing(self, feed: Feed) -> Feed:
        """The channels that operations read."""
        return feed if self.partial == 1 else Feed(feed.x[:, :, : self.mixed_channels])

    def _bypass(self, node: int, given: Amounts, feeds: list[Feed]) -> Tensor:
        """The sum of the other channels over the edges into a node, each with its weight."""
        total: Tensor | None = None
        for edge, (source, target) in enumerate(self.edges):
            if target == node and any(given.needed[edge]):
                rest = feeds[source].x[:, :, self.mixed_channels :]
                rest = halved(rest) if _stride(self.kind, source) == 2 else rest
                amount = torch.stack(given.by_operation[edge]).sum(dim=0)
                total = weighted(rest, amount, onto=total)
        if total is None:
            return self._zeros(feeds[0].x[:, :, self.mixed_channels :])
        return total

    def _scaled(self, given: Amounts) -> list[tuple[int, int]]:
        """Edge and operation of what is computed and scaled by its norm."""
        places = [(c.edge, c.operation) for c in self.candidates if c.scaled]
        return [(edge, index) for edge, index in places if given.needed[edge][index]]

    def _on_edge(
        self,
        edge: int,
        given: Amounts | None,
        wide: Mapping[tuple[int, int], Tensor],
        mask: Tensor | None,
    ) -> Iterator[Term]:
        for i, candidate in enumerate(self.candidates):
            if candidate.edge != edge:
                continue
            own = None if mask is None else mask[:, i]
            if given is None:
                yield Term(candidate, None, own)
            elif given.needed[edge][candidate.operation]:
                amount = given.by_operation[edge][candidate.operation]
                yield Term(candidate, amount, own, wide.get((edge, candidate.operation)))

    def _input(self, i: int, weights: Params, feed: Feed) -> Tensor:
        name = f"{self.name}.input{i}"
        if i == 0 and self.halve_first:
            y = factorized_reduction(feed.active, weights, name)
        else:
            y = nn.conv2d(feed.active, weights[f"{name}.pointwise"])
        scale, shift = norm_weights(weights, f"{name}.norm")
        return nn.batch_norm(y, scale, shift, eps=EPS)

    def _zeros(self, like: Tensor) -> Tensor:
        """The value of a node whose operations all have weight 0."""
        like = like[..., ::2, ::2] if self.kind == REDUCTION else like
        return torch.zeros_like(like)

    def _last_node(self) -> int:
        return max(target for _, target in self.edges)


def all_edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """Every node reads the inputs and all nodes before it.

    >>> all_edges(2)
    ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    """
    return tuple((source, target) for target in range(2, nodes + 2) for source in range(target))


def search_candidates(name: str, kind: str, choices: CellChoices) -> tuple[Candidate, ...]:
    """All operations on all edges, norms without scale and shift."""
    return tuple(
        Candidate(
            name=f"{name}.edge{source}-{target}.{primitive}",
            edge=edge,
            operation=operation,
            source=source,
            target=target,
            primitive=primitive,
            stride=(stride := _stride(kind, source)),
            affine=False,
            normed=_normed(primitive, stride, pools=True),
        )
        for edge, (source, target) in enumerate(choices.edges)
        for operation, primitive in enumerate(choices.primitives)
        if primitive != ZERO
    )


def kept_candidates(
    name: str, kind: str, genotype: Genotype, *, pool_norm: bool
) -> tuple[Candidate, ...]:
    """The operations of a genotype, norms with scale and shift.

    Args:
        name: of the cell.
        kind: its type.
        genotype: may hold an edge several times; repeats get names of their own.
        pool_norm: whether pools are normalized.

    Raises:
        UsageError: if the genotype lacks the cell, or holds an operation that does not exist.
    """
    cells = dict(genotype.cells)
    if kind not in cells:
        raise UsageError(f"The network has {kind} cells, and the genotype describes none.")
    edges = kept_edges(genotype, kind)
    seen: dict[str, int] = {}
    candidates = []
    for kept in cells[kind]:
        if kept.primitive not in PRIMITIVES:
            raise unknown("operation", kept.primitive, PRIMITIVES)
        own = f"{name}.edge{kept.source}-{kept.target}.{kept.primitive}"
        seen[own] = seen.get(own, 0) + 1
        stride = _stride(kind, kept.source)
        candidates.append(
            Candidate(
                name=own if seen[own] == 1 else f"{own}.again{seen[own] - 1}",
                edge=edges.index((kept.source, kept.target)),
                operation=0,
                source=kept.source,
                target=kept.target,
                primitive=kept.primitive,
                stride=stride,
                affine=True,
                normed=_normed(kept.primitive, stride, pools=pool_norm),
            )
        )
    return tuple(candidates)


def kept_edges(genotype: Genotype, kind: str) -> tuple[tuple[int, int], ...]:
    """The edges of one type of cell, each once."""
    edges = {(kept.source, kept.target) for kept in dict(genotype.cells).get(kind, ())}
    return tuple(sorted(edges, key=lambda edge: (edge[1], edge[0])))


def _stride(kind: str, source: int) -> int:
    """A reduction cell halves on the edges from its inputs."""
    return 2 if kind == REDUCTION and source < 2 else 1


def _normed(primitive: str, stride: int, *, pools: bool) -> bool:
    found = PRIMITIVES[primitive]
    return pools if isinstance(found, Pool) else found.normed(stride)
