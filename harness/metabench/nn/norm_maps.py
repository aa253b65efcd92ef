"""Batch norm of maps, with a second derivative made of the library's own fused kernels.

For one channel, over its ``n`` elements ``z``:

    u = r (z - mean z),    r = (mean (z - mean z)^2 + eps)^(-1/2),    y = scale u + shift,

and a ReLU if asked for. The derivatives are equations 1 and 2 of :mod:`metabench.nn.norm`; the
second is computed as :mod:`metabench.nn.channel_factors` says.

PyTorch's own second derivative takes several times as many kernels and temporary maps.
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
    norm_backward,
    second_factors,
    sum_products,
)
from metabench.nn.derivatives import is_differentiated_twice


def norm_maps(
    z: Tensor, scale: Tensor | None, shift: Tensor | None, *, eps: float, relu: bool
) -> Tensor:
    """Normalize each channel, scale, shift, and apply a ReLU if ``relu``.

    Within :func:`differentiated_twice` third derivatives are not defined.

    Args:
        z: ``[n, channels, height, width]``.
        scale: ``[channels]``; None means 1.
        shift: ``[channels]``; None means 0.
        eps: added to the variance.
        relu: whether a ReLU follows.
    """
    y: Tensor
    # Contiguous, because the kernels of PyTorch 2.13 on a CPU read past an expanded scale.
    scale, shift = (None if one is None else one.contiguous() for one in (scale, shift))
    if is_differentiated_twice():
        y = _Norm.apply(dense(z), scale, shift, eps, relu)  # type: ignore[no-untyped-call]
        return y
    y = functional.batch_norm(z, None, None, scale, shift, training=True, eps=eps)
    return torch.relu(y) if relu else y


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float, relu: bool
    ) -> Tensor:
        y: Tensor
        y, mean, r = torch.native_batch_norm(z, scale, shift, None, None, True, 0.0, eps)
        if relu:
            y = y.relu_()
        ctx.eps = eps
        ctx.save_for_backward(z, scale, mean, r, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = cotangents
        z, scale, mean, r, y = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradients = _Gradient.apply(  # type: ignore[no-untyped-call]
                g, z, scale, mean, r, y, ctx.eps, ctx.needs_input_grad[:3]
            )
            return *gradients, None, None
        g, mask = masked(laid_out_like(g, z), y), ctx.needs_input_grad[:3]
        found = norm_backward(g, z, scale, mean, r, ctx.eps, mask)
        return *found, None, None


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
        g = masked(laid_out_like(g, z), y)
        mask = (asked[0], True, True)
        dz, dscale, dshift = norm_backward(g, z, scale, mean, r, eps, mask)
        ctx.save_for_backward(g, z, scale, mean, r, y, dscale, dshift)
        found = dz, dscale, dshift
        return tuple(d if wanted else None for d, wanted in zip(found, asked, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Equation 1 of :mod:`metabench.nn.channel_factors`."""
        v, v_scale, v_shift = cotangents
        g, z, scale, mean, r, y, sum_ug, sum_g = ctx.saved_tensors
        v = torch.zeros_like(g) if v is None else laid_out_like(v, z)
        q, a, b, d, e, f, to_scale = second_factors(
            v,
            z,
            scale=scale,
            mean=mean,
            r=r,
            sum_ug=sum_ug,
            sum_g=sum_g,
            sum_vg=sum_products(v, g),
            v_scale=v_scale,
            v_shift=v_shift,
        )
        to_g, to_z = None, None
        if ctx.needs_input_grad[0]:
            to_g = torch.addcmul(by_channel(b), v, by_channel(q)).addcmul_(z, by_channel(a))
            to_g = masked(to_g, y)
        if ctx.needs_input_grad[1]:
            to_z = torch.addcmul(by_channel(f), g, by_channel(a))
            to_z.addcmul_(v, by_channel(d), value=-1).addcmul_(z, by_channel(e))
        return to_g, to_z, to_scale if ctx.needs_input_grad[2] else None, *[None] * 5
