"""The outer optimizer of MetaOptNet and TADAM: SGD with momentum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metabench_plugins.learners.parts.outer_adam import Group, OuterOptimizer
from metabench_plugins.learners.parts.updates import descend_sgd


class OuterSgd(OuterOptimizer):
    """SGD with momentum and weight decay.

    Args:
        groups: see :class:`OuterOptimizer`.
        momentum: decay of the sum of past gradients.
        nesterov: whether the momentum is Nesterov's (Sutskever et al. 2013).
        skip_above: see :class:`OuterOptimizer`.
    """

    key = "sgd"

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        momentum: float,
        nesterov: bool = True,
        skip_above: float | None = None,
    ) -> None:
        self._momentum = momentum
        self._nesterov = nesterov and momentum > 0
        super().__init__(groups, skip_above=skip_above)

    def begin(self, weight: Tensor) -> dict[str, Tensor]:
        """Make the sum of past gradients, which is 0."""
        return {"momentum_buffer": torch.zeros_like(weight)} if self._momentum else {}

    def descend(
        self,
        group: Group,
        weights: list[Tensor],
        gradients: list[Tensor],
        moments: list[dict[str, Tensor]],
        *,
        lr: float | Tensor,
    ) -> None:
        """Make a step with the group's weight decay."""
        descend_sgd(
            weights,
            gradients,
            [moment["momentum_buffer"] for moment in moments if moment],
            lr=lr,
            momentum=self._momentum,
            nesterov=self._nesterov,
            decay=group.decay,
        )
