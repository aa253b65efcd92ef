"""Checks of an executor: it makes small runs on a CPU, one of which fails, and is stopped."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metabench.conformance.base import Check, Skip, require
from metabench.errors import UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.fields import in_short
from metabench.plugin.specs import ExecutorSpec, RunEvent, resolve
from metabench.results.store import RunStore
from metabench.running.executors import TIME_LIMIT, Executor, Job, JobOutcome, run_job
from metabench.text import counted

SUITE, LEARNER = "toy-regression", "reptile"
SMALL = {"budget": {"meta_batch": 1}, "space": {"hidden": 1, "width": 4}}
META_STEPS = 3
"""Of a run that comes to its end."""
LONG = 10_000
"""Meta-steps of a run that is stopped."""
RESULTS = ("episodes.jsonl", "metrics.jsonl")
"""Files whose bytes do not depend on who makes a run."""


def executor_checks(
    spec: ExecutorSpec, catalog: Callable[[], Catalog], params: Mapping[str, Any]
) -> Iterator[Check]:
    """Yield the checks of an executor.

    Args:
        spec: of the executor.
        catalog: where learners and suites come from.
        params: parameters of the executor in the checks.
    """
    bench = _Bench(spec, catalog, params)
    made = cache(bench.make)  # an executor may take long to begin
    yield Check("no job has no outcome", bench.nothing)
    yield Check(
        "every job has its outcome, and one that fails stops no other", lambda: _outcomes(made())
    )
    yield Check(
        "events arrive in the calling thread, in the order of a run", lambda: _events(made())
    )
    yield Check(
        "a run writes what it writes in this process, into its folder", lambda: _results(made())
    )
    yield Check("a run ends at its time limit, and its job resumes it", bench.time_limit)
    yield Check("a wish to stop interrupts all runs", bench.stop)


@dataclass(slots=True)
class _Heard:
    """The events of a call, and who called."""

    events: list[RunEvent] = field(default_factory=list)
    callers: set[tuple[int, int]] = field(default_factory=set)

    def __call__(self, event: RunEvent) -> None:
        self.events.append(event)
        self.callers.add((os.getpid(), threading.get_ident()))


@dataclass(frozen=True, slots=True)
class _Made:
    """Two jobs, of which the first cannot write its results, and what came of them.

    Attributes:
        jobs: the jobs.
        outcomes: what the executor returned.
        heard: the events.
        results: of the second run, by file: what was written, and what this process writes.
    """

    jobs: list[Job]
    outcomes: list[JobOutcome]
    heard: _Heard
    results: Mapping[str, tuple[bytes, bytes]]


def _outcomes(made: _Made) -> None:
    require(
        [one.job.run_id for one in made.outcomes] == [job.run_id for job in made.jobs],
        "the outcomes are not those of the jobs, in their order.",
    )
    found = [one.status for one in made.outcomes]
    require(
        found == ["failed", "done"],
        f"of two runs, of which the first cannot write its results, it says {found}.",
    )
    require("it is a file" in made.outcomes[0].text, "the outcome does not say why a run failed.")


def _events(made: _Made) -> None:
    require(
        made.heard.callers == {(os.getpid(), threading.get_ident())},
        "no events come, or they come from other threads or processes than the one that calls it.",
    )
    failed, done = (
        # The executor itself may say more.
        [e.kind for e in made.heard.events if e.run_id == job.run_id and e.kind != "message"]
        for job in made.jobs
    )
    require(failed == ["run-failed"], f"the events of a run that cannot write are {failed}.")
    require(done[:1] == ["run-started"], f"the first events of a run are {done[:3]}.")
    require(done[-1:] == ["run-done"], f"the last events of a run are {done[-3:]}.")
    require("progress" in done, "no progress of a run arrives.")


def _results(made: _Made) -> None:
    for name, (written, expected) in made.results.items():
        require(written, f"{name} of a run is not in its results folder.")
        require(
            written == expected,
            f"{name} of a run differs from that of the same run in this process.",
        )


@dataclass(frozen=True, slots=True)
class _Bench:
    """Makes jobs, and has an executor make their runs."""

    spec: ExecutorSpec
    catalog: Callable[[], Catalog]
    params: Mapping[str, Any]

    def nothing(self) -> None:
        found = self._call([], _Heard())
        require(found == [], f"without a job it returns {found!r}; it must return [].")

    def make(self) -> _Made:
        """Have two runs made, of which the first fails."""
        heard = _Heard()
        with self._folder() as folder:
            jobs = self._jobs(folder, n_seeds=2)
            taken = RunStore.of(jobs[0].planned.spec, folder / jobs[0].out).folder
            taken.parent.mkdir(parents=True)
            taken.touch()  # a file where the folder of a run should be
            outcomes = self._call(jobs, heard)
            return _Made(jobs, outcomes, heard, self._results_of(jobs[1], folder))

    def time_limit(self) -> None:
        with self._folder() as folder:
            job = self._jobs(folder)[0]
            (limited,) = self._call([replace(job, time_limit=0.0)], _Heard())
            require(
                (limited.status, limited.text) == ("interrupted", TIME_LIMIT),
                f"the outcome of a run whose time is over is {limited.status!r} with the text "
                f"{limited.text!r}; it must be 'interrupted' with {TIME_LIMIT!r}.",
            )
            (resumed,) = self._call([job], _Heard())
            require(resumed.status == "done", f"a run that is resumed is {resumed.status!r}.")
            for name, (written, expected) in self._results_of(job, folder).items():
                require(written == expected, f"a run that is resumed writes another {name}.")

    def stop(self) -> None:
        heard = _Heard()
        with self._folder() as folder:
            jobs = self._jobs(folder, n_seeds=2, meta_steps=LONG)
            outcomes = self._call(
                jobs, heard, stopped=lambda: any(e.kind == "progress" for e in heard.events)
            )
            found = [outcome.status for outcome in outcomes]
            require(found == ["interrupted"] * 2, f"two runs that are stopped end as {found}.")
            began = {event.run_id for event in heard.events}
            for job in jobs:
                record = RunStore.of(job.planned.spec, folder / job.out).read_record()
                status = None if record is None else record.status
                require(
                    status == "interrupted" or (status is None and job.run_id not in began),
                    f"the record of a run that was stopped says {status!r}.",
                )

    def _results_of(self, job: Job, folder: Path) -> dict[str, tuple[bytes, bytes]]:
        """By file, what a run wrote and what it writes in this process."""
        again = replace(job, out=Path("here"))
        run_job(again, self.catalog(), emit=_Heard(), stopped=lambda: False)
        written, expected = (
            RunStore.of(one.planned.spec, folder / one.out).folder for one in (job, again)
        )
        return {name: (_read(written / name), _read(expected / name)) for name in RESULTS}

    def _jobs(self, folder: Path, *, n_seeds: int = 1, meta_steps: int = META_STEPS) -> list[Job]:
        catalog = self.catalog()
        if SUITE not in catalog.suites or LEARNER not in catalog.learners:
            raise Skip(f"the suite {SUITE} or the learner {LEARNER} is not installed.")
        budget = {**SMALL["budget"], "meta_steps": meta_steps}
        request = RunRequest(
            learners=(LEARNER,),
            suite=SUITE,
            budget="smoke",
            limit=2,
            seeds=tuple(range(n_seeds)),
            changes={**SMALL, "budget": budget},
        )
        return [
            Job(planned, Path("results"), "cpu", threads=1, folder=folder)
            for planned in plan(request, catalog)
        ]

    def _call(
        self, jobs: Sequence[Job], heard: _Heard, *, stopped: Callable[[], bool] = lambda: False
    ) -> list[JobOutcome]:
        try:
            params = self.spec.params_model().model_validate(dict(self.params))
            executor: Executor = resolve(self.spec.factory)(params)
            found = executor(jobs, emit=heard, stopped=stopped)
        except UsageError as error:
            raise Skip(f"it does not work here: {error.message}") from error
        require(
            isinstance(found, list) and all(isinstance(one, JobOutcome) for one in found),
            f"of {counted(len(jobs), 'job')} it returned {in_short(found)}; it must return a list "
            "with a JobOutcome for each.",
        )
        return found

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A new folder; for other machines one below the present folder, which they may see."""
        with TemporaryDirectory(dir=Path.cwd() if self.spec.remote else None) as folder:
            yield Path(folder).resolve()


def _read(path: Path) -> bytes:
    """The content of a file; nothing where there is none."""
    return path.read_bytes() if path.exists() else b""
