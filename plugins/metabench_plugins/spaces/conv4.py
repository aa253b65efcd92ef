"""Conv-4, the four-block convolutional network of few-shot image classification."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from metabench import CellChoices, Genotype, Mixture, Params, TaskShape, UsageError, nn
from metabench_plugins.spaces.parts import layer_weights as extras

N_BLOCKS = 4


class Conv4Params(BaseModel):
    """Parameters of :class:`Conv4`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filters: int = Field(64, ge=1, le=1024, description="Channels of each block.")
    pool: Literal["max", "stride"] = Field(
        "max",
        description="How each block halves the map. max: 2x2 max pooling; stride: convolution "
        "with stride 2.",
    )
    head: Literal["flatten", "mean"] = Field(
        "flatten",
        description="Input of the linear head. flatten: the whole last map; mean: its mean over "
        "space.",
    )
    eps: float = Field(
        1e-5, gt=0, le=1, description="Constant that batch norm adds to the variance."
    )


class Conv4:
    """Four times convolution 3x3, batch norm, ReLU and halving, then a linear layer.

    Weights are ``layer1`` to ``layer4`` (``weight``, ``bias``, ``norm.scale``, ``norm.shift``) and
    ``head`` (``weight``, ``bias``). Initial weights are Glorot uniform with zero biases.

    Args:
        params: see :class:`Conv4Params`.
        task: images ``(channels, height, width)``, and the number of outputs.

    Raises:
        UsageError: the inputs are no images.
    """

    batch_statistics = True

    def __init__(self, params: Conv4Params, task: TaskShape) -> None:
        if len(task.inputs) != 3:
            raise UsageError(
                f"Network conv4 reads images, not inputs of shape {list(task.inputs)}.",
                hint="Choose mlp with --network.",
            )
        self._params = params
        self._task = task

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights; see :meth:`metabench.SearchSpace.init_weights`."""
        channels, height, width = self._task.inputs
        filters = self._params.filters
        weights: Params = {}
        for layer in _layers():
            shape = (filters, channels, 3, 3)
            weights[f"{layer}.weight"] = _glorot(shape, fans=9 * (channels + filters), rng=rng)
            weights[f"{layer}.bias"] = torch.zeros(filters)
            weights[f"{layer}.norm.scale"] = torch.ones(filters)
            weights[f"{layer}.norm.shift"] = torch.zeros(filters)
            channels, height, width = filters, self._halve(height), self._halve(width)
        features = filters * (height * width if self._params.head == "flatten" else 1)
        outputs = self._task.outputs
        weights["head.weight"] = _glorot((features, outputs), fans=features + outputs, rng=rng)
        weights["head.bias"] = torch.zeros(outputs)
        return weights

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, channels, height, width]`` to ``[tasks, n, outputs]``."""
        return nn.by_task(self._forward, x, weights)

    def _forward(self, x: Tensor, weights: Params) -> Tensor:
        stride = 2 if self._params.pool == "stride" else 1
        for layer in _layers():
            x = nn.conv2d(
                x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], stride=stride, padding=1
            )
            x = extras.transform(x, weights, layer)
            scale, shift = extras.norm_affine(weights, layer)
            x = nn.batch_norm(x, scale, shift, eps=self._params.eps)
            if self._params.pool == "max":
                x = nn.max_pool2d(x, kernel=2)
            x = torch.relu(x)
        x = nn.flatten(x) if self._params.head == "flatten" else nn.global_avg_pool(x)
        if "head.weight" not in weights:
            return x
        y = nn.linear(x, weights["head.weight"], weights["head.bias"])
        return extras.transform(y, weights, "head")

    def choices(self) -> Mapping[str, CellChoices]:
        """Nothing to choose."""
        return {}

    def child(self, genotype: Genotype) -> Conv4:
        """The network itself."""
        return self

    def layers(self) -> Mapping[str, int]:
        """Units of each layer; see :class:`metabench.LayeredSpace`."""
        return dict.fromkeys(_layers(), self._params.filters) | {"head": self._task.outputs}

    def _halve(self, size: int) -> int:
        return size // 2 if self._params.pool == "max" else (size + 1) // 2


def _layers() -> list[str]:
    return [f"layer{i}" for i in range(1, N_BLOCKS + 1)]


def _glorot(shape: tuple[int, ...], *, fans: int, rng: torch.Generator) -> Tensor:
    """Draw from U(-a, a), a^2 = 6 / (fan in + fan out) (Glorot and Bengio 2010)."""
    limit = math.sqrt(6 / fans)
    return torch.empty(shape).uniform_(-limit, limit, generator=rng)
