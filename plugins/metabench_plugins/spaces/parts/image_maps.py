"""Helpers of operations on image maps: depthwise filters, downsampling, concatenation.

Maps are ``[tasks, n, channels, height, width]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metabench import Params, nn

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
    if len(x) > 1 and x.device.type == "cpu":
        # Channels do not mix, so those of several tasks are those of one.
        filters = weight.expand(len(x), *weight.shape[1:]).flatten(0, 1)[None]
        y = depthwise(nn.fold_tasks(x)[None], filters, stride=stride, dilation=dilation)
        return nn.unfold_tasks(y[0], len(x))
    if dilation == 2 and stride == 2:
        return depthwise(x[..., ::2, ::2], weight, stride=1, dilation=1)
    if dilation == 2 and x.device.type == "cpu":
        y = depthwise(_by_parity(x), weight, stride=1, dilation=1)
        return _from_parity(y, *x.shape[-2:])
    return nn.conv2d(
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
    images = functional.pad(nn.fold_tasks(x), (0, width % 2, 0, height % 2))
    shifted = nn.unfold_tasks(images[..., 1:, 1:], len(x))
    even = nn.conv2d(x, weights[f"{name}.even"], stride=2)
    odd = nn.conv2d(shifted, weights[f"{name}.odd"], stride=2)
    return join_channels([even, odd])


def join_channels(maps: Sequence[Tensor]) -> Tensor:
    """Put the channels of maps ``[tasks, n, channels, height, width]`` beside each other."""
    if maps[0].device.type != "cpu":
        return torch.cat([x.transpose(0, 1) for x in maps], dim=2).transpose(0, 1)
    # As they lie in memory, see `nn.fold_tasks`.
    rows = [_WholeGradient.apply(x.permute(1, 3, 4, 0, 2)) for x in maps]  # type: ignore[no-untyped-call]
    return torch.cat(rows, dim=4).permute(3, 0, 4, 1, 2)


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
        return gradient.contiguous()
