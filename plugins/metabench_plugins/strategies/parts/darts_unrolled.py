"""The second-order architecture gradient of DARTS (Liu et al., ICLR 2019, equations 6 and 7).

``d/dalpha L_val(w', alpha)`` with ``w' = w - xi * (d/dw L_train(w, alpha) + drift)`` is

    ``d_alpha L_val(w', alpha) - xi * d_alpha < d_w L_train(w, alpha), d_w' L_val(w', alpha) >``.

The second term is an exact product with the mixed Hessian, by differentiating twice; DARTS
approximates it by finite differences.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metabench import Arch, Params, nn

Loss = Callable[[Params, Arch], Tensor]
"""Maps weights and logits to a scalar."""


def architecture_gradient(
    train_loss: Loss,
    val_loss: Loss,
    weights: Params,
    arch: Arch,
    *,
    xi: float,
    drift: Params | None = None,
) -> Arch:
    """Return the gradient of the validation loss after one virtual step, by the logits.

    Args:
        train_loss: loss on the half of the data that trains the weights.
        val_loss: loss on the half that trains the architecture.
        weights: by name; any shape, shared or per task.
        arch: logits by cell.
        xi: size of the virtual step; 0 gives the first-order gradient.
        drift: what the weights' optimizer adds to the gradient, such as its momentum and weight
            decay, as constants; by name, all weights.

    Returns:
        As ``arch``; zeros where neither loss depends on the logits.
    """
    w, alpha = _leaves(weights), _leaves(arch)
    inputs = list(alpha.values())
    with torch.enable_grad():
        if xi == 0:
            return dict(zip(alpha, _gradients(val_loss(w, alpha), inputs), strict=True))
        with nn.differentiated_twice():
            slope = _gradients(train_loss(w, alpha), list(w.values()), create_graph=True)
        ahead = _leaves(
            {
                name: weight - xi * (g if drift is None else g + drift[name])
                for (name, weight), g in zip(w.items(), slope, strict=True)
            }
        )
        found = _gradients(val_loss(ahead, alpha), [*ahead.values(), *inputs])
        by_weights, direct = found[: len(w)], found[len(w) :]
        # A slope without a graph does not depend on anything: its Hessian is zero.
        pairs = [(g, v) for g, v in zip(slope, by_weights, strict=True) if g.requires_grad]
        product = sum((g * v).sum() for g, v in pairs)
        if not isinstance(product, Tensor):
            return dict(zip(alpha, direct, strict=True))
        mixed = _gradients(product, inputs)
    return {c: d - xi * m for c, d, m in zip(alpha, direct, mixed, strict=True)}


def _leaves(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().requires_grad_() for name, value in values.items()}


def _gradients(
    loss: Tensor, inputs: list[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        loss, inputs, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
