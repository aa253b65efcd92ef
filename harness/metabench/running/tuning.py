"""The loop of a tuning: propose values, train with them, judge them on meta-validation, choose.

No meta-test episode is drawn: the runs of trials end before it (``PlannedRun.trial``).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metabench.planning.grid import grid_text
from metabench.planning.metrics import metric_facts
from metabench.planning.plan import PlannedRun
from metabench.planning.runspec import RunSpec
from metabench.planning.samplers import Sampler, Told
from metabench.planning.tuning import MAX_TRIALS, Planner, Study, TuningPlan
from metabench.results.episode_files import Episodes
from metabench.results.store import RunStore, replace_text
from metabench.results.tunings import (
    CHOSEN,
    TRIALS,
    StudyRecord,
    Trial,
    TuningRecord,
    write_tuning,
)
from metabench.results.validation_scores import validation_scores
from metabench.stats import (
    Blocks,
    Interval,
    average_interval,
    contrast,
    field_interval,
    has_students_t,
    seeds_interval,
)
from metabench.values import rounded

if TYPE_CHECKING:
    from metabench.running.executors import JobOutcome

Make = Callable[[Sequence[PlannedRun]], Sequence["JobOutcome"]]
"""Makes runs, and returns how they ended."""


@dataclass(slots=True)
class StudyAtWork:
    """A study while its trials are made.

    Attributes:
        study: what is tuned.
        sampler: proposes values.
        record: the trials so far.
        total: how many trials there will be at most.
    """

    study: Study
    sampler: Sampler
    record: StudyRecord
    total: int
    _runs: dict[int, list[PlannedRun]] = field(default_factory=dict)
    _errors: dict[int, str] = field(default_factory=dict)
    _blocks: dict[int, Blocks] = field(default_factory=dict)

    def propose(self, n: int) -> None:
        """Add up to ``n`` trials."""
        n = min(n, self.total - len(self.record.trials))
        if n < 1:
            return
        told = [Told(trial.values, trial.score) for trial in self.record.trials]
        first = len(told) + 1
        new = [
            Trial(number=number, values=values)
            for number, values in enumerate(self.sampler.propose(told, n), start=first)
        ]
        self.record = self.record.model_copy(update={"trials": (*self.record.trials, *new)})

    def plan(self, planner: Planner) -> None:
        """Plan the runs of the trials that are new."""
        for trial in self.record.trials:
            if trial.number not in self._runs:
                self._runs[trial.number] = planner.trial(self.study, trial.number, trial.values)

    @property
    def pending(self) -> list[PlannedRun]:
        """The runs of the trials that are not judged, and did not fail a moment ago."""
        ended = self._errors.keys() | self._blocks.keys()
        return [run for number, runs in self._runs.items() if number not in ended for run in runs]

    def note(self, failed: Mapping[str, str]) -> None:
        """Take down which runs failed and why, by run id."""
        for number, runs in self._runs.items():
            errors = [failed[run.spec.run_id] for run in runs if run.spec.run_id in failed]
            if errors:
                self._errors[number] = errors[0]

    def judge(self, trials: Path) -> None:
        """Read what the trials scored, and choose the best.

        Args:
            trials: the folder of their runs.
        """
        for number, runs in self._runs.items():
            if number not in self._blocks and (blocks := _blocks_of(runs, trials)) is not None:
                self._blocks[number] = blocks
        judged = [self._judged(trial) for trial in self.record.trials]
        done = [trial for trial in judged if trial.score is not None]
        sign = self.record.metric.sign
        best = max(done, key=lambda trial: sign * (trial.score or 0.0), default=None)
        if best is not None:
            own = self._blocks[best.number]
            judged = [
                trial
                if trial.score is None or trial is best
                else trial.model_copy(update={"tied": _tied(self._blocks[trial.number], own)})
                for trial in judged
            ]
        chosen = None if best is None else best.number
        self.record = self.record.model_copy(update={"trials": tuple(judged), "chosen": chosen})

    def _judged(self, trial: Trial) -> Trial:
        runs = tuple(run.spec.run_id for run in self._runs.get(trial.number, ()))
        bare = Trial(number=trial.number, values=trial.values, runs=runs)
        blocks = self._blocks.get(trial.number)
        if blocks is None:
            error = self._errors.get(trial.number, "")
            status = "failed" if error else "unjudged"
            return bare.model_copy(update={"status": status, "error": error})
        interval, by_seed = _interval(blocks)
        width = interval.half_width
        return bare.model_copy(
            update={
                "status": "done",
                "score": rounded(interval.mean),
                "half_width": rounded(width) if isfinite(width) else None,
                "by_seed": tuple(map(rounded, by_seed)),
            }
        )


def at_work(
    plan: TuningPlan, studies: Sequence[Study], planner: Planner, earlier: TuningRecord | None
) -> list[StudyAtWork]:
    """The studies of a plan, with the trials that they have already.

    Raises:
        UsageError: when the sampler cannot serve a study.
    """
    before = {} if earlier is None else {one.name: one.trials for one in earlier.studies}
    sampler = plan.picked_sampler
    found = []
    for study in studies:
        spec = study.spec
        (metric,) = metric_facts((spec.metric,), planner.catalog).values()
        record = StudyRecord(
            name=study.name,
            suite=spec.suite,
            suite_version=spec.suite_version,
            setting=spec.setting,
            budget=spec.budget,
            learner=spec.learner.name,
            metric=metric,
            episodes=spec.protocol.val_episodes * len(spec.sources),
            seeds=study.base.seeds,
            parameters={one.path: str(one) for one in study.parameters},
            trials=before.get(study.name, ()),
        )
        draws = Sampler(sampler, study, plan.sampler_seed, metric.better == "smaller")
        draws.check()
        found.append(StudyAtWork(study, draws, record, plan.most_trials))
    return found


def run_trials(
    record: TuningRecord,
    studies: Sequence[StudyAtWork],
    planner: Planner,
    folder: Path,
    *,
    make: Make,
    at_once: int,
) -> TuningRecord:
    """Make the trials that are missing, and write down each step.

    Args:
        record: of the tuning, without its studies.
        studies: with the trials so far.
        planner: plans their runs.
        folder: of the tuning.
        make: makes runs.
        at_once: trials that TPE proposes before it learns how they scored.

    Returns:
        The record as it is written. Trials are unjudged if the executor hands runs over.

    Raises:
        KeyboardInterrupt: when it was interrupted; the same call goes on.
    """
    trials = folder / TRIALS
    while True:
        for one in studies:
            one.propose(at_once if one.sampler.name == "tpe" else MAX_TRIALS)
            one.plan(planner)
            one.judge(trials)
        runs = [run for one in studies for run in one.pending]
        record = record.model_copy(update={"studies": tuple(one.record for one in studies)})
        write_tuning(record, folder)
        if not runs:
            return _with_plans(record, studies, folder)
        outcomes = make(runs)
        failed = {
            outcome.job.planned.spec.run_id: outcome.text
            for outcome in outcomes
            if outcome.status == "failed"
        }
        for one in studies:
            one.note(failed)
            one.judge(trials)
        record = record.model_copy(update={"studies": tuple(one.record for one in studies)})
        write_tuning(record, folder)
        if any(outcome.status == "interrupted" for outcome in outcomes):
            raise KeyboardInterrupt
        if any(outcome.status not in ("done", "failed") for outcome in outcomes):
            return record


def adopt_training(spec: RunSpec, trials: Path, out: Path) -> None:
    """Let a run begin with the training of its trial, which is the same to the last bit.

    Args:
        spec: of the run.
        trials: the folder of the trials' runs.
        out: the results folder. A run that has begun there stays as it is.
    """
    trained, store = RunStore.of(spec, trials), RunStore.of(spec, out)
    record = trained.read_record()
    if record is None or record.status != "trained" or store.read_record() is not None:
        return
    ignore = shutil.ignore_patterns("evaluations", ".*")
    shutil.copytree(trained.folder, store.folder, ignore=ignore, dirs_exist_ok=True)


def _with_plans(record: TuningRecord, studies: Sequence[StudyAtWork], folder: Path) -> TuningRecord:
    """Write the plan file of each study that chose something, and say where it is."""
    named = []
    for one in studies:
        best = one.record.best
        if best is not None:
            tuned = record.tuned(one.record)
            grid = one.study.grid(best.values).model_copy(update={"tuned": tuned})
            path = Path(CHOSEN) / f"{one.study.name}.yaml"
            (folder / path).parent.mkdir(exist_ok=True)
            replace_text(folder / path, grid_text(grid))
            one.record = one.record.model_copy(update={"plan": path.as_posix()})
        named.append(one.record)
    record = record.model_copy(update={"studies": tuple(named)})
    write_tuning(record, folder)
    return record


def _blocks_of(runs: Sequence[PlannedRun], trials: Path) -> Blocks | None:
    """Scores ``[seeds, episodes]`` by source; None where a run is not judged."""
    found: list[Episodes] = []
    for run in runs:
        store = RunStore.of(run.spec, trials)
        record = store.read_record()
        episodes = None if record is None else validation_scores(store, record)
        if episodes is None:
            return None
        found.append(episodes)
    sources = found[0].source
    scores = np.stack([one.score for one in found])
    return {name: scores[:, sources == name] for name in dict.fromkeys(sources.tolist())}


def _interval(blocks: Blocks) -> tuple[Interval, list[float]]:
    """The interval of the average over sources, and the score of each seed."""
    by_seed = np.mean([block.mean(axis=1) for block in blocks.values()], axis=0)
    of_episodes = average_interval([field_interval(b.mean(axis=0)) for b in blocks.values()])
    several = len(by_seed) > 1 and has_students_t()
    return (seeds_interval(by_seed) if several else of_episodes), by_seed.tolist()


def _tied(left: Blocks, right: Blocks) -> bool:
    """Whether the interval of the paired difference of two trials contains 0, or there is none."""
    weights = {name: 1 / len(left) for name in left}
    if not has_students_t():  # the networks are taken as given
        left, right = (
            {name: block.mean(axis=0, keepdims=True) for name, block in side.items()}
            for side in (left, right)
        )
    low, high = contrast(left, right, weights=weights).interval()
    return not (low > 0 or high < 0)  # NaN of a single episode tells nothing apart
