"""Batch norm, a 2x2 max pool and a ReLU in one, with first and second derivatives in closed form.

A scale that is not negative keeps the order of the numbers of a channel, so the largest of a window
is the same before and after the norm. With ``z`` a map, ``P`` the largest of each window,
``S = P^T`` what puts these back and 0 elsewhere, and ``q``, ``u`` as in
:mod:`metabench.nn.norm_maps`:

    y = relu(q (P z - mean z) + shift).

The map itself is read for its mean and deviation alone. A cotangent ``g`` of ``y``, masked where
the ReLU is off, is 0 but at the largest of the windows, so its sums are those of a pooled map:

    to z:  q S g + a z + b,    a = -q r sum(u g) / n,    b = -q sum g / n - a mean z.           (1)

A cotangent ``v`` of this comes back, by equation 1 of :mod:`metabench.nn.channel_factors`, as

    to g:  q P v + a P z + b   (masked),    to z:  a S g - d v + e z + f.                       (2)

So a map is read and written less often than by a norm and a pool, and where ``S`` stands, the
numbers of a pooled map are written over those of a map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from metabench.nn.channel_factors import (
    by_channel,
    dense,
    laid_out_like,
    masked,
    second_factors,
    sum_products,
    sums,
)
from metabench.nn.derivatives import is_differentiated_twice

_pool = torch.ops.aten.max_pool2d_with_indices.default


def norm_pool(z: Tensor, scale: Tensor, shift: Tensor, *, eps: float, relu: bool) -> Tensor:
    """Normalize each channel, scale, shift, pool windows of 2x2, and apply a ReLU if ``relu``.

    Within :func:`metabench.nn.differentiated_twice` third derivatives are not defined.

    Args:
        z: ``[n, channels, height, width]``, on a CPU.
        scale: ``[channels]``, 0 or more; with a negative one the wrong pixel would count.
        shift: ``[channels]``.
        eps: added to the variance.
        relu: whether a ReLU follows.
    """
    inputs = dense(z), scale.contiguous(), shift.contiguous()
    y: Tensor = _NormPool.apply(*inputs, eps, relu, is_differentiated_twice())  # type: ignore[no-untyped-call]
    return y


class _NormPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, scale: Tensor, shift: Tensor, eps: float, relu: bool, twice: bool
    ) -> Tensor:
        mean, variance = torch.batch_norm_update_stats(z, None, None, 0.0)
        r = variance.add_(eps).rsqrt_()
        top, index = _pool(z, [2, 2])
        q = r * scale
        y = torch.addcmul(by_channel(shift - q * mean), top, by_channel(q))
        y = y.relu_() if relu else y
        ctx.eps, ctx.relu, ctx.twice = eps, relu, twice
        ctx.save_for_backward(z, scale, shift, mean, r, top, _places(index, z), y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = cotangents
        z, scale, shift, mean, r, top, places, y = ctx.saved_tensors
        asked = ctx.needs_input_grad[:3]
        known = g, z, scale, mean, r, top, places, y, asked
        if not torch.is_grad_enabled():
            *found, _ = _pull_back(*known)
        elif ctx.twice:
            found = _Gradient.apply(*known)  # type: ignore[no-untyped-call]
        else:
            found = _differentiable(g, z, scale, shift, ctx.eps, ctx.relu, asked)
        return *found, None, None, None


class _Gradient(torch.autograd.Function):
    """Equation 1."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        z: Tensor,
        scale: Tensor,
        mean: Tensor,
        r: Tensor,
        top: Tensor,
        places: Tensor,
        y: Tensor | None,
        asked: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        dz, sum_ug, sum_g, g = _pull_back(g, z, scale, mean, r, top, places, y, asked)
        ctx.save_for_backward(g, z, scale, mean, r, top, places, y, sum_ug, sum_g)
        return dz, sum_ug if asked[1] else None, sum_g if asked[2] else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Equation 2."""
        v, v_scale, v_shift = cotangents
        g, z, scale, mean, r, top, places, y, sum_ug, sum_g = ctx.saved_tensors
        v = torch.zeros_like(z) if v is None else laid_out_like(v, z)
        pooled_v = _taken(v, places, like=top)
        q, a, b, d, e, f, to_scale = second_factors(
            v,
            z,
            scale=scale,
            mean=mean,
            r=r,
            sum_ug=sum_ug,
            sum_g=sum_g,
            sum_vg=sum_products(pooled_v, g),
            v_scale=v_scale,
            v_shift=v_shift,
        )
        to_g, to_z = None, None
        if ctx.needs_input_grad[0]:
            to_g = torch.addcmul(by_channel(b), pooled_v, by_channel(q))
            to_g = masked(to_g.addcmul_(top, by_channel(a)), y)
        if ctx.needs_input_grad[1]:
            to_z, at_largest = (
                torch.addcmul(by_channel(f), own_z, by_channel(e)).addcmul_(
                    own_v, by_channel(d), value=-1
                )
                for own_z, own_v in ((z, v), (top, pooled_v))
            )
            _put(to_z, places, at_largest.addcmul_(g, by_channel(a)))
        return to_g, to_z, to_scale if ctx.needs_input_grad[2] else None, *[None] * 6


def _pull_back(
    g: Tensor,
    z: Tensor,
    scale: Tensor,
    mean: Tensor,
    r: Tensor,
    top: Tensor,
    places: Tensor,
    y: Tensor | None,
    asked: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
    """Equation 1: to ``z`` if asked for, to scale, to shift; and the masked cotangent."""
    g = masked(laid_out_like(g, top), y)
    sum_ug, sum_g = sums(g, top, mean, r)
    if not asked[0]:
        return None, sum_ug, sum_g, g
    q, n = r * scale, z.numel() // z.shape[1]
    a = (q * r * sum_ug).mul_(-1 / n)
    b = (q * sum_g).mul_(-1 / n).addcmul_(a, mean, value=-1)
    dz, at_largest = (torch.addcmul(by_channel(b), own, by_channel(a)) for own in (z, top))
    _put(dz, places, at_largest.addcmul_(g, by_channel(q)))
    return dz, sum_ug, sum_g, g


def _differentiable(
    g: Tensor,
    z: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    relu: bool,
    asked: tuple[bool, ...],
) -> list[Tensor | None]:
    """The first derivative by PyTorch's own operators, which have derivatives of any order."""
    y = functional.batch_norm(z, None, None, scale, shift, training=True, eps=eps)
    y = functional.max_pool2d(y, 2)
    y = torch.relu(y) if relu else y
    inputs = [one for one, wanted in zip((z, scale, shift), asked, strict=True) if wanted]
    found = iter(torch.autograd.grad(y, inputs, g, create_graph=True))
    return [next(found) if wanted else None for wanted in asked]


