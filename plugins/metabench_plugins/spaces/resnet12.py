"""ResNet-12, four residual blocks with running statistics, as MetaOptNet and as TADAM have it.

A block of width c is three 3x3 convolutions without biases, each with a norm, and a 1x1 convolution
with a norm beside them, which is added before the third activation. Then the map is halved.

* ``metaoptnet`` (Lee et al., CVPR 2019): widths 64, 160, 320, 640, leaky ReLU 0.1, every map
  halved, dropout after blocks 1 and 2 and DropBlock after 3 and 4. The features are the whole map.
* ``tadam`` (Oreshkin et al., NeurIPS 2018): widths 64, 128, 256, 512, swish, the last map is not
  halved. The features are its mean over space. Each of the 12 convolutions takes FiLM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from metabench import CellChoices, Genotype, Mixture, Params, TaskShape, Training, UsageError, nn
from metabench_plugins.spaces.parts import layer_weights as extras
from metabench_plugins.spaces.parts.initial import glorot
from metabench_plugins.spaces.parts.running_norms import fresh_state, running_norm

CONVS = ("conv1", "conv2", "conv3")
"""Of a block, one after another; ``shortcut`` is beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What the two published networks do differently.

    Attributes:
        widths: channels of each block.
        activation: after each sum and between convolutions.
        halved: how many blocks halve their map, from the first.
        mean: whether the features are the mean over space; else they are the whole map.
        spread: factor of He's variance ``2 / fan out`` of the initial weights.
        momentum: share of a batch in the running statistics.
        eps: added to the variance.
        drop: default of the parameter of that name.
    """

    widths: tuple[int, int, int, int]
    activation: Callable[[Tensor], Tensor]
    halved: int
    mean: bool
    spread: float
    momentum: float
    eps: float
    drop: float


def _leaky_relu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.1)


VARIANTS = {
    "metaoptnet": Variant(
        widths=(64, 160, 320, 640),
        activation=_leaky_relu,
        halved=4,
        mean=False,
        spread=1.0,
        momentum=0.1,
        eps=1e-5,
        drop=0.1,
    ),
    "tadam": Variant(
        widths=(64, 128, 256, 512),
        activation=functional.silu,
        halved=3,
        mean=True,
        spread=0.1,
        momentum=0.05,
        eps=1e-3,
        drop=0.0,
    ),
}


class ResNet12Params(BaseModel):
    """Parameters of :class:`ResNet12`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: Literal["metaoptnet", "tadam"] = Field(
        "metaoptnet",
        description="Whose network. metaoptnet: 64-160-320-640 channels, leaky ReLU, the whole "
        "last map; tadam: 64-128-256-512, swish, the mean of the last map.",
    )
    width: float = Field(1.0, gt=0, le=4, description="Factor of the channels of all blocks.")
    drop: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Rate of dropout after blocks 1 and 2, and of DropBlock after 3 and 4; null "
        "for 0.1 in metaoptnet and 0 in tadam.",
    )
    drop_size: int = Field(
        5,
        ge=1,
        le=64,
        description="Side of the squares of DropBlock in pixels of the map; at most the map. "
        "MetaOptNet has 5 at 84 pixels and 2 at 32.",
    )
    drop_ramp: float = Field(
        1 / 3,
        gt=0,
        le=1,
        description="Share of meta-training over which the rate of DropBlock rises from 0.",
    )


def regularization(params: ResNet12Params) -> str:
    """Its dropout and DropBlock in words; "" without.

    >>> regularization(ResNet12Params(drop_size=2))
    'network dropout 0.1 in blocks 1 and 2, DropBlock up to 0.1 of 2x2 in blocks 3 and 4'
    """
    rate = VARIANTS[params.variant].drop if params.drop is None else params.drop
    if not rate:
        return ""
    block = f"DropBlock up to {rate:g} of {params.drop_size}x{params.drop_size}"
    return f"network dropout {rate:g} in blocks 1 and 2, {block} in blocks 3 and 4"


