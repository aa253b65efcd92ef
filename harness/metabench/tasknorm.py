"""Normalization by batch statistics, with first and second derivatives in closed form.

For one task and channel, with mean and variance over the ``n`` examples and positions,

    y = r (x - mean x),    r = (var x + eps)^(-1/2).

Its derivative is ``r P`` with ``P g = g - mean g - y mean(g y)``. ``r P`` is symmetric, so a
cotangent ``v`` of the gradient ``r P g`` comes back to ``g`` as ``r P v``. Through ``y`` and ``r``
it comes back to ``x`` as ``-r^2 (P(v mean(g y) + g mean(v y)) + y mean(v P g))``.
Autograd would keep three times as many temporaries, and ``vmap`` gets the second order wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def normalize(x: Tensor, *, eps: float) -> Tensor:
    """Normalize ``x [tasks, n, channels]`` over ``n`` to mean 0 and variance 1."""
    y: Tensor = _Normalize.apply(x, eps)  # type: ignore[no-untyped-call]
    return y


def _mean(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True)


def _project(g: Tensor, y: Tensor) -> Tensor:
    return (g - _mean(g)).addcmul_(y, _mean(g * y), value=-1)


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        y = x - _mean(x)
        r = _mean(y * y).add_(eps).rsqrt_()
        y.mul_(r)
        ctx.save_for_backward(x, y, r)
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        (g,) = cotangents
        return _Gradient.apply(g, *ctx.saved_tensors), None  # type: ignore[no-untyped-call]


class _Gradient(torch.autograd.Function):
    """``r P g``; ``x`` is an argument only so that autograd knows about it."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, y: Tensor, r: Tensor) -> Tensor:
        ctx.save_for_backward(g, y, r)
        return _project(g, y).mul_(r)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (v,) = cotangents
        g, y, r = ctx.saved_tensors
        gy, vy = _mean(g * y), _mean(v * y)
        to_g = _project(v, y)
        to_x = _project((v * gy).addcmul_(g, vy), y).addcmul_(y, _mean(to_g * g))
        return to_g.mul_(r), to_x.mul_(-r * r), None, None
