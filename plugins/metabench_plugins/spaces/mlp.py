"""The multilayer perceptron of toy regression."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from metabench import CellChoices, Genotype, Mixture, Params, TaskShape, nn
from metabench.nn import Layer, norm_mlp
from metabench_plugins.spaces.parts import layer_weights as extras

TRUNCATED_STD = 0.01


class MlpParams(BaseModel):
    """Parameters of :class:`Mlp`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int = Field(4, ge=0, le=64, description="Number of hidden layers.")
    width: int = Field(50, ge=1, le=65536, description="Units of each hidden layer.")
    norm: Literal["none", "batch"] = Field("none", description="Normalization before each ReLU.")
    init: Literal["default", "truncated"] = Field(
        "default",
        description="Initial values. default: weights and biases from U(-a, a) with a = "
        "1/sqrt(inputs), as in PyTorch; truncated: weights from a truncated normal with "
        "standard deviation 0.01, biases 0.",
    )
    eps: float = Field(
        1e-5, gt=0, le=1, description="Constant that batch norm adds to the variance."
    )


class Mlp:
    """Hidden layers of linear, optional batch norm and ReLU, then a linear layer.

    Weights are ``layer1``, ``layer2``, ... (``weight``, ``bias``, and with norm ``norm.scale``,
    ``norm.shift``) and ``head`` (``weight``, ``bias``).

    Args:
        params: see :class:`MlpParams`.
        task: shape of one example, which is flattened, and the number of outputs.
    """

    def __init__(self, params: MlpParams, task: TaskShape) -> None:
        self._params = params
        self._task = task

    @property
    def batch_statistics(self) -> bool:
        """True with batch norm."""
        return self._params.norm == "batch"

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights; see :meth:`metabench.SearchSpace.init_weights`."""
        width = self._params.width
        hidden = self._params.hidden
        sizes = [math.prod(self._task.inputs), *[width] * hidden, self._task.outputs]
        weights: Params = {}
        for layer, (inputs, outputs) in zip(
            [*self._layers(), "head"], itertools.pairwise(sizes), strict=True
        ):
            weights[f"{layer}.weight"], weights[f"{layer}.bias"] = self._draw(inputs, outputs, rng)
            if self.batch_statistics and layer != "head":
                weights[f"{layer}.norm.scale"] = torch.ones(outputs)
                weights[f"{layer}.norm.shift"] = torch.zeros(outputs)
        return weights

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, *inputs]`` to ``[tasks, n, outputs]``."""
        x = nn.flatten(x)
        if self.batch_statistics and _plain(weights, len(x)):
            hidden = [_hidden(weights, layer) for layer in self._layers()]
            head = weights["head.weight"], weights["head.bias"]
            return norm_mlp(x, hidden, *head, eps=self._params.eps)
        for layer in self._layers():
            x = _linear(x, weights, layer, bias=not self.batch_statistics)
            if self.batch_statistics:
                scale, shift = extras.norm_affine(weights, layer)
                x = nn.batch_norm(x, scale, shift, eps=self._params.eps, relu=True)
            else:
                x = torch.relu(extras.film(x, weights, layer))
        return _linear(x, weights, "head") if "head.weight" in weights else x

    def choices(self) -> Mapping[str, CellChoices]:
        """Nothing to choose."""
        return {}

    def child(self, genotype: Genotype) -> Mlp:
        """The network itself."""
        return self

    def idle(self) -> Collection[str]:
        """The biases that norms take away."""
        return [f"{layer}.bias" for layer in self._layers()] if self.batch_statistics else []

    def layers(self) -> Mapping[str, int]:
        """Units of each layer; see :class:`metabench.LayeredSpace`."""
        return dict.fromkeys(self._layers(), self._params.width) | {"head": self._task.outputs}

    def _layers(self) -> list[str]:
        return [f"layer{i}" for i in range(1, self._params.hidden + 1)]

    def _draw(self, inputs: int, outputs: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        weight, bias = torch.empty(inputs, outputs), torch.zeros(outputs)
        if self._params.init == "truncated":
            bound = 2 * TRUNCATED_STD
            torch.nn.init.trunc_normal_(weight, std=TRUNCATED_STD, a=-bound, b=bound, generator=rng)
            return weight, bias
        limit = 1 / math.sqrt(inputs)
        weight.uniform_(-limit, limit, generator=rng)
        return weight, bias.uniform_(-limit, limit, generator=rng)


def _plain(weights: Params, n_tasks: int) -> bool:
    """Whether the network has a head and no transforms, and each task owns its weights."""
    return "head.weight" in weights and all(
        weight.shape[0] == n_tasks and not name.endswith(".transform")
        for name, weight in weights.items()
    )


def _hidden(weights: Params, layer: str) -> Layer:
    scale, shift = extras.norm_affine(weights, layer)
    return Layer(weights[f"{layer}.weight"], shift, scale)


def _linear(x: Tensor, weights: Params, layer: str, *, bias: bool = True) -> Tensor:
    # A norm of the examples' statistics takes a bias away.
    y = nn.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"] if bias else None)
    return extras.transform(y, weights, layer)
