"""Batch norm, scale, shift and ReLU in one, with first and second derivatives in closed form.

For one task and channel, over its ``n`` rows ``z``:

    u = r (z - mean z),    r = (sum (z - mean z)^2 + n eps)^(-1/2),    y = relu(k u + shift)

with ``k = scale sqrt(n)``, as ``sqrt(n) u`` has variance 1. ``P g = g - mean g - u sum(u g)`` is
symmetric. A cotangent ``g`` of ``y``, masked where the ReLU is off, comes back as

    to z:  r k P g,    to shift:  sum g,    to scale:  sqrt(n) sum(u g).                        (1)

Cotangents ``v``, ``v_shift``, ``v_scale`` of these three, with ``q = r k``, come back as

    to g:      q P v + v_shift + sqrt(n) v_scale u   (masked),
    to scale:  sqrt(n) r sum(v P g),
    to z:      r (P c - q u sum(v P g)),                                                        (2)

with ``c = (sqrt(n) v_scale - q sum(u v)) g - q sum(u g) v``.

PyTorch's own operators would need three times as many kernels and temporaries for this.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def norm_rows(z: Tensor, scale: Tensor, shift: Tensor, *, eps: float, relu: bool) -> Tensor:
    """Normalize over rows, scale, shift, and apply a ReLU if ``relu``.

    Third derivatives are not defined.

    Args:
        z: ``[tasks, n, channels]``.
        scale: ``[tasks, channels]``.
        shift: ``[tasks, channels]``.
        eps: added to the variance.
        relu: whether a ReLU follows.
    """
    y: Tensor = _Norm.apply(z, scale, shift, eps, relu)  # type: ignore[no-untyped-call]
    return y


def _sum(x: Tensor) -> Tensor:
    return x.sum(1, keepdim=True)


def _mask(g: Tensor, y: Tensor | None) -> Tensor:
    return g if y is None else torch.ops.aten.threshold_backward(g, y, 0)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, scale: Tensor, shift: Tensor, eps: float, relu: bool
    ) -> Tensor:
        n = z.shape[1]
        u = torch.sub(z, _sum(z), alpha=1 / n)
        r = _sum(u * u).add_(n * eps).rsqrt_()
        u.mul_(r)
        y = torch.addcmul(shift.unsqueeze(1), u, scale.unsqueeze(1), value=math.sqrt(n))
        if relu:
            y.clamp_min_(0)
        ctx.save_for_backward(z, scale, u, r, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = cotangents
        gradients = _Gradient.apply(g, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return (*gradients, None, None)


class _Gradient(torch.autograd.Function):
    """Equation 1; ``z`` is an argument only so that autograd knows of it."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, z: Tensor, scale: Tensor, u: Tensor, r: Tensor, y: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        n = g.shape[1]
        g = _mask(g, y)
        sum_g, sum_ug = _sum(g), _sum(u * g)
        q = (r * scale.unsqueeze(1)).mul_(math.sqrt(n))
        ctx.save_for_backward(g, u, r, y, sum_g, sum_ug, q)
        to_z = torch.sub(g, sum_g, alpha=1 / n).addcmul_(u, sum_ug, value=-1).mul_(q)
        return to_z, (sum_ug * math.sqrt(n)).squeeze(1), sum_g.squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """Equation 2."""
        v, v_scale, v_shift = cotangents[0], *(c.unsqueeze(1) for c in cotangents[1:])
        g, u, r, y, sum_g, sum_ug, q = ctx.saved_tensors
        n = g.shape[1]
        sum_v, sum_uv = _sum(v), _sum(u * v)
        sum_vpg = _sum(v * g).addcmul_(sum_v, sum_g, value=-1 / n)
        sum_vpg.addcmul_(sum_uv, sum_ug, value=-1)
        h = torch.addcmul(v_scale * math.sqrt(n), q, sum_uv, value=-1)

        to_g = (v * q).addcmul_(u, h).add_(torch.addcmul(v_shift, q, sum_v, value=-1 / n))
        to_scale = (r * sum_vpg).mul_(math.sqrt(n))
        to_z = (g * h).addcmul_(v, q * sum_ug, value=-1)
        along_u = _sum(u * to_z).addcmul_(q, sum_vpg)
        to_z.sub_(_sum(to_z), alpha=1 / n).addcmul_(u, along_u, value=-1).mul_(r)
        return _mask(to_g, y), to_z, to_scale.squeeze(1), None, None, None
