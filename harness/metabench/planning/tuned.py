"""Where tuned values come from: what a plan file and the record of a run say of their tuning."""

from __future__ import annotations

from pydantic import Field

from metabench.text import counted
from metabench.values import Frozen


class Tuned(Frozen):
    """How the values of a run were chosen by ``metabench tune``; not part of its identity."""

    tuning: str = Field(description="Digest of what the tuning was asked for, in `tuning.json`.")
    sampler: str = Field(description="What proposed the values: `grid`, `random` or `tpe`.")
    trials: int = Field(ge=1, description="How many combinations of values were tried.")
    seeds: int = Field(ge=1, description="Runs of each trial, which differ in their seed.")
    parameters: tuple[tuple[str, str], ...] = Field(
        description="What was tried: pairs of a parameter and its values in words."
    )
    metric: str = Field(description="The metric of the choice, on meta-validation.")
    score: float = Field(description="That metric at the chosen values, in the unit of episodes.")
    half_width: float | None = Field(
        description="Of its 95 % interval; null where it cannot be estimated."
    )
    episodes: int = Field(ge=1, description="Episodes of meta-validation that it rests on.")

    @property
    def words(self) -> str:
        """The effort in a few words, for the name of a row."""
        return f"tuned in {counted(self.trials, 'trial')}"

    @property
    def sentence(self) -> str:
        """How the values were chosen, for the caption of a table."""
        each = f" of {self.seeds} seeds" if self.seeds > 1 else ""
        tried = ", ".join(f"{path} of {values}" for path, values in self.parameters)
        return (
            f"{tried or 'nothing'} by {counted(self.trials, f'{self.sampler} trial')}{each} on "
            f"{counted(self.episodes, 'episode')} of meta-validation"
        )
