"""The query inputs of an evaluation that replace an episode's own queries."""

from __future__ import annotations

from pydantic import Field, model_validator

from metabench.values import Frozen


class QueryGrid(Frozen):
    """Equally spaced inputs, both ends included."""

    points: int = Field(ge=2, le=10_000, description="Number of points.")
    low: float = Field(description="The first point.", allow_inf_nan=False)
    high: float = Field(description="The last point.", allow_inf_nan=False)

    @model_validator(mode="after")
    def _ascends(self) -> QueryGrid:
        if not self.low < self.high:
            raise ValueError("a grid must go from a lower to a higher point")
        return self
