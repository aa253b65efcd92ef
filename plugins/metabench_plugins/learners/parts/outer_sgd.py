"""The outer optimizer of MetaOptNet and TADAM: SGD with momentum."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from metabench_plugins.learners.parts.outer_adam import Group, OuterOptimizer, has_fused


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

    def make(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Make SGD with each group's rate and weight decay."""
        return torch.optim.SGD(
            [
                {
                    "params": list(group.weights.values()),
                    "lr": group.lr,
                    "weight_decay": group.decay,
                }
                for group in groups
            ],
            momentum=self._momentum,
            nesterov=self._nesterov,
            fused=has_fused(groups),
        )
