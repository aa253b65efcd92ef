"""Convolution, batch norm, a 2x2 max pool and a ReLU: the block of many few-shot networks."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.nn.layers import batch_norm, conv2d, fold_tasks, max_pool2d, unfold_tasks
from metabench.nn.norm_pool import norm_pool
from metabench.nn.statistics import first_examples


def conv_block(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    padding: int = 1,
    eps: float = 1e-5,
    relu: bool = True,
) -> Tensor:
    """Convolve, normalize by the statistics of these examples, halve, and apply a ReLU.

    It equals :func:`conv2d`, :func:`batch_norm`, :func:`max_pool2d` of 2x2 and ``relu`` after one
    another. On a CPU the last three are one operation, which reads and writes maps less often.

    Args:
        x: ``[tasks, n, channels, height, width]``.
        weight: ``[tasks or 1, filters, channels, kernel height, kernel width]``.
        scale: ``[tasks or 1, filters]``.
        shift: ``[tasks or 1, filters]``.
        padding: zeros added on each side.
        eps: added to the variance.
        relu: whether a ReLU follows.

    Returns:
        ``[tasks, n, filters, height // 2, width // 2]``.
    """
    n_tasks = len(x)
    at_once = x.device.type == "cpu" and first_examples() is None and len(weight) == len(scale)
    if not at_once:
        y = batch_norm(conv2d(x, weight, padding=padding), scale, shift, eps=eps)
        y = max_pool2d(y, kernel=2)
        return torch.relu(y) if relu else y
    # The pool comes before the norm, so the order of the maps must be that of the normalized ones.
    sign = torch.ones_like(scale).copysign_(scale.detach())
    maps = fold_tasks(conv2d(x, weight * sign[..., None, None, None], padding=padding))
    scale, shift = (w.expand(n_tasks, -1).flatten() for w in (scale * sign, shift))
    return unfold_tasks(norm_pool(maps, scale, shift, eps=eps, relu=relu), n_tasks)
