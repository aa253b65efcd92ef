"""The outer optimizer of most learners: Adam on groups of named weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metabench import Params


@dataclass(frozen=True, slots=True)
class Group:
    """Weights that share an outer learning rate.

    Attributes:
        weights: leaves that require gradients; updated in place.
        lr: their outer learning rate.
        max_norm: bound of the norm of the group's gradient; None for no bound.
        beta1: decay of Adam's first moment.
        decay: factor of the weights that joins their gradient.
    """

    weights: Params
    lr: float
    max_norm: float | None = None
    beta1: float = 0.9
    decay: float = 0.0


class OuterAdam:
    """Adam (Kingma and Ba 2015), with an optional element-wise clip.

    Args:
        groups: names must differ between groups.
        clip: bound of each gradient element, ``[-clip, clip]``; None for no bound.
    """

    def __init__(self, groups: Sequence[Group], *, clip: float | None = None) -> None:
        self._groups = [(list(group.weights.values()), group.max_norm) for group in groups]
        self._rates = [group.lr for group in groups]
        self.weights: Params = {}
        for group in groups:
            self.weights.update(group.weights)
        self._adam = torch.optim.Adam(
            [
                {
                    "params": list(group.weights.values()),
                    "lr": group.lr,
                    "betas": (group.beta1, 0.999),
                    "weight_decay": group.decay,
                }
                for group in groups
            ],
            # One pass over memory; other devices may not have it.
            fused=all(w.device.type in ("cpu", "cuda") for w in self.weights.values()),
        )
        self._clip = clip

    def step(self, loss: Tensor, *, rate: float = 1.0) -> None:
        """Descend the gradient of a scalar loss; a weight it does not use stays.

        Args:
            loss: a scalar with its graph.
            rate: factor of the learning rates, for a schedule.
        """
        leaves = list(self.weights.values())
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        for weight, gradient in zip(leaves, gradients, strict=True):
            if gradient is not None and self._clip is not None:
                gradient = gradient.clamp(-self._clip, self._clip)
            weight.grad = gradient
        for weights, max_norm in self._groups:
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(weights, max_norm)
        for group, lr in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * lr
        self._adam.step()
        self._adam.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Weights, moments and step counts."""
        return {"weights": dict(self.weights), "adam": self._adam.state_dict()["state"]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments; rates and bounds come from the parameters."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        groups = self._adam.state_dict()["param_groups"]
        # Adam keeps the tensors it is given; a copy leaves the state to its owner.
        moments = copy.deepcopy(state["adam"])
        self._adam.load_state_dict({"state": moments, "param_groups": groups})