class ResNet12:
    """Twelve convolutions in four residual blocks, then a linear layer.

    Weights are ``block1.conv1`` to ``block4.conv3`` and ``block1.shortcut`` to ``block4.shortcut``
    (``weight``, ``norm.scale``, ``norm.shift``), and ``head`` (``weight``, ``bias``). The state is
    ``norm.mean`` and ``norm.variance`` of each convolution; see :class:`metabench.StatefulSpace`.

    Args:
        params: see :class:`ResNet12Params`.
        task: images ``(channels, height, width)``, and the number of outputs.

    Raises:
        UsageError: for vectors, and images that are too small to be halved so often.
    """

    batch_statistics = False

    def __init__(self, params: ResNet12Params, task: TaskShape) -> None:
        self._params = params
        self._task = task
        self._variant = VARIANTS[params.variant]
        self._widths = [max(1, round(params.width * width)) for width in self._variant.widths]
        if len(task.inputs) != 3:
            raise UsageError(
                f"Network resnet12 reads images, not inputs of shape {list(task.inputs)}.",
                hint="Choose mlp with --network.",
            )
        _, height, width = task.inputs
        smallest = 1 << self._variant.halved
        if min(height, width) < smallest:
            raise UsageError(
                f"Network resnet12 halves its maps {self._variant.halved} times, but the images "
                f"have {height} x {width} pixels.",
                hint=f"Choose images of {smallest} x {smallest} pixels or more, or another network "
                "such as conv4.",
            )

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights: He normal by fan out, the head Glorot uniform."""
        weights: Params = {}
        for layer, shape in self._shapes():
            std = math.sqrt(self._variant.spread * 2 / (shape[0] * shape[2] * shape[3]))
            weights[f"{layer}.weight"] = std * torch.randn(shape, generator=rng)
            weights[f"{layer}.norm.scale"] = torch.ones(shape[0])
            weights[f"{layer}.norm.shift"] = torch.zeros(shape[0])
        features, outputs = self._features(), self._task.outputs
        weights["head.weight"] = glorot((features, outputs), fans=features + outputs, rng=rng)
        weights["head.bias"] = torch.zeros(outputs)
        return weights

    def init_state(self) -> Params:
        """Means 0 and variances 1."""
        return fresh_state({layer: shape[0] for layer, shape in self._shapes()})

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, channels, height, width]`` to ``[tasks, n, outputs]``."""
        return nn.by_task(self._forward, x, weights)

    def forward_training(
        self, weights: Params, mixture: Mixture, x: Tensor, *, training: Training
    ) -> Tensor:
        """See :meth:`metabench.StatefulSpace.forward_training`."""
        return self._forward(x, weights, training)

    def _forward(self, x: Tensor, weights: Params, training: Training | None = None) -> Tensor:
        for index in range(len(self._widths)):
            x = self._block(x, weights, index, training)
            x = self._drop(x, index, training)
        x = nn.global_avg_pool(x) if self._variant.mean else nn.flatten(x)
        if "head.weight" not in weights:
            return x
        y = nn.linear(x, weights["head.weight"], weights["head.bias"])
        return extras.transform(y, weights, "head")

    def _block(self, x: Tensor, weights: Params, index: int, training: Training | None) -> Tensor:
        block, activation = f"block{index + 1}", self._variant.activation
        y = x
        for conv in CONVS:
            y = self._convolve(y, weights, f"{block}.{conv}", training)
            if conv != CONVS[-1]:
                y = activation(y)
        x = activation(y + self._convolve(x, weights, f"{block}.shortcut", training))
        return nn.max_pool2d(x, kernel=2) if index < self._variant.halved else x

    def _convolve(
        self, x: Tensor, weights: Params, layer: str, training: Training | None
    ) -> Tensor:
        """Convolve and normalize, with a transform and FiLM where there are any."""
        weight, variant = weights[f"{layer}.weight"], self._variant
        y = nn.conv2d(x, weight, padding=weight.shape[-1] // 2)
        y = extras.transform(y, weights, layer)
        return running_norm(y, weights, layer, training, momentum=variant.momentum, eps=variant.eps)

    def _drop(self, x: Tensor, index: int, training: Training | None) -> Tensor:
        p = self._params
        rate = self._variant.drop if p.drop is None else p.drop
        if training is None or index < 2:
            return nn.dropout(x, rate=rate, training=training)
        rate = rising_rate(rate, training.progress, ramp=p.drop_ramp)
        return nn.drop_block(x, rate=rate, size=p.drop_size, training=training)

    def choices(self) -> Mapping[str, CellChoices]:
        """Nothing to choose."""
        return {}

    def child(self, genotype: Genotype) -> ResNet12:
        """The network itself."""
        return self

    def layers(self) -> Mapping[str, int]:
        """Units of the 12 convolutions and the head; see :class:`metabench.LayeredSpace`.

        The 1x1 convolutions beside them are not among the layers, and take no extra weights.
        """
        units = {
            f"block{i}.{conv}": width
            for i, width in enumerate(self._widths, start=1)
            for conv in CONVS
        }
        return units | {"head": self._task.outputs}

    def _shapes(self) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
        """Every convolution in the order of drawing, ``[units, channels, height, width]``."""
        channels = self._task.inputs[0]
        for i, width in enumerate(self._widths, start=1):
            for conv, before in zip(CONVS, (channels, width, width), strict=True):
                yield f"block{i}.{conv}", (width, before, 3, 3)
            yield f"block{i}.shortcut", (width, channels, 1, 1)
            channels = width

    def _features(self) -> int:
        if self._variant.mean:
            return self._widths[-1]
        _, height, width = self._task.inputs
        scale = 1 << self._variant.halved
        return self._widths[-1] * (height // scale) * (width // scale)


def rising_rate(rate: float, progress: float, *, ramp: float) -> float:
    """The rate of DropBlock: it rises from 0 and stays at ``rate`` from ``progress = ramp`` on.

    MetaOptNet's rate reaches 0.1 after 40,000 of 120,000 forward passes.

    >>> [rising_rate(0.1, progress, ramp=0.5) for progress in (0, 0.25, 0.5, 1)]
    [0.0, 0.05, 0.1, 0.1]
    """
    return rate * min(1.0, progress / ramp)
