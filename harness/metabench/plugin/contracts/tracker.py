"""What a tracker does, and what it is told of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

Parameter = str | int | float | bool | None
"""The value of a parameter of a run; a list or a mapping is text, as ``--set`` takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run when it begins.

    Attributes:
        run_id: the id of the run, which is also in its record.
        label: the run in words, such as ``maml 5w1s seed 0``.
        suite: name of the suite.
        setting: name of the setting.
        budget: name of the budget.
        learner: name of the learner.
        seed: the seed.
        folder: of the run, as an absolute path.
        parameters: everything that decides the numbers of the run, by name. The names are those of
            ``--set`` where it can set the parameter: ``learner.inner_lr``, ``network.filters``,
            ``protocol.shots``, ``budget.meta_steps``. The names of things are ``learner``,
            ``network``, ``strategy`` and ``source.NAME``, and their versions ``version.learner``.
        stamps: how it differs from the full benchmark, such as ``smoke``, ``subset`` or ``bf16``.
        made_with: how it is made: ``command``, ``device``, ``started``, ``git``, and
            ``trial``, the number of a trial of a tuning.
    """

    run_id: str
    label: str
    suite: str
    setting: str
    budget: str
    learner: str
    seed: int
    folder: Path
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    stamps: tuple[str, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The folder of the run below the results folder, ``SUITE@SETTING/LEARNER/RUN_ID``."""
        return self.folder.relative_to(self.folder.parents[2]).as_posix()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScore:
    """A mean score over the meta-test episodes of a finished run, or those a trial is judged on.

    Attributes:
        metric: name of the metric.
        source: of the episodes; ``average`` is the plain mean over several sources.
        mean: of the scores as the metric gives them: accuracy is in [0, 1].
        half_width: of the 95 % interval over episodes, ``1.96 std / sqrt(n)``; None with one
            episode.
        n: number of episodes.
        evaluation: ``meta-test`` for the headline, ``meta-val`` for a trial of a tuning, else the
            name of an evaluation.
    """

    metric: str
    source: str
    mean: float
    half_width: float | None
    n: int
    evaluation: str = "meta-test"

    @property
    def name(self) -> str:
        """``meta-test/SOURCE/METRIC``."""
        return f"{self.evaluation}/{self.source}/{self.metric}"

    @property
    def values(self) -> dict[str, float]:
        """The mean by :attr:`name`, and the half-width by the same name with ``_half_width``."""
        both = {self.name: self.mean, f"{self.name}_half_width": self.half_width}
        return {name: value for name, value in both.items() if value is not None}


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Scalars of a run at one meta-step.

    Attributes:
        step: meta-steps done.
        values: by name: ``meta-train/NAME`` is what the learner logs, as a mean over the meta-steps
            since the point before, and ``meta-val/val_score`` the score on meta-validation.
    """

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """How a run ended.

    Attributes:
        status: ``done``; ``failed``; or ``interrupted``, and then it may go on later.
        step: meta-steps done.
        text: why it failed, in a sentence, or what interrupted it, such as ``time limit``.
        scores: of a finished run.
    """

    status: Literal["done", "failed", "interrupted"]
    step: int
    text: str = ""
    scores: tuple[RunScore, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """The means and half-widths of all scores, by name; see :attr:`RunScore.values`."""
        return {name: value for score in self.scores for name, value in score.values.items()}


@runtime_checkable
class TrackedRun(Protocol):
    """A run that a tracker has open.

    Attributes:
        key: what the tracker calls the run; it is kept in the folder of the run, so it must hold no
            secret.
        resumed: whether the tracker still has the points that it was sent under the key that it was
            asked to open. If not, all points of the run are sent.
    """

    key: str
    resumed: bool

    def log(self, points: Sequence[CurvePoint]) -> None:
        """Take points; their steps never fall. May raise anything.

        No point is sent twice, but for those of a call that raised: all of these come again, after
        another :meth:`Tracker.open`.
        """
        ...

    def end(self, end: RunEnd) -> None:
        """Take the end of the run, and let go of it. May raise anything.

        It is called again, after another :meth:`Tracker.open`, when an interrupted run goes on, or
        when a finished run gets further scores, such as a trial that is tested.
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Passes runs on to a service or to files that others can read.

    It is called in a thread of its own, in the process of the command, and may take its time: no
    run waits for it. What it could not be sent is sent when the same command is given again.
    """

    def open(self, run: RunFacts, *, key: str) -> TrackedRun:
        """Begin a run, or go on with one. Several runs can be open at a time. May raise anything.

        Args:
            run: what is known of it.
            key: what the tracker called it in an earlier start; "" for a new run. If the tracker
                does not know the key any more, it begins the run anew.
        """
        ...


@runtime_checkable
class LookingTracker(Tracker, Protocol):
    """A tracker that can tell whether it still has a run.

    A run that ended, and that it does not have, is sent again as a whole. Other trackers are
    believed to have what they took.
    """

    def has(self, run: RunFacts, *, key: str) -> bool:
        """Whether all of an ended run is where this tracker would put it. May raise anything.

        Args:
            run: what is known of it.
            key: what the tracker called it, perhaps with other parameters.
        """
        ...
