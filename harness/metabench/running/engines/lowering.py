"""Operators that Inductor does not take as they are, written in simpler ones.

``_fused_adam_`` and ``_fused_sgd_`` are one pass over memory on a CPU, but the compiler stops at
their empty lists. In simple operators it makes them one pass of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten


def lower(graph: fx.Graph) -> None:
    """Rewrite a graph in place."""
    for node in list(graph.nodes):
        rewrite = _REWRITES.get(node.target)
        if rewrite is not None:
            with graph.inserting_before(node):
                rewrite(graph, *node.args, **node.kwargs)
            graph.erase_node(node)


def _adam(
    graph: fx.Graph,
    weights: Sequence[fx.Node],
    gradients: Sequence[fx.Node],
    moments: Sequence[fx.Node],
    squares: Sequence[fx.Node],
    _: Sequence[fx.Node],
    steps: Sequence[fx.Node],
    *,
    lr: float | fx.Node,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    **others: Any,
) -> None:
    """Adam; bias corrections in float64, as the fused operator has them."""
    _check_unused("Adam", others)
    call = graph.call_function
    for w, g, m, v, t in zip(weights, gradients, moments, squares, steps, strict=True):
        if weight_decay:
            g = call(aten.add.Tensor, (g, w), {"alpha": weight_decay})
        call(aten.lerp_.Scalar, (m, g, 1.0 - beta1))
        call(aten.mul_.Tensor, (v, beta2))
        call(aten.addcmul_.default, (v, g, g), {"value": 1.0 - beta2})
        count = call(aten._to_copy.default, (t,), {"dtype": torch.float64})
        first, second = (
            call(aten.rsub.Scalar, (call(aten.pow.Scalar, (beta, count)), 1.0))
            for beta in (beta1, beta2)
        )
        size = call(aten.mul.Tensor, (call(aten.reciprocal.default, (first,)), lr))
        roots = [call(aten.sqrt.default, (square,)) for square in (v, second)]
        divisor = call(aten.add.Tensor, (call(aten.div.Tensor, tuple(roots)), eps))
        step = call(aten.div.Tensor, (m, divisor))
        call(aten.sub_.Tensor, (w, call(aten.mul.Tensor, (step, size))))


def _sgd(
    graph: fx.Graph,
    weights: Sequence[fx.Node],
    gradients: Sequence[fx.Node],
    buffers: Sequence[fx.Node],
    *,
    lr: float | fx.Node,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
    **others: Any,
) -> None:
    """SGD whose buffers are 0 before the first step."""
    _check_unused("SGD", others)
    call = graph.call_function
    for index, (w, g) in enumerate(zip(weights, gradients, strict=True)):
        if weight_decay:
            g = call(aten.add.Tensor, (g, w), {"alpha": weight_decay})
        if momentum:
            b = buffers[index]
            call(aten.mul_.Tensor, (b, momentum))
            call(aten.add_.Tensor, (b, g))
            g = call(aten.add.Tensor, (g, b), {"alpha": momentum}) if nesterov else b
        call(aten.sub_.Tensor, (w, call(aten.mul.Tensor, (g, lr))))


def _check_unused(name: str, options: Mapping[str, Any]) -> None:
    """Raise where an option is on that is not written out here, such as ``maximize``."""
    used = sorted(option for option, value in options.items() if value)
    if used:
        raise NotImplementedError(f"fused {name} with {', '.join(used)}")


_REWRITES: dict[Any, Callable[..., None]] = {
    aten._fused_adam_.default: _adam,
    aten._fused_adam_.tensor_lr: _adam,
    aten._fused_sgd_.default: _sgd,
    aten._fused_sgd_.tensor_lr: _sgd,
}
