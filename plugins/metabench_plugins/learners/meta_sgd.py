"""Meta-SGD: MAML with a learned learning rate for every weight (Li et al., 2017).

``w <- w - inner_lr alpha * grad L(w; support)``, element by element. The outer loop learns alpha
with the initial weights; nothing keeps it positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import torch
from pydantic import Field, model_validator

from metabench import Labelled
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts.gradient_learner import Start, leaves
from metabench_plugins.learners.parts.outer_adam import Group


class MetaSgdParams(MamlParams):
    """Parameters of Meta-SGD."""

    inner_lr: float = Field(
        default=1.0, gt=0, le=100, description="Factor of all learned rates, which is not learned."
    )
    inner_steps: int = Field(
        default=1, ge=1, le=100, description="Inner-loop steps per task in meta-training."
    )
    rate_low: float = Field(
        default=0.005, ge=0, le=100, description="Lowest initial value of a learned rate."
    )
    rate_high: float = Field(
        default=0.1,
        ge=0,
        le=100,
        description="Highest initial value of a learned rate; they are drawn uniformly.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.rate_low > self.rate_high:
            raise ValueError("rate_low must not be above rate_high")
        return self


class MetaSgd(Maml):
    """MAML whose inner updates are multiplied by meta-learned rates."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """The start weights, and a rate for each weight that adapts."""
        p = self.params
        (network,) = super().groups(rng)
        drawn = {
            name: torch.empty_like(weight, device="cpu").uniform_(
                p.rate_low, p.rate_high, generator=rng
            )
            for name, weight in network.weights.items()
            if name in self._adapted
        }
        self._rates = leaves(drawn, self.context.device, prefix="rate.")
        return [Group(network.weights | self._rates, p.outer_lr, p.max_norm)]

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """MAML's start, with the rates as factors of the updates."""
        start = super().begin(support, rng=rng, progress=progress)
        rates = {name.removeprefix("rate."): rate[None] for name, rate in self._rates.items()}
        return replace(start, masks=rates)
