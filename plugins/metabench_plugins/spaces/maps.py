"""What operations do to whole image maps: filter each channel, halve, join.

Maps are ``[tasks, n, channels, height, width]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metabench import tasknn
from metabench.protocols import Params

Shapes = dict[str, tuple[int, ...]]
"""Of weights, by name."""


def depthwise(x: Tensor, weight: Tensor, *, stride: int, dilation: int) -> Tensor:
    """Convolve each channel with its own filter, padded so that stride 1 keeps the size.

    Taps two pixels apart see pixels of one parity only: with stride 2 those in even rows and
    columns, with stride 1 four smaller maps. A CPU differentiates the plain convolution of these
    at least twice as fast.

    Args:
        x: ``[tasks, n, channels, height, width]``.
        weight: ``[tasks or 1, channels, 1, kernel, kernel]``.
        stride: step between outputs.
        dilation: step between the taps, 1 or 2.
    """
    if dilation == 2 and stride == 2:
        return depthwise(x[..., ::2, ::2], weight, stride=1, dilation=1)
    if dilation == 2 and x.device.type == "cpu":
        y = depthwise(_by_parity(x), weight, stride=1, dilation=1)
        return _from_parity(y, *x.shape[-2:])
    return tasknn.conv2d(
        x,
        weight,
        stride=stride,
        padding=dilation * (weight.shape[-1] // 2),
        dilation=dilation,
        groups=x.shape[2],
    )


def _by_parity(x: Tensor) -> Tensor:
    """Make ``[tasks, 4 n, channels, ceil(height / 2), ceil(width / 2)]``, zeros where it is odd."""
    tasks, n, channels, height, width = x.shape
    images = functional.pad(x.flatten(0, 1), (0, width % 2, 0, height % 2)).permute(0, 2, 3, 1)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    parts = images.reshape(tasks, n, rows, 2, columns, 2, channels).permute(0, 3, 5, 1, 2, 4, 6)
    return parts.reshape(tasks, 4 * n, rows, columns, channels).permute(0, 1, 4, 2, 3)


def _from_parity(y: Tensor, height: int, width: int) -> Tensor:
    """Undo :func:`_by_parity`."""
    tasks, images, channels, rows, columns = y.shape
    parts = y.permute(0, 1, 3, 4, 2).reshape(tasks, 2, 2, images // 4, rows, columns, channels)
    whole = parts.permute(0, 3, 4, 1, 5, 2, 6)
    whole = whole.reshape(tasks, images // 4, 2 * rows, 2 * columns, channels)
    return whole.permute(0, 1, 4, 2, 3)[..., :height, :width]


def reduction_shapes(inputs: int, outputs: int) -> Shapes:
    """Shapes of the weights of :func:`factorized_reduction`."""
    half = outputs // 2
    return {"even": (half, inputs, 1, 1), "odd": (outputs - half, inputs, 1, 1)}


def factorized_reduction(x: Tensor, weights: Params, name: str) -> Tensor:
    """Halve a map: pointwise convolutions of its even and of its odd pixels, side by side.

    Maps of an odd size get one more row or column of zeros.

    Args:
        x: ``[tasks, n, inputs, height, width]``, after a ReLU.
        weights: ``<name>.even`` and ``<name>.odd``.
        name: of the operation.
    """
    height, width = x.shape[-2:]
    images = functional.pad(x.flatten(0, 1), (0, width % 2, 0, height % 2))
    shifted = images[..., 1:, 1:]
    even = tasknn.conv2d(x, weights[f"{name}.even"], stride=2)
    odd = tasknn.conv2d(
        shifted.view(*x.shape[:2], *shifted.shape[1:]), weights[f"{name}.odd"], stride=2
    )
    return side_by_side([even, odd])


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Join the channels of maps ``[tasks, n, channels, height, width]``."""
    # With four dimensions, because then PyTorch keeps the order in memory.
    y = torch.cat([_WholeGradient.apply(x.flatten(0, 1)) for x in maps], dim=1)  # type: ignore[no-untyped-call]
    return y.view(*maps[0].shape[:2], *y.shape[1:])


class _WholeGradient(torch.autograd.Function):
    """The identity, whose gradient is laid out like a map of its own.

    It comes as a slice of the joined channels, which batch norms differentiate several times as
    slowly.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        if gradient.device.type != "cpu":
            return gradient
        return gradient.contiguous(memory_format=torch.channels_last)
