"""The searched network (search space) of M-NAS for toy regression: one cell between linear layers.

Nodes 0 and 1 are both the stem's output; node j in {2, 3, 4} sums operations over all its
predecessors, nine edges in all; the cell's output is the mean of nodes 2 to 4. Operations: linear
(Linear-ReLU, batch norm if asked for), skip, zero. A child keeps two edges into each node.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import permutations
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench import ZERO, CellChoices, Edge, Frozen, Genotype, Mixture, Params, TaskShape, nn

CELL = "cell"
NODES = (2, 3, 4)
EDGES = tuple((source, target) for target in NODES for source in range(target))
INPUTS = (0, 2, 3)
"""Nodes that edges leave; node 1 is node 0."""
PRIMITIVES = ("linear", "skip", ZERO)
LINEAR, SKIP = PRIMITIVES.index("linear"), PRIMITIVES.index("skip")


class ToyCellParams(Frozen):
    """Parameters of :class:`ToyCell`."""

    width: int = Field(
        default=50, ge=1, le=65536, description="Units of the stem and of each linear operation."
    )
    norm: Literal["none", "batch"] = Field(
        default="batch", description="Normalization after each ReLU."
    )
    eps: float = Field(
        default=1e-5, gt=0, le=1, description="Constant that batch norm adds to the variance."
    )


class ToyCell:
    """The supernet, and with a genotype the network of that genotype.

    Weights are ``stem``, ``from<i>`` per input of linear operations, and ``head`` (``weight``,
    ``bias``, and with norm ``norm.scale``, ``norm.shift``). ``from0`` reads the stem (nodes 0 and
    1 are the same), ``from2`` and ``from3`` those nodes; the linear operations of all edges that
    leave an input stand side by side in one matrix, in the order of the edges: one product of
    matrices instead of up to six.

    Args:
        params: see :class:`ToyCellParams`.
        task: shape of one example, which is flattened, and the number of outputs.
        genotype: the kept edges of a child; None for the supernet.
    """

    def __init__(
        self, params: ToyCellParams, task: TaskShape, *, genotype: Genotype | None = None
    ) -> None:
        self._params = params
        self._task = task
        self._fixed = None if genotype is None else _one_hot(genotype)
        self._linears = {i: self._leaving(i, LINEAR) for i in INPUTS}
        self._skips = {i: self._leaving(i, SKIP) for i in INPUTS}

    def _leaving(self, node: int, operation: int) -> list[int]:
        """Edges that leave an input and may hold an operation."""
        leaving = [
            e for e, (source, _) in enumerate(EDGES) if (source if source > 1 else 0) == node
        ]
        if self._fixed is None:
            return leaving
        return [edge for edge in leaving if self._fixed[edge, operation]]

    @property
    def batch_statistics(self) -> bool:
        """True with batch norm."""
        return self._params.norm == "batch"

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights and biases from U(-a, a), a = 1/sqrt(inputs)."""
        width = self._params.width
        shapes = {"stem": (math.prod(self._task.inputs), width)}
        shapes |= {f"from{i}": (width, width * len(e)) for i, e in self._linears.items() if e}
        shapes["head"] = (width, self._task.outputs)
        weights: Params = {}
        for name, (inputs, outputs) in shapes.items():
            bound = 1 / math.sqrt(inputs)
            for part, shape in (("weight", (inputs, outputs)), ("bias", (outputs,))):
                weights[f"{name}.{part}"] = torch.empty(shape).uniform_(
                    -bound, bound, generator=rng
                )
            if self._params.norm == "batch" and name != "head":
                weights[f"{name}.norm.scale"] = torch.ones(outputs)
                weights[f"{name}.norm.shift"] = torch.zeros(outputs)
        return weights

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, inputs]`` to ``[tasks, n, outputs]``."""
        mix = (
            self._fixed[None].to(x, non_blocking=True) if self._fixed is not None else mixture[CELL]
        )
        linear, skip = mix[..., LINEAR].unbind(1), mix[..., SKIP].unbind(1)  # per edge, [tasks]
        stem = self._linear(weights, "stem", nn.flatten(x))
        nodes = dict.fromkeys(NODES, torch.zeros_like(stem))
        for source in INPUTS:
            x = nodes[source] if source else stem
            if edges := self._linears[source]:
                y = self._linear(weights, f"from{source}", x)
                y = y.view(*y.shape[:2], len(edges), -1)
                y = y * torch.stack([linear[edge] for edge in edges], dim=1)[:, None, :, None]
                for edge, term in zip(edges, y.unbind(2), strict=True):
                    _, target = EDGES[edge]
                    nodes[target] = nodes[target] + term
            for target in NODES:
                parallel = [skip[e] for e in self._skips[source] if EDGES[e][1] == target]
                if parallel:
                    factor = torch.stack(parallel).sum(0)[:, None, None]
                    nodes[target] = torch.addcmul(nodes[target], x, factor)
        out = torch.stack([nodes[node] for node in NODES]).mean(0)
        return nn.linear(out, weights["head.weight"], weights["head.bias"])

    def _linear(self, weights: Params, name: str, x: Tensor) -> Tensor:
        y = torch.relu(nn.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"]))
        if self._params.norm == "none":
            return y
        scale, shift = weights[f"{name}.norm.scale"], weights[f"{name}.norm.shift"]
        return nn.batch_norm(y, scale, shift, eps=self._params.eps)

    def choices(self) -> Mapping[str, CellChoices]:
        """One cell, or nothing for a child."""
        return {} if self._fixed is not None else {CELL: CellChoices(EDGES, PRIMITIVES)}

    def child(self, genotype: Genotype) -> ToyCell:
        """The network that keeps the edges of a genotype."""
        return ToyCell(self._params, self._task, genotype=genotype)

    def canonical(self, genotype: Genotype) -> Genotype:
        """The same for all cells that differ in the names of their nodes alone.

        Nodes 0 and 1 are one tensor, and the output is the mean of nodes 2 to 4, so that any names
        that leave sources before targets are as good.
        """
        ((cell, edges),) = genotype.cells
        renamed = []
        for order in permutations(NODES):
            name = {0: 0, 1: 0} | dict(zip(NODES, order, strict=True))
            found = [(name[e.target], name[e.source], e.primitive) for e in {*edges}]
            if all(source < target for target, source, _ in found):
                renamed.append(sorted(found))
        seen: Counter[int] = Counter()
        kept = []
        for target, source, primitive in min(renamed):
            # Of the edges from the stem into a node, every second one leaves node 1.
            kept.append(Edge(source or seen[target] % 2, target, primitive))
            seen[target] += 1
        return Genotype.of({cell: kept})


def _one_hot(genotype: Genotype) -> Tensor:
    """Weights of operations ``[edges, operations]``: 1 for what is kept, 0 for the rest."""
    kept = torch.zeros(len(EDGES), len(PRIMITIVES))
    for name, edges in genotype.cells:
        assert name == CELL
        for edge in edges:
            position = EDGES.index((edge.source, edge.target))
            kept[position, PRIMITIVES.index(edge.primitive)] = 1
    return kept
