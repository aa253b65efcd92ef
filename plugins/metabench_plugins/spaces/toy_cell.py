"""The toy search space of M-NAS: one cell between a linear stem and a linear head.

Nodes 0 and 1 are both the stem's output; node j in {2, 3, 4} sums operations over all its
predecessors, nine edges in all; the cell's output is the mean of nodes 2 to 4. Operations: linear
(Linear-ReLU, batch norm if asked for), skip, zero. A child keeps two edges into each node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench import tasknn
from metabench.episodes import TaskShape
from metabench.genotype import Genotype
from metabench.protocols import CellChoices, Mixture, Params
from metabench.runspec import Frozen

CELL = "cell"
NODES = (2, 3, 4)
EDGES = tuple((source, target) for target in NODES for source in range(target))
PRIMITIVES = ("linear", "skip", "zero")
LINEAR, SKIP = PRIMITIVES.index("linear"), PRIMITIVES.index("skip")


class ToyCellParams(Frozen):
    """Parameters of :class:`ToyCell`."""

    width: int = Field(default=50, ge=1, le=65536, description="Units of the stem and each linear.")
    norm: Literal["none", "batch"] = Field(
        default="batch", description="Batch norm after each ReLU, or none."
    )
    eps: float = Field(default=1e-5, gt=0, le=1, description="Added to the variance.")


class ToyCell:
    """The supernet, and with ``linears`` the network of one genotype.

    Weights are ``stem``, ``edge<i>`` per edge with a linear operation, and ``head`` (``weight``,
    ``bias``, and with norm ``norm.scale``, ``norm.shift``).

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
        self._fixed: Tensor | None = None
        self._linears = tuple(range(len(EDGES)))
        if genotype is not None:
            self._fixed = _one_hot(genotype)
            self._linears = tuple(self._fixed[:, LINEAR].nonzero().flatten().tolist())

    @property
    def batch_statistics(self) -> bool:
        """True with batch norm."""
        return self._params.norm == "batch"

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights and biases from U(-a, a), a = 1/sqrt(inputs)."""
        width = self._params.width
        shapes = {"stem": (math.prod(self._task.inputs), width)}
        shapes |= {f"edge{edge}": (width, width) for edge in self._linears}
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
        mix = self._fixed[None].to(x) if self._fixed is not None else mixture[CELL]
        stem = self._linear(weights, "stem", tasknn.flatten(x))
        nodes = {0: stem, 1: stem}
        for target in NODES:
            total = torch.zeros_like(stem)
            for edge, (source, into) in enumerate(EDGES):
                if into == target:
                    total = self._mixed(weights, mix[:, edge], edge, nodes[source], onto=total)
            nodes[target] = total
        out = torch.stack([nodes[node] for node in NODES]).mean(0)
        return tasknn.linear(out, weights["head.weight"], weights["head.bias"])

    def _mixed(self, weights: Params, mix: Tensor, edge: int, x: Tensor, *, onto: Tensor) -> Tensor:
        """Add the mixed operation of one edge; ``mix [tasks or 1, operations]``."""
        if edge in self._linears:
            y = self._linear(weights, f"edge{edge}", x)
            onto = torch.addcmul(onto, y, mix[:, LINEAR, None, None])
        if self._fixed is None or self._fixed[edge, SKIP]:
            onto = torch.addcmul(onto, x, mix[:, SKIP, None, None])
        return onto

    def _linear(self, weights: Params, name: str, x: Tensor) -> Tensor:
        y = torch.relu(tasknn.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"]))
        if self._params.norm == "none":
            return y
        scale, shift = weights[f"{name}.norm.scale"], weights[f"{name}.norm.shift"]
        return tasknn.batch_norm(y, scale, shift, eps=self._params.eps)

    def choices(self) -> Mapping[str, CellChoices]:
        """One cell, or nothing for a child."""
        return {} if self._fixed is not None else {CELL: CellChoices(EDGES, PRIMITIVES)}

    def child(self, genotype: Genotype) -> ToyCell:
        """The network that keeps the edges of a genotype."""
        return ToyCell(self._params, self._task, genotype=genotype)


def _one_hot(genotype: Genotype) -> Tensor:
    """Weights of operations ``[edges, operations]``: 1 for what is kept, 0 for the rest."""
    kept = torch.zeros(len(EDGES), len(PRIMITIVES))
    for name, edges in genotype.cells:
        assert name == CELL
        for edge in edges:
            position = EDGES.index((edge.source, edge.target))
            kept[position, PRIMITIVES.index(edge.primitive)] = 1
    return kept
