"""Convolution, with a second derivative of four convolutions.

``y = w * x + b`` is linear in the filters ``w`` and in the images ``x``. A cotangent ``g`` of ``y``
comes back as

    to x:  w^T * g,    to w:  corr(x, g),    to b:  sum g,                                      (1)

where ``w^T *`` is the transposed convolution, and ``corr`` slides the one along the other. Both are
linear again in all that they read, so that cotangents ``v``, ``v_w`` and ``v_b`` come back as

    to g:  w * v + v_w * x + v_b,    to x:  v_w^T * g,    to w:  corr(v, g).                    (2)

PyTorch's own second derivative makes one call per group: one per channel of a depthwise filter, one
per task where the tasks' filters are groups.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metabench.nn.derivatives import is_differentiated_twice

_backward = torch.ops.aten.convolution_backward.default


class Geometry(NamedTuple):
    """How filters slide, for height and width.

    Attributes:
        stride: step between outputs.
        padding: zeros added on each side.
        dilation: step between the taps of a filter.
        groups: number of blocks of channels that do not mix.
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def convolve(images: Tensor, filters: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Convolve the images of each part with the part's own filters, one call per part.

    Within :func:`differentiated_twice` third derivatives are not defined.

    Args:
        images: ``[parts * n, channels, height, width]``, part by part.
        filters: ``[parts, filters, channels // groups, kernel height, kernel width]``.
        bias: ``[parts, filters]``; None means 0.
        geometry: see :class:`Geometry`.

    Returns:
        ``[parts * n, filters, height, width]``.
    """
    if not is_differentiated_twice():
        return _each(images, filters, bias, geometry)
    y: Tensor = _Convolution.apply(images, filters, bias, geometry)  # type: ignore[no-untyped-call]
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(x, w)
        return _each(x, w, b, geometry)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """Equation 1."""
        inputs = *cotangents, *ctx.saved_tensors, ctx.geometry, ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            return *_Gradient.apply(*inputs), None  # type: ignore[no-untyped-call]
        return *_each_back(*inputs), None


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, w: Tensor, geometry: Geometry, asked: tuple[bool, ...]
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        ctx.geometry = geometry
        ctx.save_for_backward(g, x, w)
        return _each_back(g, x, w, geometry, asked)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Equation 2."""
        v, v_w, v_b = cotangents
        g, x, w = ctx.saved_tensors
        needs_g, needs_x, needs_w = ctx.needs_input_grad[:3]
        to_g, to_x, to_w = None, None, None
        if needs_g:
            if v is not None:
                to_g = _each(v, w, v_b, ctx.geometry)
            if v_w is not None:
                more = _each(x, v_w, v_b if v is None else None, ctx.geometry)
                to_g = more if to_g is None else to_g.add_(more)
            if to_g is None and v_b is not None:
                to_g = v_b.repeat_interleave(len(g) // len(v_b), 0)[..., None, None].expand_as(g)
        if needs_x and v_w is not None:
            to_x, _, _ = _each_back(g, x, v_w, ctx.geometry, (True, False, False))
        if needs_w and v is not None:
            _, to_w, _ = _each_back(g, v, w, ctx.geometry, (False, True, False))
        return to_g, to_x, to_w, None, None


def _each(x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry) -> Tensor:
    """``w * x + b``, part by part."""
    stride, padding, dilation, groups = geometry
    if len(w) == 1:  # no split: its derivative would be a copy
        bias = None if b is None else b[0]
        return torch.conv2d(x, w[0], bias, stride, padding, dilation, groups)
    biases = [None] * len(w) if b is None else b.unbind()
    maps = [
        torch.conv2d(part, own, bias, stride, padding, dilation, groups)
        for part, own, bias in zip(_parts(x, w), w.unbind(), biases, strict=True)
    ]
    return torch.cat(maps)


def _each_back(
    g: Tensor, x: Tensor, w: Tensor, geometry: Geometry, asked: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Equation 1, part by part; None for what is not asked for."""
    stride, padding, dilation, groups = geometry
    sizes = [w.shape[1]] if asked[2] else None
    found = [
        _backward(*part, sizes, stride, padding, dilation, False, (0, 0), groups, asked)
        for part in zip(_parts(g, w), _parts(x, w), w.unbind(), strict=True)
    ]
    if len(found) == 1:
        ((dx, dw, db),) = found
        return dx, None if dw is None else dw[None], None if db is None else db[None]
    dx, dw, db = zip(*found, strict=True)
    return (
        torch.cat(dx) if asked[0] else None,
        torch.stack(dw) if asked[1] else None,
        torch.stack(db) if asked[2] else None,
    )


def _parts(x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    return torch.split(x, len(x) // len(w))
