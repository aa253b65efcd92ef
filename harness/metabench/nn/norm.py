"""Batch norm, scale, shift and ReLU in one, with first and second derivatives in closed form.

For one task and channel, over its ``n`` rows ``z``:

    u = r (z - mean z),    r = (mean (z - mean z)^2 + eps)^(-1/2),    y = relu(scale u + shift)

``P g = g - mean g - u mean(u g)`` is symmetric. A cotangent ``g`` of ``y``, masked where the ReLU
is off, comes back, with ``q = r scale``, as

    to z:  q P g,    to shift:  sum g,    to scale:  sum(u g).                                  (1)

Cotangents ``v``, ``v_shift``, ``v_scale`` of these three come back as

    to g:      q P v + v_shift + v_scale u   (masked),
    to scale:  r sum(v P g),
    to z:      r (P c - q u mean(v P g)),                                                       (2)

with ``c = (v_scale - q mean(u v)) g - q mean(u g) v``.

PyTorch's own operators would need three times as many kernels and temporaries for this.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metabench.nn.channel_factors import masked


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


class Pullback(NamedTuple):
    """Equation 1, and what equation 2 needs of it.

    Attributes:
        to_z: ``[tasks, n, channels]``.
        to_shift: ``[tasks, 1, channels]``.
        to_scale: ``[tasks, 1, channels]``.
        g: the masked cotangent of ``y``.
        q: ``[tasks, 1, channels]``.
    """

    to_z: Tensor
    to_shift: Tensor
    to_scale: Tensor
    g: Tensor
    q: Tensor


class SecondPullback(NamedTuple):
    """Equation 2.

    Attributes:
        to_g: ``[tasks, n, channels]``.
        to_z: ``[tasks, n, channels]``.
        to_scale: ``[tasks, channels]``.
    """

    to_g: Tensor
    to_z: Tensor
    to_scale: Tensor


def normalize(z: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return ``u [tasks, n, channels]`` and ``r [tasks, 1, channels]``."""
    n = z.shape[1]
    u = torch.sub(z, sum_rows(z), alpha=1 / n)
    r = sum_rows(u * u).div_(n).add_(eps).rsqrt_()
    return u.mul_(r), r


def affine(u: Tensor, scale: Tensor, shift: Tensor, *, relu: bool) -> Tensor:
    """Return ``y``; scale and shift are ``[tasks, channels]``."""
    y = torch.addcmul(shift.unsqueeze(1), u, scale.unsqueeze(1))
    return y.clamp_min_(0) if relu else y


def pull_back(g: Tensor, u: Tensor, r: Tensor, y: Tensor | None, scale: Tensor) -> Pullback:
    """Evaluate equation 1; ``y`` is None where no ReLU follows."""
    n = g.shape[1]
    g = masked(g, y)
    sum_g, sum_ug = sum_rows(g), sum_rows(u * g)
    q = r * scale.unsqueeze(1)
    to_z = torch.sub(g, sum_g, alpha=1 / n).addcmul_(u, sum_ug, value=-1 / n).mul_(q)
    return Pullback(to_z, sum_g, sum_ug, g, q)


def pull_back_again(
    v: Tensor,
    v_shift: Tensor,
    v_scale: Tensor,
    *,
    first: Pullback,
    u: Tensor,
    r: Tensor,
    y: Tensor | None,
) -> SecondPullback:
    """Evaluate equation 2; ``v_shift`` and ``v_scale`` are ``[tasks, channels]``."""
    _, sum_g, sum_ug, g, q = first
    n = g.shape[1]
    sum_v, sum_uv = sum_rows(v), sum_rows(u * v)
    sum_vpg = sum_rows(v * g).addcmul_(sum_v, sum_g, value=-1 / n)
    sum_vpg.addcmul_(sum_uv, sum_ug, value=-1 / n)
    h = torch.addcmul(v_scale.unsqueeze(1), q, sum_uv, value=-1 / n)
    k = q * sum_ug  # c = h g - k v / n

    row = torch.addcmul(v_shift.unsqueeze(1), q, sum_v, value=-1 / n)
    to_g = torch.addcmul(row, u, h).addcmul_(v, q)
    sum_c = (h * sum_g).addcmul_(k, sum_v, value=-1 / n)
    along_u = (h * sum_ug).addcmul_(k, sum_uv, value=-1 / n).addcmul_(q, sum_vpg)
    to_z = (g * h).addcmul_(v, k, value=-1 / n).sub_(sum_c, alpha=1 / n)
    to_z.addcmul_(u, along_u, value=-1 / n).mul_(r)
    return SecondPullback(masked(to_g, y), to_z, (r * sum_vpg).squeeze(1))


def sum_rows(x: Tensor) -> Tensor:
    """Sum ``[tasks, n, channels]`` to ``[tasks, 1, channels]``."""
    return x.sum(1, keepdim=True)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, scale: Tensor, shift: Tensor, eps: float, relu: bool
    ) -> Tensor:
        u, r = normalize(z, eps)
        y = affine(u, scale, shift, relu=relu)
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
        first = pull_back(g, u, r, y, scale)
        ctx.save_for_backward(u, r, y, *first)
        return first.to_z, first.to_scale.squeeze(1), first.to_shift.squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """Equation 2."""
        v, v_scale, v_shift = cotangents
        u, r, y, *first = ctx.saved_tensors
        second = pull_back_again(v, v_shift, v_scale, first=Pullback(*first), u=u, r=r, y=y)
        return second.to_g, second.to_z, second.to_scale, None, None, None
