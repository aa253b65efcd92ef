"""The updates of Adam and of SGD with momentum, on lists of weights, in few kernels.

Everything that changes from step to step is a tensor on the device of the weights, and nothing is
read from it: a step can be captured and played again. `torch.optim` is not used. Its first
optimizer imports the compiler of PyTorch, which takes longer than a short run.

With gradient ``g <- g + decay w``, and ``t`` steps of a weight:

- Adam (Kingma and Ba 2015): ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``,
  ``w <- w - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + 1e-8)``;
- SGD: ``b <- momentum b + g``, ``w <- w - lr b``, or with Nesterov's momentum (Sutskever et al.
  2013) ``w <- w - lr (g + momentum b)``. Before the first step ``b`` is 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPS = 1e-8
"""Adam's epsilon."""


@torch.no_grad()
def descend_adam(
    weights: list[Tensor],
    gradients: list[Tensor],
    moments: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    *,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    decay: float,
) -> None:
    """Make one step of Adam, in place.

    Args:
        weights: not empty.
        gradients: of each of them; left as they are.
        moments: the first moment of each; the gradients themselves where ``beta1`` is 0.
        squares: the second moment of each.
        steps: how many steps each has made, this one included; scalars.
        lr: the learning rate; a scalar tensor if it changes within a captured step.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        decay: factor of the weights that joins their gradient.
    """
    if has_fused([*weights, *gradients, *moments, *squares], lr):
        torch._fused_adam_(
            weights,
            gradients,
            moments,
            squares,
            [],
            steps,
            lr=_for_fused(lr),
            beta1=beta1,
            beta2=beta2,
            weight_decay=decay,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )
        return
    if decay:
        gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
    torch._foreach_lerp_(moments, gradients, 1.0 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - beta2)
    counts = torch.stack(steps).to(weights[0].dtype)
    size = lr / bias_correction(beta1, counts)
    # m / (root(v) / root(c2) + eps) * size, with a scalar for each weight.
    divisors = torch._foreach_sqrt(squares)
    torch._foreach_div_(divisors, list(bias_correction(beta2, counts).sqrt().unbind()))
    torch._foreach_add_(divisors, EPS)
    torch._foreach_div_(divisors, list(size.unbind()))
    torch._foreach_addcdiv_(weights, moments, divisors, -1.0)


@torch.no_grad()
def descend_sgd(
    weights: list[Tensor],
    gradients: list[Tensor],
    buffers: list[Tensor],
    *,
    lr: float | Tensor,
    momentum: float,
    nesterov: bool,
    decay: float,
) -> None:
    """Make one step of SGD, in place.

    Args:
        weights: not empty.
        gradients: of each of them; left as they are.
        buffers: the sum of past gradients of each; none where ``momentum`` is 0.
        lr: the learning rate; a scalar tensor if it changes within a captured step.
        momentum: decay of the sum of past gradients.
        nesterov: whether the momentum is Nesterov's.
        decay: factor of the weights that joins their gradient.
    """
    if has_fused([*weights, *gradients, *buffers], lr):
        torch._fused_sgd_(
            weights,
            gradients,
            buffers,
            weight_decay=decay,
            momentum=momentum,
            lr=_for_fused(lr),
            dampening=0.0,
            nesterov=nesterov,
            maximize=False,
            is_first_step=False,
        )
        return
    if decay:
        gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
    if momentum:
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        if nesterov:
            gradients = list(torch._foreach_add(gradients, buffers, alpha=momentum))
        else:
            gradients = buffers
    if isinstance(lr, Tensor):
        torch._foreach_sub_(weights, torch._foreach_mul(gradients, lr))
    else:
        torch._foreach_add_(weights, gradients, alpha=-lr)


def bias_correction(beta: float, steps: Tensor) -> Tensor:
    """``1 - beta^t`` for step counts ``t`` in floating point, exact to rounding.

    As ``-expm1(t log(beta))`` it keeps its digits in float32, where ``1 - beta**t`` loses three of
    seven for ``beta = 0.999``.
    """
    return -torch.expm1(steps * (math.log(beta) if beta else -math.inf))


def has_fused(tensors: list[Tensor], lr: float | Tensor) -> bool:
    """Whether PyTorch has an update of these tensors that makes one pass over memory.

    It has on a CPU, if the rate is a number, and on CUDA. It reads memory in order, whatever the
    strides say.
    """
    device = tensors[0].device.type
    if device != "cuda" and (device != "cpu" or isinstance(lr, Tensor)):
        return False
    return all(tensor.is_contiguous() for tensor in tensors)


def _for_fused(lr: float | Tensor) -> float | Tensor:
    return lr.float() if isinstance(lr, Tensor) else lr
