"""Network primitives with a leading task axis, as pure functions.

Inputs are ``[tasks, n, ...]``. A weight is ``[tasks, ...]`` where each task owns one, or
``[1, ...]`` where all share it. ``torch.func.vmap`` is not used: through affine batch norm its
second-order gradients are silently wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from metabench.nn.convolution import Geometry, convolve
from metabench.nn.norm import norm_rows
from metabench.nn.norm_maps import norm_maps
from metabench.nn.products import product
from metabench.nn.statistics import first_examples
from metabench.plugin.contracts.architecture import Params


@product
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply by a matrix and add a bias.

    Args:
        x: ``[tasks, n, inputs]``.
        weight: ``[tasks or 1, inputs, outputs]``; the layout makes gradients need no transposing.
        bias: ``[tasks or 1, outputs]``.

    Returns:
        ``[tasks, n, outputs]``.
    """
    if len(weight) == 1:
        product = x @ weight[0]
        return product if bias is None else product + bias.unsqueeze(1)
    if bias is None:
        return torch.bmm(x, weight)
    return torch.baddbmm(bias.unsqueeze(1), x, weight)


@product
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve images of each task with the task's own filters.

    On a CPU one call per task is fastest, on other devices one grouped call for all tasks. Filters
    of one pixel are matrices, which a CPU multiplies for all tasks at once.

    Args:
        x: ``[tasks, n, channels, height, width]``.
        weight: ``[tasks or 1, filters, channels // groups, kernel height, kernel width]``.
        bias: ``[tasks or 1, filters]``.
        stride: step between outputs.
        padding: zeros added on each side, for height and width.
        dilation: step between the taps of a filter.
        groups: number of blocks of channels that do not mix.

    Returns:
        ``[tasks, n, filters, height, width]``.
    """
    if _overflows(x, weight, stride=stride, padding=padding):
        x, stride = x[..., ::stride, ::stride], 1
    geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
    if len(weight) == 1:
        return _convolve_shared(x, weight, bias, geometry)
    if x.device.type != "cpu":
        return _convolve_grouped(x, weight, bias, geometry)
    if groups == 1 and weight.shape[-2:] == (1, 1) and padding in (0, (0, 0)):
        return _convolve_pixels(x[..., ::stride, ::stride], weight, bias)
    return _convolve_each(x, weight, bias, geometry)


def _overflows(x: Tensor, weight: Tensor, *, stride: int, padding: int | tuple[int, int]) -> bool:
    """Whether PyTorch would write past the end of a buffer when it differentiates for the filters.

    The oneDNN of PyTorch 2.13 (its issue 6035) places the pixels that a strided pointwise
    convolution reads as if a map had a whole block of channels, 16 with AVX-512, even where it has
    fewer. Where threads share an image, or it is large, they end behind the buffer: the process
    crashes, or its gradients are wrong. The same pixels taken beforehand give the same.
    """
    pointwise = stride > 1 and weight.shape[-2:] == (1, 1) and padding in (0, (0, 0))
    return pointwise and weight.shape[2] < 16 and x.device.type == "cpu"


def _convolve_shared(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Shared filters: tasks are just more images."""
    images = _channels_last(x.flatten(0, 1))
    if bias is None or len(bias) == 1:
        return _split_tasks(convolve(images, weight, bias, geometry), x)
    y = _split_tasks(convolve(images, weight, None, geometry), x)
    return y + bias[:, None, :, None, None]


def _convolve_each(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """One call per task, joined along the images: that keeps channels innermost in memory."""
    images = _channels_last(x.flatten(0, 1))
    bias = None if bias is None else per_task(bias, len(x))
    return _split_tasks(convolve(images, weight, bias, geometry), x)


def _convolve_pixels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One product of matrices per task, all in one call."""
    tasks, n, channels, height, width = x.shape
    pixels = x.permute(0, 1, 3, 4, 2).reshape(tasks, n * height * width, channels)
    y = linear(pixels, weight.flatten(2).mT, None if bias is None else per_task(bias, tasks))
    maps = y.view(tasks, n, height, width, -1).permute(1, 2, 3, 0, 4)
    return maps.contiguous().permute(3, 0, 4, 1, 2)  # in memory as `fold_tasks` has it


def _convolve_grouped(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """One call: the channels of all tasks side by side, one group of channels per task."""
    n_tasks = len(x)
    beside = geometry._replace(groups=n_tasks * geometry.groups)
    bias = None if bias is None else per_task(bias, n_tasks).flatten().unsqueeze(0)
    y = convolve(fold_tasks(x), weight.flatten(0, 1).unsqueeze(0), bias, beside)
    return unfold_tasks(y, n_tasks)


def batch_norm(
    x: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    *,
    eps: float = 1e-5,
    relu: bool = False,
) -> Tensor:
    """Normalize by the statistics of these examples, per task and channel.

    There are no running statistics. Second-order gradients are exact. Within
    :func:`statistics_of_first` the statistics are those of the first examples alone.

    Args:
        x: ``[tasks, n, channels]`` or ``[tasks, n, channels, height, width]``.
        scale: ``[tasks or 1, channels]``; None means 1.
        shift: ``[tasks or 1, channels]``; None means 0.
        eps: added to the variance.
        relu: apply a ReLU as well, for less than a call of its own.

    Returns:
        The shape of ``x``.
    """
    n_tasks, _, channels = x.shape[:3]
    first = first_examples()
    if x.dim() > 3 and first is None:
        scale, shift = (
            None if w is None else per_task(w, n_tasks).flatten() for w in (scale, shift)
        )
        return unfold_tasks(norm_maps(fold_tasks(x), scale, shift, eps=eps, relu=relu), n_tasks)
    scale = x.new_ones(1, channels) if scale is None else scale
    shift = x.new_zeros(1, channels) if shift is None else shift
    scale, shift = per_task(scale, n_tasks), per_task(shift, n_tasks)
    if first is not None:
        variance, mean = torch.var_mean(
            x[:, :first], dim=(1, *range(3, x.dim())), correction=0, keepdim=True
        )
        scale, shift = (one.reshape(mean.shape) for one in (scale, shift))
        y = (x - mean) * (scale * (variance + eps).rsqrt()) + shift
        return torch.relu(y) if relu else y
    return norm_rows(x, scale, shift, eps=eps, relu=relu)


def max_pool2d(x: Tensor, *, kernel: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """Take the maximum of each window of ``x [tasks, n, channels, height, width]``.

    Pooling before a ReLU gives the same as after it, and is faster.
    """
    return unfold_tasks(functional.max_pool2d(fold_tasks(x), kernel, stride, padding), len(x))


def avg_pool2d(x: Tensor, *, kernel: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """Average each window of ``x [tasks, n, channels, height, width]``, padding not counted."""
    maps = fold_tasks(x)
    y = functional.avg_pool2d(maps, kernel, stride, padding, count_include_pad=False)
    return unfold_tasks(y, len(x))


def global_avg_pool(x: Tensor) -> Tensor:
    """Average over space, ``[tasks, n, channels, height, width] -> [tasks, n, channels]``."""
    return x.mean((-2, -1))


def flatten(x: Tensor) -> Tensor:
    """Make one vector of each example, ``[tasks, n, ...] -> [tasks, n, features]``."""
    return x.flatten(2)


def by_task(
    network: Callable[..., Tensor], x: Tensor, *weights: Params, at_once: int = 1
) -> Tensor:
    """Run a convolutional network a few tasks at a time on a CPU, and all at once elsewhere.

    With one task its activations stay in the cache, and no primitive has to split and join them.
    Small maps take less time than the calls that compute them; then several are better.

    Args:
        network: called with ``x`` and ``weights``, all of them with a task axis.
        x: ``[tasks, n, ...]``.
        weights: ``[tasks or 1, ...]`` by name; a mixture goes the same way.
        at_once: how many tasks a CPU runs at a time.

    Returns:
        ``[tasks, ...]``.
    """
    if x.device.type != "cpu" or len(x) <= at_once:
        return network(x, *weights)
    split = [_split_weights(group, len(x), at_once) for group in weights]
    parts = zip(torch.split(x, at_once), *split, strict=True)
    return torch.cat([network(part, *groups) for part, *groups in parts])


def _split_weights(weights: Params, n_tasks: int, size: int) -> list[Params]:
    # One split, not many slices: each slice would add a gradient of the size of all tasks.
    parts = {n: torch.split(per_task(weight, n_tasks), size) for n, weight in weights.items()}
    count = math.ceil(n_tasks / size)
    return [{name: part[i] for name, part in parts.items()} for i in range(count)]


def fold_tasks(x: Tensor) -> Tensor:
    """Put the channels of all tasks beside each other.

    What treats each channel by itself needs one call for all tasks then. Results that
    :func:`unfold_tasks` gives back stay in this order in memory, and go in again without a copy.

    Args:
        x: ``[tasks, n, channels, height, width]``.

    Returns:
        ``[n, tasks * channels, height, width]``, on a CPU with channels innermost in memory.
    """
    if x.device.type != "cpu":
        return x.transpose(0, 1).flatten(1, 2)
    return x.permute(1, 3, 4, 0, 2).flatten(3).permute(0, 3, 1, 2)


def unfold_tasks(maps: Tensor, n_tasks: int) -> Tensor:
    """Undo :func:`fold_tasks`: ``[tasks, n, channels, height, width]``."""
    return maps.view(len(maps), n_tasks, -1, *maps.shape[2:]).transpose(0, 1)


def per_task(weight: Tensor, n_tasks: int) -> Tensor:
    """Repeat a shared weight; one that is not stays as it is, without a node in the graph."""
    return weight if len(weight) == n_tasks else weight.expand(n_tasks, *weight.shape[1:])


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def _split_tasks(y: Tensor, x: Tensor) -> Tensor:
    """Undo ``x.flatten(0, 1)`` on a result."""
    return y.view(*x.shape[:2], *y.shape[1:])


def _channels_last(images: Tensor) -> Tensor:
    """Put channels innermost in memory, where a CPU convolves, normalizes and pools fastest."""
    if images.device.type != "cpu":
        return images
    if images.shape[1] == 1:
        # Both layouts fit a single channel, and PyTorch would go on with channels outermost.
        return images.clone(memory_format=torch.channels_last)
    return images.contiguous(memory_format=torch.channels_last)
