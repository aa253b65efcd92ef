"""A whole batch-norm perceptron as one function, with derivatives in closed form.

For one task, from the inputs ``a_0`` through hidden layers ``l = 1..L`` to the outputs ``o``:

    z_l = a_(l-1) W_l,    a_l = relu(scale_l norm(z_l) + shift_l),    o = a_L W + b.            (1)

A hidden layer has no bias: the norm would take it away. Cotangents ``g`` of ``o``, ``f_l`` of
``a_l`` and ``h_l`` of ``z_l`` come back downwards from ``d_(L+1) = g`` and ``W_(L+1) = W``:

    e_l = d_(l+1) W_(l+1)^T + f_l,    d_l = (e_l through the norm) + h_l,
    to W_l:  a_(l-1)^T d_l,    to b:  sum g.                                                    (2)

The cotangents ``V_l`` of the gradients of ``W_l`` come back upwards. With ``v_l`` for ``d_l`` and
``w_l`` for ``e_l``,

    v_l = a_(l-1) V_l + w_(l-1) W_l,    w_l = (v_l through the norm's gradient),
    to W_l:  w_(l-1)^T d_l,    to a_(l-1):  d_l V_l^T,    to g:  v_(L+1) + v_b,                 (3)

and through the norm's gradient on to ``z_l`` and ``scale_l``. The norm's own derivatives are those
of :mod:`metabench.nn.norm`. ``a_l`` and ``z_l`` are outputs too, so that what equation 3
sends to them goes down in one pass of equation 2 together with what reaches ``o``.

One step of an inner loop is thus two calls, and two more in the outer backward pass. Layer by layer
autograd would make over a hundred, each of which costs more than a product of small matrices.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metabench.nn.layers import batch_norm, linear
from metabench.nn.norm import Pullback, affine, normalize, pull_back, pull_back_again
from metabench.nn.products import are_in_bf16
from metabench.nn.statistics import first_examples


class Layer(NamedTuple):
    """Weights of one hidden layer.

    Attributes:
        weight: ``[tasks, inputs, units]``.
        shift: ``[tasks, units]``.
        scale: ``[tasks, units]``.
    """

    weight: Tensor
    shift: Tensor
    scale: Tensor


def norm_mlp(
    x: Tensor, layers: Sequence[Layer], weight: Tensor, bias: Tensor, *, eps: float
) -> Tensor:
    """Apply hidden layers of linear, batch norm and ReLU, then a linear layer.

    Third derivatives are not defined. The statistics are those of :func:`metabench.nn.batch_norm`.

    Args:
        x: ``[tasks, n, inputs]``.
        layers: hidden layers, from below.
        weight: of the linear layer, ``[tasks, units, outputs]``.
        bias: of the linear layer, ``[tasks, outputs]``.
        eps: added to the variance.

    Returns:
        ``[tasks, n, outputs]``.
    """
    if are_in_bf16() or first_examples() is not None:
        # Only products are in bfloat16, and only norms tell examples apart: the layers are too.
        for layer in layers:
            x = batch_norm(linear(x, layer.weight), layer.scale, layer.shift, eps=eps, relu=True)
        return linear(x, weight, bias)
    hidden = [tensor for layer in layers for tensor in layer]
    out: Tensor = _Mlp.apply(eps, x, *hidden, weight, bias)[0]  # type: ignore[no-untyped-call]
    return out


class _Saved(NamedTuple):
    """What the derivatives need of equation 1, from below.

    Attributes:
        a: ``a_0`` to ``a_L``.
        weights: ``W_1`` to ``W_(L+1)``.
        z: ``z_1`` to ``z_L``; only so that autograd knows of them.
        u: ``z`` normalized.
        r: what normalized it.
        scales: ``scale_1`` to ``scale_L``.
    """

    a: Sequence[Tensor]
    weights: Sequence[Tensor]
    z: Sequence[Tensor]
    u: Sequence[Tensor]
    r: Sequence[Tensor]
    scales: Sequence[Tensor]

    @classmethod
    def split(cls, tensors: Sequence[Tensor], depth: int) -> _Saved:
        ends = itertools.accumulate([depth + 1] * 2 + [depth] * 4, initial=0)
        return cls(*(tensors[start:end] for start, end in itertools.pairwise(ends)))


class _Mlp(torch.autograd.Function):
    """Equation 1; the weights are ``W_1, shift_1, scale_1, W_2, ..., W, b``."""

    @staticmethod
    def forward(ctx: Any, eps: float, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        matrices, shifts, scales = weights[::3], weights[1::3], weights[2::3]
        a: list[Tensor] = [x]
        z, u, r = [], [], []
        for layer, scale in enumerate(scales):
            z.append(_product(a[-1], matrices[layer]))
            unit, rate = normalize(z[-1], eps)
            a.append(affine(unit, scale, shifts[layer], relu=True))
            u.append(unit)
            r.append(rate)
        ctx.depth = len(scales)
        ctx.save_for_backward(*a, *matrices, *z, *u, *r, *scales)
        out = _product(a[-1], matrices[-1]).add_(shifts[-1].unsqueeze(1))
        return out, *a[1:], *z

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        gradients = _Gradient.apply(  # type: ignore[no-untyped-call]
            ctx.depth, ctx.needs_input_grad[1], *cotangents, *ctx.saved_tensors
        )
        return None, *gradients


class _Gradient(torch.autograd.Function):
    """Equation 2, for ``x`` and the weights in the order of :class:`_Mlp`."""

    @staticmethod
    def forward(ctx: Any, depth: int, needs_x: bool, *tensors: Any) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        g, f, h = tensors[0], tensors[1 : depth + 1], tensors[depth + 1 : 2 * depth + 1]
        inputs = tensors[2 * depth + 1 :]
        a, weights, _, u, r, scales = _Saved.split(inputs, depth)
        if g is None:
            g = a[-1].new_zeros(*a[-1].shape[:2], weights[-1].shape[2])

        d, gradients = g, [_product(a[-1].mT, g), g.sum(1)]
        passed: list[Tensor] = []
        for layer in reversed(range(depth)):
            e = _product(d, weights[layer + 1].mT)
            if f[layer] is not None:
                e.add_(f[layer])
            first = pull_back(e, u[layer], r[layer], a[layer + 1], scales[layer])
            d = first.to_z if h[layer] is None else first.to_z.add_(h[layer])
            to_weight = _product(a[layer].mT, d)
            gradients[:0] = to_weight, first.to_shift.squeeze(1), first.to_scale.squeeze(1)
            passed[:0] = first
        ctx.depth = depth
        ctx.save_for_backward(g, *inputs, *passed)
        return _product(d, weights[0].mT) if needs_x else None, *gradients

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Equation 3."""
        depth, (g, *saved) = ctx.depth, ctx.saved_tensors
        a, weights, _, u, r, scales = _Saved.split(saved, depth)
        w, *v = cotangents
        linears: list[_Up] = []
        norms: list[_Up] = []
        for layer in range(depth):
            start = 6 * depth + 2 + 5 * layer
            first = Pullback(*saved[start : start + 5])
            linears.append(_up_linear(w, v[3 * layer], a[layer], weights[layer], first.to_z))
            from_below = linears[-1].onwards
            v_shift, v_scale = v[3 * layer + 1 : 3 * layer + 3]
            if from_below is v_shift is v_scale is None:
                w = None
                norms.append(_Up(None, None, None))
                continue
            second = pull_back_again(
                _or_zeros(from_below, first.g),
                _or_zeros(v_shift, scales[layer]),
                _or_zeros(v_scale, scales[layer]),
                first=first,
                u=u[layer],
                r=r[layer],
                y=a[layer + 1],
            )
            w = second.to_g
            norms.append(_Up(*second))
        v_weight, v_bias = v[-2:]
        linears.append(_up_linear(w, v_weight, a[-1], weights[-1], g))
        to_g = linears[-1].onwards
        if v_bias is not None:
            to_g = _or_zeros(to_g, g) + v_bias.unsqueeze(1)
        # These are asked for by third derivatives alone, which are then refused.
        to_f_and_h = (up.onwards for up in (*norms, *linears[:-1]))
        asked = ctx.needs_input_grad[3 : 3 + 2 * depth]
        return (
            *(None, None, to_g),
            *(c if needed else None for c, needed in zip(to_f_and_h, asked, strict=True)),
            *(up.to_input for up in linears),
            *(up.to_weight for up in linears),
            *(up.to_input for up in norms),
            *[None] * 2 * depth,
            *(up.to_weight for up in norms),
        )


class _Up(NamedTuple):
    """Equation 3 for one linear map or norm: onwards to the next, and what leaves the path."""

    onwards: Tensor | None
    to_input: Tensor | None
    to_weight: Tensor | None


def _up_linear(w: Tensor | None, v: Tensor | None, a: Tensor, weight: Tensor, d: Tensor) -> _Up:
    """Pass ``w`` of ``d W^T`` and ``v`` of ``a^T d`` up to ``d``, ``a`` and ``W``."""
    from_gradient = None if v is None else _product(a, v)
    to_input = None if v is None else _product(d, v.mT)
    if w is None:
        return _Up(from_gradient, to_input, None)
    to_weight = _product(w.mT, d)
    if from_gradient is None:
        return _Up(_product(w, weight), to_input, to_weight)
    return _Up(from_gradient.baddbmm_(w, weight), to_input, to_weight)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices; with a vector, as with one input or output, ``bmm`` as such is slow."""
    if left.shape[2] == 1:
        return left * right
    if right.shape[2] == 1:
        return torch.bmm(right.mT, left.mT).mT
    return torch.bmm(left, right)


def _or_zeros(cotangent: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if cotangent is None else cotangent
