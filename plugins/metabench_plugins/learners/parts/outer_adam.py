"""The outer optimizer of most learners: Adam on groups of named weights, and what others share."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from metabench import Params
from metabench_plugins.learners.parts.runaway_guard import RunawayGuard


@dataclass(frozen=True, slots=True)
class Group:
    """Weights that share an outer learning rate.

    Attributes:
        weights: leaves that require gradients; updated in place.
        lr: their outer learning rate.
        max_norm: bound of the norm of the group's gradient; None for no bound.
        beta1: decay of Adam's first moment.
        decay: factor of the weights that joins their gradient.
        clipped: whether the bound of the elements holds for their gradient.
    """

    weights: Params
    lr: float
    max_norm: float | None = None
    beta1: float = 0.9
    decay: float = 0.0
    clipped: bool = True


class OuterOptimizer(ABC):
    """An optimizer with a guard against runaway tasks and bounds of the gradient.

    Args:
        groups: names must differ between groups.
        clip: bound of each gradient element of the groups that are clipped, ``[-clip, clip]``;
            None for no bound.
        skip_above: see :class:`RunawayGuard`.
    """

    key: ClassVar[str]
    """What its state is called in checkpoints."""

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        clip: float | None = None,
        skip_above: float | None = None,
    ) -> None:
        self._groups = [(list(group.weights.values()), group.max_norm) for group in groups]
        self._rates = [group.lr for group in groups]
        self.weights: Params = {}
        for group in groups:
            self.weights.update(group.weights)
        self._optimizer = self.make(groups)
        self._clip = clip
        self._free = {name for group in groups if not group.clipped for name in group.weights}
        (like, *_) = self.weights.values()
        self._guard = RunawayGuard(skip_above, like.device)

    @abstractmethod
    def make(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Make the optimizer, with a parameter group for each group."""

    def step(self, loss: Tensor, *, rate: float = 1.0) -> Tensor:
        """Descend the gradient of a scalar loss; a weight it does not use stays.

        Args:
            loss: a scalar with its graph.
            rate: factor of the learning rates, for a schedule.

        Returns:
            Whether the guard skipped the step, as a scalar 0 or 1.
        """
        leaves = list(self.weights.values())
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        return self.apply(gradients, rate=rate).to(loss.dtype)

    def apply(self, gradients: Sequence[Tensor | None], *, rate: float = 1.0) -> Tensor:
        """Descend gradients that are known.

        In a step that the guard skips, the gradient counts as 0: the weights move by what is left
        of the optimizer's moments, which decay.

        Args:
            gradients: of :attr:`weights`, in their order; None for a weight that stays.
            rate: factor of the learning rates, for a schedule.

        Returns:
            Whether the guard skipped the step, as a boolean scalar.
        """
        skipped = self._guard.skips([g for g in gradients if g is not None])
        for (name, weight), gradient in zip(self.weights.items(), gradients, strict=True):
            if gradient is not None:
                gradient = gradient.masked_fill(skipped, 0.0)
                if self._clip is not None and name not in self._free:
                    gradient = gradient.clamp(-self._clip, self._clip)
            weight.grad = gradient
        for weights, max_norm in self._groups:
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(weights, max_norm)
        for group, lr in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * lr
        self._optimizer.step()
        self._optimizer.zero_grad()
        return skipped

    def state_dict(self) -> dict[str, Any]:
        """Weights, moments and step counts, and what the guard knows."""
        return {
            "weights": dict(self.weights),
            self.key: self._optimizer.state_dict()["state"],
            "guard": self._guard.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave; rates and bounds come from the parameters."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        groups = self._optimizer.state_dict()["param_groups"]
        # It keeps the tensors it is given; a copy leaves the state to its owner.
        moments = copy.deepcopy(state[self.key])
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self._guard.load_state_dict(state["guard"])


class OuterAdam(OuterOptimizer):
    """Adam (Kingma and Ba 2015)."""

    key = "adam"

    def make(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Make Adam with each group's rate, first decay and weight decay."""
        return torch.optim.Adam(
            [
                {
                    "params": list(group.weights.values()),
                    "lr": group.lr,
                    "betas": (group.beta1, 0.999),
                    "weight_decay": group.decay,
                }
                for group in groups
            ],
            fused=has_fused(groups),
        )


def has_fused(groups: Sequence[Group]) -> bool:
    """Whether the device has optimizers that make one pass over memory; others may not."""
    return all(w.device.type in ("cpu", "cuda") for g in groups for w in g.weights.values())
