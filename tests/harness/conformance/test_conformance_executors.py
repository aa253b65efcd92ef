"""Checks of an executor: sound ones pass, broken ones fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from metabench import conformance
from metabench.errors import UsageError
from metabench.plugin.specs import ExecutorSpec, RunEvent
from metabench.running.executors import Job, JobOutcome, run_job
from metabench.values import Frozen

Emit = Callable[[RunEvent], None]
Stopped = Callable[[], bool]


class Params(Frozen):
    """None."""


def sound(
    _: Params,
) -> Callable[..., list[JobOutcome]]:
    def call(jobs: Sequence[Job], *, emit: Emit, stopped: Stopped) -> list[JobOutcome]:
        return [run_job(job, emit=emit, stopped=stopped) for job in jobs]

    return call


def outcome(name: str, one: Callable[..., Any]) -> conformance.Outcome:
    """How a check ends that an executor passes jobs to, with ``one`` in the place of run_job."""

    def factory(_: Params) -> Callable[..., list[JobOutcome]]:
        def call(jobs: Sequence[Job], *, emit: Emit, stopped: Stopped) -> list[JobOutcome]:
            return one(jobs, emit, stopped)  # type: ignore[no-any-return]

        return call

    spec = ExecutorSpec(name="e", version=1, summary="E.", params=Params, factory=factory)
    (check,) = [check for check in conformance.checks(spec) if name in check.name]
    return conformance.run_check(check)


def test_a_sound_executor_passes() -> None:
    spec = ExecutorSpec(name="e", version=1, summary="E.", params=Params, factory=sound)
    found = {check.name: conformance.run_check(check) for check in conformance.checks(spec)}
    assert {one.status for one in found.values()} == {"ok"}
    assert len(found) > 10


def backwards(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
    return [run_job(job, emit=emit, stopped=stopped) for job in reversed(jobs)]


def hopeful(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
    return [JobOutcome(job, "done") for job in jobs]


def silent(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
    return [run_job(job, emit=lambda _: None, stopped=stopped) for job in jobs]


def in_a_thread(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
    found: list[JobOutcome] = []
    work = threading.Thread(
        target=lambda: found.extend(sound(Params())(jobs, emit=emit, stopped=stopped))
    )
    work.start()
    work.join()
    return found


def elsewhere(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
    moved = [replace(job, out=job.folder / "elsewhere") for job in jobs]
    return [run_job(job, emit=emit, stopped=stopped) for job in moved]


def tireless(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
    moved = [replace(job, time_limit=None) for job in jobs]
    return [run_job(job, emit=emit, stopped=stopped) for job in moved]


def failing(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
    made = [run_job(job, emit=emit, stopped=stopped) for job in jobs]
    return [replace(one, status="failed") for one in made]


@pytest.mark.parametrize(
    ("one", "check", "said"),
    [
        (lambda *_: None, "no job", "of 0 jobs it returned None; it must return a list"),
        (lambda jobs, *_: ["done" for _ in jobs], "every job has", "it returned ['done', 'done']"),
        (backwards, "every job has its outcome", "in their order"),
        (hopeful, "every job has its outcome", "['done', 'done']"),
        (silent, "events arrive", "other threads"),
        (in_a_thread, "events arrive", "other threads"),
        (elsewhere, "a run writes", "is not in its results folder"),
        (tireless, "time limit", "must be 'interrupted'"),
        (failing, "a wish to stop", "['failed', 'failed']"),
    ],
)
def test_a_broken_executor_fails(one: Callable[..., Any], check: str, said: str) -> None:
    found = outcome(check, one)
    assert found.status == "FAILED"
    assert said in found.reason


def test_an_executor_that_cannot_work_here_is_skipped() -> None:
    def missing(jobs: Sequence[Job], emit: Emit, stopped: Stopped) -> list[JobOutcome]:
        raise UsageError("It needs a cluster.")

    found = outcome("no job", missing)
    assert (found.status, found.reason) == ("skipped", "it does not work here: It needs a cluster.")


def test_the_checks_take_parameters() -> None:
    class Kind(Frozen):
        kind: str = ""

    given: list[Kind] = []

    def factory(params: Kind) -> Callable[..., list[JobOutcome]]:
        given.append(params)
        return lambda jobs, **_: []

    spec = ExecutorSpec(name="e", version=1, summary="E.", params=Kind, factory=factory)
    (check,) = [
        check
        for check in conformance.checks(spec, params={"kind": "x"})
        if check.name.startswith("no job")
    ]
    check()
    assert given == [Kind(kind="x")]
