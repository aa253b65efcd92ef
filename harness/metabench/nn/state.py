"""Layers that train otherwise than they predict: running statistics, dropout and DropBlock.

Each takes ``training``: None where the network predicts, and in meta-training the
:class:`metabench.Training` of the meta-step, which has the generator and takes the new statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from metabench.nn.layers import fold_tasks, unfold_tasks
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.space import Training


def running_batch_norm(
    x: Tensor,
    weights: Params,
    name: str,
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    training: Training | None = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize by running statistics; in training by those of the examples, which join them.

    The state of the norm is ``<name>.mean`` and ``<name>.variance``, ``[tasks or 1, channels]``. A
    pass in training leaves ``(1 - momentum) old + momentum found`` in ``training.state``, without
    a graph; what it finds is the mean and the variance over ``count``, not over ``count - 1``. With
    ``[1, channels]`` these are over the examples of all tasks together, with
    ``[tasks, channels]`` over each task's own. Derivatives of any order are exact.

    Args:
        x: ``[tasks, n, channels]`` or ``[tasks, n, channels, height, width]``.
        weights: those of the network, the state among them.
        name: of the norm.
        scale: ``[tasks or 1, channels]``; None means 1.
        shift: ``[tasks or 1, channels]``; None means 0.
        training: None to predict.
        momentum: the share of the new statistics.
        eps: added to the variance.

    Returns:
        The shape of ``x``.
    """
    names = f"{name}.mean", f"{name}.variance"
    if training is None:
        mean, variance = (weights[key] for key in names)
        factor = (variance + eps).rsqrt()
        factor = factor if scale is None else factor * scale
        offset = -mean * factor if shift is None else torch.addcmul(shift, mean, factor, value=-1)
        return torch.addcmul(_beside(offset, x), x, _beside(factor, x))
    olds = [training.state.get(key, weights[key]).detach() for key in names]
    y, *founds = _by_batch(x, scale, shift, together=len(olds[0]) == 1, eps=eps)
    for key, old, found in zip(names, olds, founds, strict=True):
        training.state[key] = torch.lerp(old, found.view(old.shape), momentum)
    return y


def _by_batch(
    x: Tensor, scale: Tensor | None, shift: Tensor | None, *, together: bool, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize by the examples' own statistics; return these as well, without a graph.

    PyTorch's own norm is several times faster than one made of means. It leaves the statistics in
    the buffers that it gets.
    """
    n_tasks = 1 if together else len(x)
    rows = x.flatten(0, 1) if together else _fold(x)
    channels = rows.shape[1]
    mean, variance = rows.new_zeros(channels), rows.new_zeros(channels)
    scale = rows.new_ones(1, x.shape[2]) if scale is None else scale
    shift = rows.new_zeros(1, x.shape[2]) if shift is None else shift
    after = max(len(scale), len(shift)) > n_tasks  # a norm of all tasks, but each has its own scale
    weight, bias = (None if after else _flat(w, n_tasks) for w in (scale, shift))
    y = functional.batch_norm(
        rows, mean, variance, weight, bias, training=True, momentum=1.0, eps=eps
    )
    y = y.view(x.shape) if together else _unfold(y, x)
    if after:
        y = torch.addcmul(_beside(shift, x), y, _beside(scale, x))
    count = rows.numel() // channels
    return y, mean, variance * ((count - 1) / count)  # PyTorch divides by one less


def _fold(x: Tensor) -> Tensor:
    """Put the channels of all tasks beside each other, ``[n, tasks * channels, ...]``."""
    return fold_tasks(x) if x.dim() == 5 else x.transpose(0, 1).flatten(1)


def _unfold(y: Tensor, x: Tensor) -> Tensor:
    """Undo :func:`_fold` on a result."""
    return unfold_tasks(y, len(x)) if x.dim() == 5 else y.view(len(y), len(x), -1).transpose(0, 1)


def _flat(weight: Tensor, n_tasks: int) -> Tensor:
    # Contiguous, because the backward pass of PyTorch 2.13 on a CPU reads past an expanded scale.
    return weight.expand(n_tasks, -1).flatten().contiguous()


def _beside(weight: Tensor, x: Tensor) -> Tensor:
    """Give ``[tasks or 1, channels]`` the axes of ``x``."""
    return weight.reshape(len(weight), 1, -1, *(1,) * (x.dim() - 3))


def dropout(x: Tensor, *, rate: float, training: Training | None) -> Tensor:
    """Set each element to 0 with probability ``rate`` and divide the others by ``1 - rate``.

    Args:
        x: any shape.
        rate: in [0, 1); 0 draws nothing.
        training: None to predict, which leaves ``x`` as it is.
    """
    if training is None or rate == 0:
        return x
    kept = torch.rand(x.shape, generator=training.rng) >= rate
    return x * kept.to(x.device, non_blocking=True) / (1 - rate)


def drop_block(x: Tensor, *, rate: float, size: int, training: Training | None) -> Tensor:
    """Set squares of maps to 0, and scale the rest up (DropBlock, Ghiasi et al., NeurIPS 2018).

    Each ``size x size`` square that lies in the map is dropped with probability

        gamma = rate / size^2 * height width / ((height - size + 1) (width - size + 1)),

    and the rest is multiplied by the count of all elements over that of those kept.

    Args:
        x: ``[tasks, n, channels, height, width]``.
        rate: the share that is dropped, but for overlaps, in [0, 1); 0 draws nothing.
        size: side of a square; at most the map's is taken.
        training: None to predict, which leaves ``x`` as it is.
    """
    if training is None or rate == 0:
        return x
    height, width = x.shape[-2:]
    tall, wide = min(size, height), min(size, width)
    places = height - tall + 1, width - wide + 1
    gamma = rate / (tall * wide) * (height * width) / (places[0] * places[1])
    drawn = torch.rand(*x.shape[:-2], *places, generator=training.rng) < gamma
    corners = drawn.to(x.device, non_blocking=True).to(x.dtype).flatten(0, 1)
    around = (wide - 1, wide - 1, tall - 1, tall - 1)
    dropped = functional.max_pool2d(functional.pad(corners, around), (tall, wide), stride=1)
    kept = (1 - dropped).view(x.shape)
    return x * kept * (kept.numel() / kept.sum().clamp_min(1))
