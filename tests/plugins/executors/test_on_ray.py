"""The Ray executor, on Ray where it is installed and on a stand-in that runs tasks at once."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import RunEvent
from metabench.running.executors import Job
from metabench_plugins.executors.on_ray import RayExecutor, RayParams


class RayError(Exception):
    """As Ray's own."""


class Remote:
    """What ``ray.remote`` makes, run where it stands."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def options(self, **_: Any) -> Remote:
        return self

    def remote(self, *arguments: Any) -> Any:
        if isinstance(self._target, type):
            actor = self._target(*arguments)
            methods = [name for name in vars(self._target) if not name.startswith("_")]
            return SimpleNamespace(**{n: Remote(getattr(actor, n)) for n in methods})
        try:
            return Done(self._target(*arguments))
        except RayError as error:
            return Done(error)


class Done:
    def __init__(self, value: Any) -> None:
        self.value = value


def get(done: Done) -> Any:
    if isinstance(done.value, Exception):
        raise done.value
    return done.value


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimpleNamespace(
        init=lambda **_: None,
        remote=Remote,
        wait=lambda running, timeout: (running, []),
        get=get,
        exceptions=SimpleNamespace(RayError=RayError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)


def jobs(out: Path) -> list[Job]:
    changes = {"budget": {"meta_steps": 3}, "space": {"width": 4, "hidden": 1}}
    request = RunRequest(
        learners=("maml", "reptile"),
        suite="toy-regression",
        budget="smoke",
        changes=changes,
        limit=2,
    )
    return [Job(cell, out, "cpu", 1) for cell in plan(request, load_catalog())]


def run(out: Path, *, stop: bool = False) -> tuple[list[str], list[RunEvent]]:
    events: list[RunEvent] = []
    execute = RayExecutor(RayParams(jobs=2))
    outcomes = execute(jobs(out), emit=events.append, stopped=lambda: stop)
    assert [o.job.planned.spec.learner.name for o in outcomes] == ["maml", "reptile"]
    return [outcome.status for outcome in outcomes], events


@pytest.mark.usefixtures("stand_in")
def test_jobs_run_and_their_events_arrive(tmp_path: Path) -> None:
    statuses, events = run(tmp_path)
    assert statuses == ["done", "done"]
    assert len(list(tmp_path.rglob("episodes.jsonl"))) == 2
    assert {event.kind for event in events} >= {"run-started", "progress", "run-done"}


@pytest.mark.usefixtures("stand_in")
def test_a_lost_task_is_a_failed_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise RayError

    monkeypatch.setattr("metabench_plugins.executors.on_ray.run_job", lost)
    assert run(tmp_path)[0] == ["failed", "failed"]


def test_without_ray_the_hint_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs the package ray") as caught:
        run(tmp_path)
    assert "metabench[ray]" in caught.value.hint


@pytest.mark.slow
def test_the_real_ray(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    try:
        assert run(tmp_path)[0] == ["done", "done"]
    finally:
        ray.shutdown()
