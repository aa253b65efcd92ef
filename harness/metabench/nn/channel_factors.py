"""What the derivatives of a norm of maps are made of: sums and factors of each channel.

The second derivative of a norm (equation 2 of :mod:`metabench.nn.norm`), where ``u`` is written
out, is a sum of maps with one factor per channel:

    to g:  q v + a z + b,    to z:  a g - d v + e z + f.                                        (1)

The factors follow from sums over the elements. One kernel, the norm's own first derivative, gives
these without a temporary map: ``sum v`` and ``sum u v`` of a cotangent ``v``, and of ``g`` in the
place of ``z``, with mean 0 and deviation 1, ``sum v g``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_norm_backward = torch.ops.aten.native_batch_norm_backward.default


class SecondFactors(NamedTuple):
    """The factors of equation 1, and the cotangent of the scale; all ``[channels]``."""

    q: Tensor
    a: Tensor
    b: Tensor
    d: Tensor
    e: Tensor
    f: Tensor
    to_scale: Tensor


def second_factors(
    v: Tensor,
    z: Tensor,
    *,
    scale: Tensor | None,
    mean: Tensor,
    r: Tensor,
    sum_ug: Tensor,
    sum_g: Tensor,
    sum_vg: Tensor,
    v_scale: Tensor | None,
    v_shift: Tensor | None,
) -> SecondFactors:
    """Find the factors of equation 1.

    Args:
        v: cotangent of the gradient of ``z``, laid out like it.
        z: ``[n, channels, height, width]``.
        scale: ``[channels]``, as all below; None means 1.
        mean: of ``z``.
        r: the inverse deviation of ``z``.
        sum_ug: over the elements.
        sum_g: likewise.
        sum_vg: likewise; it is changed.
        v_scale: cotangent of the gradient of the scale; None means 0.
        v_shift: likewise, of the shift.
    """
    n = z.numel() // len(mean)
    sum_uv, sum_v = sums(v, z, mean, r)
    q = r if scale is None else r * scale
    share = q / n
    # sum v P g
    sum_vpg = sum_vg.addcmul_(sum_v, sum_g, value=-1 / n).addcmul_(sum_uv, sum_ug, value=-1 / n)
    h = _minus(v_scale, share * sum_uv)
    k = share * sum_ug
    a, d = r * h, r * k
    b = _minus(v_shift, share * sum_v).addcmul_(a, mean, value=-1)
    along_u = (h * sum_ug).addcmul_(k, sum_uv, value=-1).addcmul_(q, sum_vpg)
    e = (along_u * r * r).mul_(-1 / n)
    f = (d * sum_v).addcmul_(a, sum_g, value=-1).mul_(1 / n).addcmul_(e, mean, value=-1)
    return SecondFactors(q, a, b, d, e, f, r * sum_vpg)


def norm_backward(
    g: Tensor,
    z: Tensor,
    scale: Tensor | None,
    mean: Tensor,
    r: Tensor,
    eps: float,
    asked: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """The first derivative of a norm in training, by PyTorch's own kernel.

    Args:
        g: cotangent of the normalized map.
        z: ``[n, channels, height, width]``.
        scale: ``[channels]``, as all below; None means 1.
        mean: of ``z``.
        r: the inverse deviation of ``z``.
        eps: added to the variance.
        asked: whether the derivatives to ``z``, scale and shift are wanted.

    Returns:
        These; None for what is not asked for.
    """
    if scale is None and any(asked[1:]) and z.device.type != "cpu":
        # CUDA's kernel makes both derivatives like the scale, and ends with an error without one.
        scale = torch.ones_like(mean)
    found: tuple[Tensor | None, ...] = _norm_backward(
        g, z, scale, None, None, mean, r, True, eps, list(asked)
    )
    return found


def sums(v: Tensor, z: Tensor, mean: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel, the sums of ``v r (z - mean)`` and of ``v``."""
    _, products, plain = norm_backward(v, z, None, mean, r, 0.0, (False, True, True))
    assert products is not None
    assert plain is not None
    return products, plain


def sum_products(v: Tensor, g: Tensor) -> Tensor:
    """Per channel, the sum of ``v g``."""
    zeros = g.new_zeros(g.shape[1])
    products, _ = sums(v, g, zeros, torch.ones_like(zeros))
    return products


def by_channel(factor: Tensor) -> Tensor:
    """Lay ``[channels]`` along the channels of maps."""
    return factor.view(-1, 1, 1)


def masked(g: Tensor, y: Tensor | None) -> Tensor:
    """A cotangent where a ReLU gave ``y``; None where there is none."""
    return g if y is None else torch.ops.aten.threshold_backward(g, y, 0)


def dense(z: Tensor) -> Tensor:
    """A layout that the kernels are fast on; channels innermost stay so."""
    return z if z.is_contiguous(memory_format=torch.channels_last) else z.contiguous()


def laid_out_like(g: Tensor, z: Tensor) -> Tensor:
    """Copy a cotangent where it is laid out otherwise than the map; mixed the kernels are slow."""
    if z.is_contiguous(memory_format=torch.channels_last):
        return g.contiguous(memory_format=torch.channels_last)
    return g.contiguous()


def _minus(cotangent: Tensor | None, other: Tensor) -> Tensor:
    return other.neg_() if cotangent is None else cotangent - other
