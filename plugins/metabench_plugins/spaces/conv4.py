"""Conv-4, the four-block convolutional network of few-shot image classification.

With its options it is also the embedding of R2D2 (Bertinetto et al., ICLR 2019):
``{widths: [96, 192, 384, 512], activation: leaky, norm: running, dropout: [0, 0, 0.1, 0.3],
head: last-two}``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor
from torch.nn import functional

from metabench import (
    CellChoices,
    Genotype,
    Mixture,
    Params,
    TaskShape,
    Training,
    UsageError,
    nn,
)
from metabench_plugins.spaces.parts import layer_weights as extras
from metabench_plugins.spaces.parts.initial import glorot
from metabench_plugins.spaces.parts.running_norms import fresh_state, running_norm

N_BLOCKS = 4
Width = Annotated[int, Field(ge=1, le=1024)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Conv4Params(BaseModel):
    """Parameters of :class:`Conv4`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filters: int = Field(64, ge=1, le=1024, description="Channels of each block.")
    pool: Literal["max", "stride"] = Field(
        "max",
        description="How each block halves the map. max: 2x2 max pooling; stride: convolution "
        "with stride 2.",
    )
    head: Literal["flatten", "mean", "last-two"] = Field(
        "flatten",
        description="Input of the linear head. flatten: the whole last map; mean: its mean over "
        "space; last-two: the whole maps of the last two blocks.",
    )
    eps: float = Field(
        1e-5, gt=0, le=1, description="Constant that batch norm adds to the variance."
    )
    widths: tuple[Width, Width, Width, Width] | None = Field(
        None, description="Channels of each of the four blocks; null for `filters` in all."
    )
    activation: Literal["relu", "leaky"] = Field(
        "relu", description="Activation of each block: ReLU, or leaky ReLU with `slope`."
    )
    slope: float = Field(0.1, ge=0, lt=1, description="Slope of the leaky ReLU below 0.")
    conv_bias: bool = Field(True, description="Whether convolutions have biases.")
    norm: Literal["batch", "running"] = Field(
        "batch",
        description="Statistics that normalize at meta-test. batch: those of the examples; "
        "running: averages from meta-training.",
    )
    momentum: float = Field(
        0.1, gt=0, le=1, description="Share of a batch in the running statistics."
    )
    dropout: tuple[Rate, Rate, Rate, Rate] = Field(
        (0.0, 0.0, 0.0, 0.0), description="Dropout rate in meta-training after each block."
    )

    def block_widths(self) -> tuple[int, ...]:
        """Channels of each block."""
        return self.widths or (self.filters,) * N_BLOCKS

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave later options out where they are off, so that runs keep their ids."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in handler(self).items()
            if name not in _LATER or getattr(self, name) != fields[name].default
        }


SMALLEST = 16
"""Height and width, in pixels, that can be halved four times by pooling."""
_LATER = {"widths", "activation", "slope", "conv_bias", "norm", "momentum", "dropout"}
"""Options that version 1 did not have from the beginning."""


def regularization(params: Conv4Params) -> str:
    """Its dropout in words; "" without.

    >>> regularization(Conv4Params(dropout=(0, 0, 0.1, 0.3)))
    'network dropout 0, 0, 0.1, 0.3 after its blocks'
    """
    if not any(params.dropout):
        return ""
    rates = ", ".join(f"{rate:g}" for rate in params.dropout)
    return f"network dropout {rates} after its blocks"


def conv4(params: Conv4Params, task: TaskShape) -> Conv4:
    """The network: one with a state where it trains otherwise than it predicts."""
    stateful = params.norm == "running" or any(params.dropout)
    return StatefulConv4(params, task) if stateful else Conv4(params, task)


