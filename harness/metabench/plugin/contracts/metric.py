"""What a metric computes, and what readers of its scores must know of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from metabench.plugin.contracts.episode import TaskKind
from metabench.values import Frozen, Name

if TYPE_CHECKING:
    from torch import Tensor

Score = Callable[["Tensor", "Tensor"], "Tensor"]
"""Maps outputs ``[tasks, q, outputs]`` and the ``y`` of the query sets to scores ``[tasks]``."""

Better = Literal["larger", "smaller"]
"""Which scores of a metric are the better ones."""


class MetricFacts(Frozen):
    """How scores of a metric are printed and compared: a record keeps it beside its scores.

    A record can therefore be read where the metric is not installed.
    """

    name: Name = Field(description="The metric's name.")
    version: int = Field(
        default=1,
        description="Its version. It rises when the same predictions may get other scores.",
    )
    title: str = Field(description="What it is called in a sentence, such as `accuracy`.")
    better: Better = Field(description="Whether larger or smaller scores are better.")
    percent: bool = Field(
        default=False,
        description="Whether scores, which are shares in [0, 1], are printed in percent.",
    )
    kinds: tuple[TaskKind, ...] = Field(
        default=("classification", "regression"), description="The kinds of task that it scores."
    )

    @property
    def unit(self) -> str:
        """What scores are printed in: ``%``, or the name of the metric."""
        return "%" if self.percent else self.name

    @property
    def scale(self) -> float:
        """What scores are multiplied by for that."""
        return 100.0 if self.percent else 1.0

    @property
    def sign(self) -> float:
        """What scores are multiplied by so that larger ones are better."""
        return 1.0 if self.better == "larger" else -1.0

    @property
    def words(self) -> str:
        """The metric with its unit: ``accuracy in %``, ``mean squared error (mse)``."""
        return f"{self.title} in %" if self.percent else f"{self.title} ({self.name})"

    @property
    def direction(self) -> str:
        """``more is better`` or ``less is better``."""
        return f"{'more' if self.better == 'larger' else 'less'} is better"
