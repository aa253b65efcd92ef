"""The record of a tuning, ``tuning.json``: every trial, what it scored, and what was chosen.

A tuning folder holds it, the runs of the trials below ``trials/``, and a plan file of each study
below ``chosen/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from metabench.data.plain_files import MAX_ROWS, read_plain
from metabench.errors import DataError, UsageError
from metabench.planning.tuned import Tuned
from metabench.planning.tuning import TuningPlan
from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.schema import Provenance
from metabench.results.store import replace_text
from metabench.values import Frozen

SCHEMA = 1
"""Raised when a reader of older records would misread newer ones."""
FILE = "tuning.json"
TRIALS = "trials"
CHOSEN = "chosen"

TrialStatus = Literal["unjudged", "failed", "done"]


class Trial(Frozen):
    """A combination of values, and how it was judged."""

    number: int = Field(ge=1, description="Its place among the trials of the study.")
    values: dict[str, Any] = Field(description="The values, by parameter.")
    status: TrialStatus = Field(
        default="unjudged",
        description="`unjudged` until all its runs are judged, whether they are begun or not; "
        "`failed` where one of them failed.",
    )
    error: str = Field(default="", description="Why it failed, in a sentence.")
    runs: tuple[str, ...] = Field(default=(), description="Ids of its runs, one for each seed.")
    score: float | None = Field(
        default=None,
        description="The metric on meta-validation, averaged over seeds and sources, in the unit "
        "of episodes.",
    )
    half_width: float | None = Field(
        default=None,
        description="Of its 95 % interval, as tables compute it: over seeds where there are "
        "several, else over episodes. Null where it cannot be estimated.",
    )
    by_seed: tuple[float, ...] = Field(default=(), description="The score of each run.")
    tied: bool = Field(
        default=False,
        description="Whether the 95 % interval of its paired difference from the chosen trial "
        "contains 0.",
    )


class StudyRecord(Frozen):
    """The trials of one learner in one setting of a suite."""

    name: str = Field(description="SUITE@SETTING@LEARNER.")
    suite: str = Field(description="Name of the suite.")
    suite_version: int = Field(description="Version of the suite.")
    setting: str = Field(description="Name of the setting.")
    budget: str = Field(description="Name of the budget.")
    learner: str = Field(description="Name of the learner.")
    metric: MetricFacts = Field(description="The metric of the scores.")
    episodes: int = Field(description="Episodes of meta-validation on which a run is judged.")
    seeds: tuple[int, ...] = Field(description="Seeds of each trial.")
    parameters: dict[str, str] = Field(description="What is tried, by parameter, in words.")
    trials: tuple[Trial, ...] = Field(default=(), description="In the order of their numbers.")
    chosen: int | None = Field(
        default=None, description="Number of the trial with the best score; null before any."
    )
    plan: str = Field(
        default="", description="The plan file that runs the chosen values, in the folder."
    )

    def trial(self, number: int) -> Trial:
        """The trial of a number."""
        return self.trials[number - 1]

    @property
    def best(self) -> Trial | None:
        """The chosen trial."""
        return None if self.chosen is None else self.trial(self.chosen)

    @property
    def ended(self) -> list[Trial]:
        """The trials that are judged, or failed."""
        return [trial for trial in self.trials if trial.status != "unjudged"]


class TuningRecord(Frozen):
    """The content of ``tuning.json``."""

    schema_number: int = Field(default=SCHEMA, description="Version of this format.")
    digest: str = Field(description="Of `plan`, without the number of trials.")
    plan: TuningPlan = Field(description="What was asked for.")
    sampler: str = Field(description="What proposed the values: `grid`, `random` or `tpe`.")
    optuna: str = Field(default="", description="Version of Optuna, of `tpe`.")
    provenance: Provenance = Field(description="How it was made, when it was begun.")
    studies: tuple[StudyRecord, ...] = Field(description="In the order of suites and learners.")

    def tuned(self, study: StudyRecord) -> Tuned | None:
        """What the plan of a study, and the records of its runs, say of the tuning.

        None where the study had nothing to tune, or chose nothing.
        """
        best = study.best
        if best is None or best.score is None or not study.parameters:
            return None
        return Tuned(
            tuning=self.digest,
            sampler=self.sampler,
            trials=len(study.ended),
            seeds=len(study.seeds),
            parameters=tuple(study.parameters.items()),
            metric=study.metric.name,
            score=best.score,
            half_width=best.half_width,
            episodes=study.episodes,
        )


def read_tuning(folder: Path) -> TuningRecord | None:
    """Read the record of the tuning in a folder; None where there is none.

    Raises:
        DataError: when it cannot be read.
    """
    path = folder / FILE
    try:
        return TuningRecord.model_validate_json(read_plain(path, MAX_ROWS, follow=False))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, UsageError) as error:
        raise DataError(
            f"{path} is not a readable record of a tuning.",
            hint="Move it away: the same command makes it again from the trials that are there.",
        ) from error


def tuning_above(folder: Path) -> Path | None:
    """The folder of the tuning in whose ``trials/`` a folder lies; None if in none."""
    here = folder.absolute()
    for place in (here, *here.parents):
        if place.name == TRIALS and (place.parent / FILE).is_file():
            return place.parent
    return None


def is_trial(folder: Path) -> bool:
    """Whether the run in a folder is a trial of a tuning."""
    return tuning_above(folder) is not None


def write_tuning(record: TuningRecord, folder: Path) -> None:
    """Replace the record in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / FILE, record.model_dump_json(indent=2) + "\n")


def require_same(record: TuningRecord, plan: TuningPlan, folder: Path) -> None:
    """Refuse to mix the trials of two tunings.

    Raises:
        UsageError: when the folder holds another one.
    """
    if record.digest != plan.digest:
        raise UsageError(
            f"{folder} holds the trials of another tuning.",
            hint="Choose another --out; the same command, with more --trials or without, goes on.",
        )


def chosen_values(studies: Sequence[StudyRecord]) -> Mapping[str, Mapping[str, Any]]:
    """The chosen values of each study, by its name."""
    return {study.name: study.best.values for study in studies if study.best is not None}