class Conv4:
    """Four times convolution 3x3, batch norm, activation and halving, then a linear layer.

    Weights are ``layer1`` to ``layer4`` (``weight``, ``bias``, ``norm.scale``, ``norm.shift``) and
    ``head`` (``weight``, ``bias``). Initial weights are Glorot uniform with zero biases. A norm by
    the examples' statistics takes the bias before it away, which then has no gradient. With running
    statistics or dropout the network is a :class:`StatefulConv4`.

    Args:
        params: see :class:`Conv4Params`.
        task: images ``(channels, height, width)``, and the number of outputs.

    Raises:
        UsageError: the inputs are no images, or too small to be halved four times.
    """

    def __init__(self, params: Conv4Params, task: TaskShape) -> None:
        if len(task.inputs) != 3:
            raise UsageError(
                f"Network conv4 reads images, not inputs of shape {list(task.inputs)}.",
                hint="Choose mlp with --network.",
            )
        _, height, width = task.inputs
        if params.pool == "max" and min(height, width) < SMALLEST:
            raise UsageError(
                f"Network conv4 halves its maps four times, but the images have {height} x {width} "
                "pixels.",
                hint=f"Choose images of {SMALLEST} x {SMALLEST} pixels or more, or "
                "--set network.pool=stride.",
            )
        self._params = params
        self._task = task

    @property
    def batch_statistics(self) -> bool:
        """True unless its norms have running statistics."""
        return self._params.norm == "batch"

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw weights; see :meth:`metabench.SearchSpace.init_weights`."""
        channels, height, width = self._task.inputs
        weights: Params = {}
        sizes = []
        for layer, filters in self._widths().items():
            shape = (filters, channels, 3, 3)
            weights[f"{layer}.weight"] = glorot(shape, fans=9 * (channels + filters), rng=rng)
            if self._params.conv_bias:
                weights[f"{layer}.bias"] = torch.zeros(filters)
            weights[f"{layer}.norm.scale"] = torch.ones(filters)
            weights[f"{layer}.norm.shift"] = torch.zeros(filters)
            channels, height, width = filters, self._halve(height), self._halve(width)
            sizes.append(filters * height * width)
        features = {"flatten": sizes[-1], "mean": channels, "last-two": sum(sizes[-2:])}[
            self._params.head
        ]
        outputs = self._task.outputs
        weights["head.weight"] = glorot((features, outputs), fans=features + outputs, rng=rng)
        weights["head.bias"] = torch.zeros(outputs)
        return weights

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, channels, height, width]`` to ``[tasks, n, outputs]``."""
        return nn.by_task(self._forward, x, weights)

    def _forward(self, x: Tensor, weights: Params, training: Training | None = None) -> Tensor:
        p = self._params
        maps = []
        for layer, rate in zip(self._widths(), p.dropout, strict=True):
            if p.pool == "max" and p.norm == "batch" and f"{layer}.transform" not in weights:
                x = self._block(x, weights, layer)
            else:
                x = self._parts(x, weights, layer, training)
            x = x if p.activation == "relu" else functional.leaky_relu(x, p.slope)
            x = nn.dropout(x, rate=rate, training=training)
            maps.append(x)
        if p.head == "mean":
            x = nn.global_avg_pool(x)
        else:
            read = maps[-2:] if p.head == "last-two" else maps[-1:]
            x = torch.cat([nn.flatten(one) for one in read], dim=2) if read[1:] else nn.flatten(x)
        if "head.weight" not in weights:
            return x
        y = nn.linear(x, weights["head.weight"], weights["head.bias"])
        return extras.transform(y, weights, "head")

    def _block(self, x: Tensor, weights: Params, layer: str) -> Tensor:
        """One block up to a leaky activation, as one operation."""
        p = self._params
        scale, shift = extras.norm_affine(weights, layer)
        weight, relu = weights[f"{layer}.weight"], p.activation == "relu"
        return nn.conv_block(x, weight, scale, shift, eps=p.eps, relu=relu)

    def _parts(self, x: Tensor, weights: Params, layer: str, training: Training | None) -> Tensor:
        """One block up to a leaky activation, one operation after another."""
        p = self._params
        # An idle bias would cost a sum in each derivative.
        bias = weights.get(f"{layer}.bias") if p.norm == "running" else None
        stride = 2 if p.pool == "stride" else 1
        x = nn.conv2d(x, weights[f"{layer}.weight"], bias, stride=stride, padding=1)
        x = extras.transform(x, weights, layer)
        if p.norm == "running":
            x = running_norm(x, weights, layer, training, momentum=p.momentum, eps=p.eps)
        else:
            scale, shift = extras.norm_affine(weights, layer)
            x = nn.batch_norm(x, scale, shift, eps=p.eps)
        if p.pool == "max":
            x = nn.max_pool2d(x, kernel=2)
        return torch.relu(x) if p.activation == "relu" else x

    def choices(self) -> Mapping[str, CellChoices]:
        """Nothing to choose."""
        return {}

    def child(self, genotype: Genotype) -> Conv4:
        """The network itself."""
        return self

    def idle(self) -> Collection[str]:
        """The biases that norms by the examples' statistics take away."""
        p = self._params
        has_idle = p.conv_bias and p.norm == "batch"
        return [f"{layer}.bias" for layer in self._widths()] if has_idle else []

    def layers(self) -> Mapping[str, int]:
        """Units of each layer; see :class:`metabench.LayeredSpace`."""
        return self._widths() | {"head": self._task.outputs}

    def _widths(self) -> dict[str, int]:
        widths = self._params.block_widths()
        return {f"layer{i}": width for i, width in enumerate(widths, start=1)}

    def _halve(self, size: int) -> int:
        return size // 2 if self._params.pool == "max" else (size + 1) // 2


class StatefulConv4(Conv4):
    """Conv-4 with running statistics or dropout; see :class:`metabench.StatefulSpace`.

    The state is ``layer1.norm.mean`` and ``layer1.norm.variance`` to ``layer4``'s.
    """

    def init_state(self) -> Params:
        """Means 0 and variances 1; nothing with ``norm: batch``."""
        return fresh_state(self._widths()) if self._params.norm == "running" else {}

    def forward_training(
        self, weights: Params, mixture: Mixture, x: Tensor, *, training: Training
    ) -> Tensor:
        """See :meth:`metabench.StatefulSpace.forward_training`."""
        return self._forward(x, weights, training)
