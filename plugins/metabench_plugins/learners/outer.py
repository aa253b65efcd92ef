"""The outer optimizer that most learners share: Adam on named weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metabench.protocols import Params


class OuterAdam:
    """Adam (Kingma and Ba 2015) on shared weights, with an optional element-wise clip.

    Args:
        weights: leaves that require gradients; updated in place.
        lr: the outer learning rate.
        clip: bound of each gradient element, ``[-clip, clip]``; None for no bound.
    """

    def __init__(self, weights: Params, *, lr: float, clip: float | None = None) -> None:
        self._weights = list(weights.values())
        self._adam = torch.optim.Adam(self._weights, lr=lr)
        self._clip = clip

    def step(self, loss: Tensor) -> None:
        """Descend the gradient of a scalar loss; a weight it does not use stays."""
        gradients = torch.autograd.grad(loss, self._weights, allow_unused=True)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            if gradient is not None and self._clip is not None:
                gradient = gradient.clamp(-self._clip, self._clip)
            weight.grad = gradient
        self._adam.step()
        self._adam.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The moments and step counts."""
        return {"adam": self._adam.state_dict()["state"]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the moments; rates and bounds come from the parameters."""
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state["adam"], "param_groups": groups})
