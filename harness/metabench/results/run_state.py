"""How far one run is, and what it has logged, read while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.foreign import count_lines, finite, json_lines
from metabench.results.reading import read_record
from metabench.results.schema import RunRecord
from metabench.results.state import State, last_written, state_of
from metabench.results.training_curve import TrainingCurve, read_training_curve
from metabench.results.tunings import is_trial

MAX_TIMINGS = 2**20
"""Bytes of ``timings.jsonl`` that are read at most: its last ones."""
_PREPARED = 120.0
"""Seconds within which a run is built."""
MEASURED = 60.0
"""Seconds of work whose speed is taken for the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """How far a run is.

    Attributes:
        folder: of the run; of a planned one, where it will be.
        state: planned, running, interrupted, failed or done.
        run_id: digest of its spec.
        suite: of the run, as its setting, budget, learner and seed.
        config: what other seeds have in common with it, as a digest; "" where it is not known.
        metric: of the headline; None of a planned run.
        steps: meta-steps done, as of the last logged point.
        meta_steps: all meta-steps.
        episodes: meta-test episodes done.
        n_episodes: all meta-test episodes.
        meta_batch: tasks of a meta-step.
        speeds: meta-steps or episodes per second as last measured, by phase.
        curve: what the training has logged.
        error: why a failed run failed, in a sentence, or what interrupted it.
        written: when one of its files was last written, in seconds since 1970; 0 if planned.
        command: the command that makes or resumes it.
        awaited: whether a command that is still at work is going to make or resume it.
        trial: whether a tuning made it, which ends with its training.
    """

    folder: Path
    state: State
    run_id: str
    suite: str
    setting: str
    budget: str
    learner: str
    seed: int
    config: str = ""
    metric: MetricFacts | None = None
    steps: int = 0
    meta_steps: int
    episodes: int = 0
    n_episodes: int
    meta_batch: int = 1
    speeds: Mapping[str, float] = field(default_factory=dict)
    curve: TrainingCurve = field(default_factory=TrainingCurve)
    error: str = ""
    written: float = 0.0
    command: str = ""
    awaited: bool = False
    trial: bool = False

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """What runs that take about the same time have in common."""
        return self.suite, self.setting, self.budget, self.learner

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do: it is done, or it is a trained trial."""
        return self.state == "done" or (self.trial and self.state == "trained")

    @property
    def phase(self) -> str:
        """``meta-train`` or ``meta-test``, whichever is next or going on; "" when done."""
        if self.ended:
            return ""
        return "meta-train" if self.steps < self.meta_steps else "meta-test"

    @property
    def share(self) -> float:
        """The share done, in [0, 1]: of all tasks of meta-training and of meta-test."""
        if self.ended:
            return 1.0
        total = self.meta_steps * self.meta_batch + self.n_episodes
        done = self.steps * self.meta_batch + self.episodes
        return min(1.0, done / total) if total else 0.0

    @property
    def loss(self) -> float | None:
        """The last logged training loss."""
        return self.curve.loss[-1][1] if self.curve.loss else None

    @property
    def val_score(self) -> float | None:
        """The last score on meta-validation, in the unit of tables."""
        if not self.curve.score or self.metric is None:
            return None
        return self.curve.score[-1][1] * self.metric.scale


def read_run_state(folder: Path) -> RunState:
    """Read how far a run is; a file that is cut in the middle of a line is read up to there.

    Raises:
        NotCountedError: when its record cannot be read.
        OSError: when another file cannot be read.
    """
    record = read_record(folder)
    spec = record.spec
    state = state_of(folder, record)
    curve = read_training_curve(folder / "metrics.jsonl")
    n_episodes = spec.protocol.episodes * len(spec.sources)
    done = state == "done"
    tested = n_episodes if done else count_lines(folder / "episodes.jsonl")
    return RunState(
        folder=folder,
        state=state,
        run_id=record.run_id,
        suite=spec.suite,
        setting=spec.setting,
        budget=spec.budget,
        learner=spec.learner.name,
        seed=spec.seed,
        config=spec.config_id,
        metric=record.metric,
        steps=spec.training.meta_steps if done else min(curve.step, spec.training.meta_steps),
        meta_steps=spec.training.meta_steps,
        episodes=min(tested, n_episodes),
        n_episodes=n_episodes,
        meta_batch=spec.training.meta_batch,
        speeds=_speed_of_first_start(folder, record, curve) | _speeds(folder / "timings.jsonl"),
        curve=curve,
        error=record.error,
        written=last_written(folder),
        command=record.provenance.command,
        trial=is_trial(folder),
    )


def _speed_of_first_start(
    folder: Path, record: RunRecord, curve: TrainingCurve
) -> dict[str, float]:
    """Meta-steps per second since the record was written, if no earlier start made some of them.

    The record is written a last time before the training begins, and says when the run first began.
    """
    try:
        first = datetime.fromisoformat(record.provenance.started).timestamp()
        began = (folder / "run.json").stat().st_mtime
        seconds = (folder / "metrics.jsonl").stat().st_mtime - began
    except (ValueError, OSError):
        return {}
    if record.status != "running" or seconds <= 0 or abs(began - first) > _PREPARED:
        return {}
    return {"meta-train": curve.step / seconds} if curve.step else {}


def _speeds(path: Path) -> dict[str, float]:
    """Steps or episodes per second of each phase, over the last :data:`MEASURED` seconds of it."""
    work: dict[str, tuple[float, float]] = {}
    for note in reversed([*json_lines(path, MAX_TIMINGS)]):
        phase = note.get("phase")
        count, seconds = finite(note.get("count")), finite(note.get("seconds"))
        if not isinstance(phase, str) or not count or not seconds or count < 0 or seconds < 0:
            continue
        n, spent = work.get(phase, (0.0, 0.0))
        if spent < MEASURED:
            work[phase] = n + count, spent + seconds
    return {phase: n / spent for phase, (n, spent) in work.items()}
