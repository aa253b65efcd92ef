"""Candidate operations on image maps, as pure functions with a task axis.

Sources: DARTS (Liu et al., ICLR 2019) and MetaNAS (Elsken et al., CVPR 2020). An operation maps
``[tasks, n, channels, height, width]`` to as many channels, at stride 2 to half the size, rounded
up. The batch norm that follows most of them is not theirs: the edge applies it, together with the
weight of the operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor

from metabench import Params, nn
from metabench_plugins.spaces.parts.image_maps import (
    Shapes,
    depthwise,
    factorized_reduction,
    reduction_shapes,
)

EPS = 1e-5
PoolKind = Literal["max", "avg"]


class Feed:
    """The map of one node, with what several operations make of it, made once.

    Args:
        x: ``[tasks, n, channels, height, width]``.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self._pools: dict[tuple[PoolKind, int], Tensor] = {}
        self._normed: dict[tuple[PoolKind, int], Tensor] = {}

    @cached_property
    def active(self) -> Tensor:
        """After a ReLU."""
        return torch.relu(self.x)

    def pool(self, kind: PoolKind, stride: int) -> Tensor:
        """Pool windows of 3x3; the padding counts in neither kind."""
        if (kind, stride) not in self._pools:
            pool = nn.max_pool2d if kind == "max" else nn.avg_pool2d
            self._pools[kind, stride] = pool(self.x, kernel=3, stride=stride, padding=1)
        return self._pools[kind, stride]

    def normed_pool(self, kind: PoolKind, stride: int) -> Tensor:
        """Pool, then normalize without scale and shift."""
        if (kind, stride) not in self._normed:
            pooled = self.pool(kind, stride)
            self._normed[kind, stride] = nn.batch_norm(pooled, eps=EPS)
        return self._normed[kind, stride]


class Primitive(Protocol):
    """A candidate operation."""

    def normed(self, stride: int) -> bool:
        """Whether a batch norm follows (for pools the network decides)."""
        ...

    def shapes(self, channels: int, stride: int, *, affine: bool) -> Shapes:
        """Shapes of the weights, without those of the batch norm that follows.

        Args:
            channels: in and out.
            stride: 1 or 2.
            affine: whether batch norms inside have scale and shift.
        """
        ...

    def apply(self, feed: Feed, weights: Params, name: str, *, stride: int) -> Tensor:
        """Compute; weights are ``<name>.<part>``, ``[tasks or 1, *shape]``."""
        ...


@dataclass(frozen=True, slots=True)
class Separable:
    """ReLU, depthwise convolution, pointwise convolution; ``repeats`` times, a norm in between.

    Attributes:
        kernel: size of the depthwise filters.
        dilation: step between their taps.
        repeats: the first has the stride.
    """

    kernel: int
    dilation: int = 1
    repeats: int = 1

    def normed(self, stride: int) -> bool:
        """True."""
        return True

    def shapes(self, channels: int, stride: int, *, affine: bool) -> Shapes:
        """Per repeat ``depthwise<i>`` and ``pointwise<i>``; ``inner<i>.norm`` between."""
        shapes: Shapes = {}
        for i in range(1, self.repeats + 1):
            shapes[f"depthwise{i}"] = (channels, 1, self.kernel, self.kernel)
            shapes[f"pointwise{i}"] = (channels, channels, 1, 1)
            if affine and i < self.repeats:
                shapes |= norm_shapes(f"inner{i}.norm", channels)
        return shapes

    def apply(self, feed: Feed, weights: Params, name: str, *, stride: int) -> Tensor:
        """Compute; see :class:`Primitive`."""
        x = feed.active
        for i in range(1, self.repeats + 1):
            x = depthwise(
                x,
                weights[f"{name}.depthwise{i}"],
                stride=stride if i == 1 else 1,
                dilation=self.dilation,
            )
            x = nn.conv2d(x, weights[f"{name}.pointwise{i}"])
            if i < self.repeats:
                scale, shift = norm_weights(weights, f"{name}.inner{i}.norm")
                x = nn.batch_norm(x, scale, shift, eps=EPS, relu=True)
        return x


@dataclass(frozen=True, slots=True)
class Crossed:
    """ReLU, dense convolution 1 x ``kernel``, dense convolution ``kernel`` x 1."""

    kernel: int

    def normed(self, stride: int) -> bool:
        """True."""
        return True

    def shapes(self, channels: int, stride: int, *, affine: bool) -> Shapes:
        """``row`` and ``column``."""
        return {
            "row": (channels, channels, 1, self.kernel),
            "column": (channels, channels, self.kernel, 1),
        }

    def apply(self, feed: Feed, weights: Params, name: str, *, stride: int) -> Tensor:
        """Compute; the first convolution has the stride, see :class:`Primitive`."""
        pad = self.kernel // 2
        x = nn.conv2d(feed.active, weights[f"{name}.row"], stride=stride, padding=(0, pad))
        return nn.conv2d(x, weights[f"{name}.column"], padding=(pad, 0))


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum or average of windows of 3x3."""

    kind: PoolKind

    def normed(self, stride: int) -> bool:
        """As the network decides."""
        return False

    def shapes(self, channels: int, stride: int, *, affine: bool) -> Shapes:
        """None."""
        return {}

    def apply(self, feed: Feed, weights: Params, name: str, *, stride: int) -> Tensor:
        """Compute; see :class:`Primitive`."""
        return feed.pool(self.kind, stride)


@dataclass(frozen=True, slots=True)
class Skip:
    """The identity; at stride 2 a factorized reduction."""

    def normed(self, stride: int) -> bool:
        """At stride 2."""
        return stride == 2

    def shapes(self, channels: int, stride: int, *, affine: bool) -> Shapes:
        """Of the reduction."""
        return {} if stride == 1 else reduction_shapes(channels, channels)

    def apply(self, feed: Feed, weights: Params, name: str, *, stride: int) -> Tensor:
        """Compute; see :class:`Primitive`."""
        return feed.x if stride == 1 else factorized_reduction(feed.active, weights, name)


PRIMITIVES: Mapping[str, Primitive] = {
    "max-pool-3x3": Pool("max"),
    "avg-pool-3x3": Pool("avg"),
    "skip": Skip(),
    "conv-3x3": Separable(3),
    "sep-conv-3x3": Separable(3, repeats=2),
    "sep-conv-5x5": Separable(5, repeats=2),
    "dil-conv-3x3": Separable(3, dilation=2),
    "dil-conv-5x5": Separable(5, dilation=2),
    "conv-1x5-5x1": Crossed(5),
}


def norm_shapes(name: str, channels: int) -> Shapes:
    """Shapes of scale and shift of a batch norm."""
    return {f"{name}.scale": (channels,), f"{name}.shift": (channels,)}


def norm_weights(weights: Params, name: str) -> tuple[Tensor | None, Tensor | None]:
    """Scale and shift of a batch norm, where it has them."""
    return weights.get(f"{name}.scale"), weights.get(f"{name}.shift")