def _places(index: Tensor, z: Tensor) -> Tensor:
    """Where in the memory of ``z`` the largest of each window lies.

    Args:
        index: where in its channel of its image.
        z: with channels innermost in memory, or dense otherwise.
    """
    n, channels, height, width = z.shape
    pixels = height * width
    if z.is_contiguous(memory_format=torch.channels_last):
        images = torch.arange(0, z.numel(), pixels * channels).view(n, 1, 1, 1)
        start = images + torch.arange(channels)
        return torch.add(start, index.permute(0, 2, 3, 1), alpha=channels).view(-1)
    start = torch.arange(0, z.numel(), pixels).view(n, channels, 1, 1)
    return (start + index).view(-1)


def _taken(z: Tensor, places: Tensor, *, like: Tensor) -> Tensor:
    """The numbers of a map at some places, laid out like a pooled map."""
    n, channels, height, width = like.shape
    taken = _in_memory(z).index_select(0, places)
    if z.is_contiguous(memory_format=torch.channels_last):
        return taken.view(n, height, width, channels).permute(0, 3, 1, 2)
    return taken.view_as(like)


def _put(z: Tensor, places: Tensor, pooled: Tensor) -> None:
    """Write a pooled map over the numbers of a map."""
    _in_memory(z).scatter_(0, places, _in_memory(pooled))


def _in_memory(z: Tensor) -> Tensor:
    """The numbers of a dense map in the order of its memory."""
    last = z.is_contiguous(memory_format=torch.channels_last)
    return (z.permute(0, 2, 3, 1) if last else z).view(-1)
