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

from metabench import Params, share

EPS = 1e-8


@dataclass(frozen=True, slots=True)
class Moments:
    """Adam's second moment, ``[*shape]`` shared or ``[tasks, *shape]``, and the steps behind it."""

    values: Params
    steps: int

    @classmethod
    def zero(cls, weights: Params) -> Moments:
        """Before the first step."""
        return cls({name: torch.zeros_like(weight) for name, weight in weights.items()}, 0)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Moments:
        """Invert :meth:`to_state`."""
        return cls(dict(state["moments"]), state["moment_steps"])

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
    if not decay:
        return gradients
    found = {}
    for name, g in gradients.items():
        used = g.reshape(len(g), -1).any(dim=1).to(g)
        found[name] = g.addcmul(weights[name], used.view(-1, *[1] * (g.dim() - 1)), value=decay)
    return found


def descend(
    weights: Params, gradients: Params, moments: Moments, *, lr: float, beta2: float
) -> tuple[Params, Moments]:
    """Make one step of Adam with beta1 = 0; what has no gradient stays.

    Args:
        weights: ``[tasks, *shape]``.
        gradients: of some of them.
        moments: before the step.
        lr: the rate.
        beta2: decay of the moment.
    """
    steps = moments.steps + 1
    second = {
        n: torch.lerp(moments.values[n], g.square(), 1.0 - beta2) for n, g in gradients.items()
    }
    correction = 1.0 - beta2**steps
    moved = {
        n: torch.addcdiv(weights[n], g, (second[n] / correction).sqrt_().add_(EPS), value=-lr)
        for n, g in gradients.items()
    }
    return weights | moved, Moments(moments.values | second, steps)
