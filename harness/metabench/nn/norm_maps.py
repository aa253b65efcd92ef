"""Batch norm of maps, with a second derivative made of the library's own fused kernels.

For one channel, over its ``n`` elements ``z``:

    u = r (z - mean z),    r = (mean (z - mean z)^2 + eps)^(-1/2),    y = scale u + shift,

and a ReLU if asked for. The derivatives are equations 1 and 2 of :mod:`metabench.nn.norm`. Each of
them, where ``u`` is written out, is a sum of maps with one factor per channel:

    to g:  q v + a z + b,    to z:  a g - d v + e z + f.                                        (1)

The factors follow from sums over the elements. One kernel, the norm's own first derivative, gives
these without a temporary map: ``sum v`` and ``sum u v`` of a cotangent ``v``, and of ``g`` in the
place of ``z``, with mean 0 and deviation 1, ``sum v g``.

PyTorch's own second derivative takes several times as many kernels and temporary maps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_forward = torch.ops.aten.native_batch_norm.default
_backward = torch.ops.aten.native_batch_norm_backward.default


def norm_maps(
    z: Tensor, scale: Tensor | None, shift: Tensor | None, *, eps: float, relu: bool
) -> Tensor:
    """Normalize each channel, scale, shift, and apply a ReLU if ``relu``.

    Third derivatives are not defined.

    Args:
        z: ``[n, channels, height, width]``.
        scale: ``[channels]``; None means 1.
        shift: ``[channels]``; None means 0.
        eps: added to the variance.
        relu: whether a ReLU follows.
    """
    y: Tensor = _Norm.apply(_dense(z), scale, shift, eps, relu)  # type: ignore[no-untyped-call]
    return y


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float, relu: bool
    ) -> Tensor:
        y: Tensor
        # Contiguous, because the kernels of PyTorch 2.13 on a CPU read past an expanded scale.
        scale = None if scale is None else scale.contiguous()
        shift = None if shift is None else shift.contiguous()
        y, mean, r = _forward(z, scale, shift, None, None, True, 0.0, eps)
        if relu:
            y = y.relu_()
        ctx.eps = eps
        ctx.save_for_backward(z, scale, mean, r, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = cotangents
        gradients = _Gradient.apply(  # type: ignore[no-untyped-call]
            g, *ctx.saved_tensors, ctx.eps, ctx.needs_input_grad[:3]
        )
        return (*gradients, None, None)


class _Gradient(torch.autograd.Function):
    """The first derivative, to ``z``, scale and shift."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        z: Tensor,
        scale: Tensor | None,
        mean: Tensor,
        r: Tensor,
        y: Tensor | None,
        eps: float,
        asked: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        g = _mask(_laid_out_like(g, z), y)
        dz, dscale, dshift = _backward(
            g, z, scale, None, None, mean, r, True, eps, [asked[0], True, True]
        )
        ctx.save_for_backward(g, z, scale, mean, r, y, dscale, dshift)
        found = dz, dscale, dshift
        return tuple(d if wanted else None for d, wanted in zip(found, asked, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Equation 1."""
        v, v_scale, v_shift = cotangents
        g, z, scale, mean, r, y, sum_ug, sum_g = ctx.saved_tensors
        v = torch.zeros_like(g) if v is None else _laid_out_like(v, z)
        n = z.numel() // z.shape[1]
        q = r if scale is None else r * scale
        share = q / n
        sum_uv, sum_v = _sums(v, z, mean, r)
        sum_vg, _ = _sums(v, g, torch.zeros_like(mean), torch.ones_like(r))
        # sum v P g
        sum_vpg = sum_vg.addcmul_(sum_v, sum_g, value=-1 / n).addcmul_(sum_uv, sum_ug, value=-1 / n)

        h = _minus(v_scale, share * sum_uv)
        k = share * sum_ug
        a, d = r * h, r * k
        b = _minus(v_shift, share * sum_v).addcmul_(a, mean, value=-1)
        along_u = (h * sum_ug).addcmul_(k, sum_uv, value=-1).addcmul_(q, sum_vpg)
        e = (along_u * r * r).mul_(-1 / n)
        f = (d * sum_v).addcmul_(a, sum_g, value=-1).mul_(1 / n).addcmul_(e, mean, value=-1)

        to_g, to_z, to_scale = None, None, None
        if ctx.needs_input_grad[0]:
            to_g = torch.addcmul(_by_channel(b), v, _by_channel(q)).addcmul_(z, _by_channel(a))
            to_g = _mask(to_g, y)
        if ctx.needs_input_grad[1]:
            to_z = torch.addcmul(_by_channel(f), g, _by_channel(a))
            to_z.addcmul_(v, _by_channel(d), value=-1).addcmul_(z, _by_channel(e))
        if ctx.needs_input_grad[2]:
            to_scale = r * sum_vpg
        return to_g, to_z, to_scale, *[None] * 5


def _sums(v: Tensor, z: Tensor, mean: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel, the sums of ``v r (z - mean)`` and of ``v``."""
    _, products, sums = _backward(v, z, None, None, None, mean, r, True, 0.0, [False, True, True])
    return products, sums


def _minus(cotangent: Tensor | None, other: Tensor) -> Tensor:
    return other.neg_() if cotangent is None else cotangent - other


def _by_channel(factor: Tensor) -> Tensor:
    return factor.view(-1, 1, 1)


def _mask(g: Tensor, y: Tensor | None) -> Tensor:
    return g if y is None else torch.ops.aten.threshold_backward(g, y, 0)


def _dense(z: Tensor) -> Tensor:
    """A layout that the kernels are fast on; channels innermost stay so."""
    return z if z.is_contiguous(memory_format=torch.channels_last) else z.contiguous()


def _laid_out_like(g: Tensor, z: Tensor) -> Tensor:
    """Copy a cotangent where it is laid out otherwise than the map; mixed the kernels are slow."""
    if z.is_contiguous(memory_format=torch.channels_last):
        return g.contiguous(memory_format=torch.channels_last)
    return g.contiguous()
