"""The inner optimizer of Reptile: Adam with beta1 = 0, whose second moment is never reset.

``v <- beta2 v + (1 - beta2) g^2``, ``w <- w - lr g / (sqrt(v / (1 - beta2^t)) + 1e-8)`` (Kingma and
Ba 2015). Everything has a task axis; between tasks the moment travels without one.

MetaNAS adds weight decay as L2: ``g`` is the gradient of the loss plus ``decay w``, also in ``v``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metabench import Params, share
from metabench_plugins.learners.parts.updates import descend_adam


@dataclass(frozen=True, slots=True)
class Moments:
    """Adam's second moment, ``[*shape]`` shared or ``[tasks, *shape]``, and the steps behind it.

    The count of steps is a scalar tensor beside them, so that a step can be captured.
    """

    values: Params
    steps: Tensor

    @classmethod
    def zero(cls, weights: Params) -> Moments:
        """Before the first step."""
        values = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        return cls(values, _count(0, values))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Moments:
        """Invert :meth:`to_state`."""
        values = dict(state["moments"])
        return cls(values, _count(state["moment_steps"], values))

    def to_state(self) -> dict[str, Any]:
        """As part of a learner's state."""
        return {"moments": self.values, "moment_steps": self.steps}

    def share(self, n_tasks: int) -> Moments:
        """Give every task the same moment."""
        return Moments(share(self.values, n_tasks), self.steps)

    def mean(self) -> Moments:
        """The mean of the tasks' moments: what is carried on."""
        return Moments({name: value.mean(dim=0) for name, value in self.values.items()}, self.steps)


def decayed(gradients: Params, weights: Params, *, decay: float) -> Params:
    """The gradients of a loss with L2: ``g + decay w``.

    A tensor whose gradient is 0 throughout, such as that of an operation that a task leaves out,
    does not decay in this task: PyTorch's optimizers do not move what has no gradient either.

    Args:
        gradients: of some of the weights, ``[tasks, *shape]``.
        weights: as they are, with the same axes.
        decay: the factor; 0 changes nothing.
    """
    if not decay or not gradients:
        return gradients
    used = torch.stack([g.reshape(len(g), -1).any(dim=1) for g in gradients.values()])
    factors = used.to(next(iter(gradients.values()))) * decay
    return {
        name: g.addcmul(weights[name], factor.view(-1, *[1] * (g.dim() - 1)))
        for (name, g), factor in zip(gradients.items(), factors, strict=True)
    }


def descend(
    weights: Params, gradients: Params, moments: Moments, *, lr: float, beta2: float
) -> tuple[Params, Moments]:
    """Make one step of Adam with beta1 = 0; what has no gradient stays.

    Args:
        weights: ``[tasks, *shape]``.
        gradients: of some of them, at least one.
        moments: before the step.
        lr: the rate.
        beta2: decay of the moment.
    """
    names, steps = list(gradients), moments.steps + 1.0
    found = [gradients[name].contiguous() for name in names]
    moved = _copies([weights[name] for name in names])
    second = _copies([moments.values[name] for name in names])
    # With beta1 = 0 the gradient is its own first moment.
    descend_adam(
        moved, found, found, second, [steps] * len(names), lr=lr, beta1=0.0, beta2=beta2, decay=0.0
    )
    later = moments.values | dict(zip(names, second, strict=True))
    return weights | dict(zip(names, moved, strict=True)), Moments(later, steps)


def descend_plainly(weights: Params, gradients: Params, *, lr: float) -> Params:
    """Make one step of gradient descent; what has no gradient stays.

    Args:
        weights: ``[tasks, *shape]``.
        gradients: of some of them.
        lr: the rate.
    """
    before = [weights[name] for name in gradients]
    moved = torch._foreach_add(before, list(gradients.values()), alpha=-lr)
    return weights | dict(zip(gradients, moved, strict=True))


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    """Copies in the order of memory, on CUDA in one kernel."""
    return [copy.contiguous() for copy in torch._foreach_mul(tensors, 1.0)]


def _count(steps: float | Tensor, beside: Params) -> Tensor:
    like = next(iter(beside.values()), torch.empty(0))
    return torch.as_tensor(steps, dtype=torch.float32, device=like.device)
