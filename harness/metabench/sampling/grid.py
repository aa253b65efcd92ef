"""The inputs at which an evaluation asks, instead of an episode's own queries."""

from __future__ import annotations

from pydantic import Field, model_validator

from metabench.values import Frozen


class QueryGrid(Frozen):
    """Equally spaced inputs, both ends included."""

    points: int = Field(ge=2, le=10_000, description="How many.")
    low: float = Field(description="The first.", allow_inf_nan=False)
    high: float = Field(description="The last.", allow_inf_nan=False)

    @model_validator(mode="after")
    def _ascends(self) -> QueryGrid:
        if not self.low < self.high:
            raise ValueError("a grid runs from a lower to a higher end")
        return self
