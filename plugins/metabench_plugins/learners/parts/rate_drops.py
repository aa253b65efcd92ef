"""A learning rate that falls in steps over meta-training."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator

from metabench import Frozen


class RateDrops(Frozen):
    """The parameter of the steps, for learners to inherit."""

    rate_drops: tuple[tuple[float, float], ...] = Field(
        default=(),
        description="Pairs of a share of meta-training and the factor of outer_lr from there on; "
        "an empty list keeps it constant.",
    )

    @model_validator(mode="after")
    def _drops_in_order(self) -> Self:
        shares = [0.0, *(share for share, _ in self.rate_drops), 1.0]
        if any(share >= later for share, later in pairwise(shares)):
            raise ValueError("the shares of rate_drops must rise between 0 and 1")
        if any(factor <= 0 for _, factor in self.rate_drops):
            raise ValueError("the factors of rate_drops must be above 0")
        return self

    def rate(self, progress: float) -> float:
        """The factor of the last drop that has come.

        >>> RateDrops(rate_drops=((0.5, 0.1), (0.75, 0.01))).rate(0.6)
        0.1
        """
        drops = reversed(self.rate_drops)
        return next((factor for share, factor in drops if progress >= share), 1.0)
