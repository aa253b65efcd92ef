"""The Ray executor, on a stand-in for Ray that runs tasks in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray_stand_in import Ray, RayError, RayTaskError

from metabench import conformance
from metabench.errors import UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import RunEvent
from metabench.running.executors import Job, JobOutcome, run_job
from metabench_plugins.executors import on_ray
from metabench_plugins.executors.on_ray import Permit, RayExecutor, RayParams

CATALOG = load_catalog()
SMALL = {"budget": {"meta_steps": 3}, "space": {"width": 4, "hidden": 1}}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    stand_in = Ray()
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return stand_in


def jobs(folder: Path, device: str = "cpu") -> list[Job]:
    request = RunRequest(
        learners=("maml", "reptile", "meta-sgd"),
        suite="toy-regression",
        budget="smoke",
        changes=SMALL,
        limit=2,
    )
    return [Job(cell, Path("R"), device, 1, folder=folder) for cell in plan(request, CATALOG)]


class Called:
    """The events and the outcomes of a call of the executor."""

    def __init__(
        self,
        todo: list[Job],
        *,
        stopped: Callable[[], bool] = lambda: False,
        **params: Any,
    ) -> None:
        self.events: list[RunEvent] = []
        execute = RayExecutor(RayParams(**params))
        self.outcomes = execute(todo, emit=self.events.append, stopped=stopped)
        assert [one.job for one in self.outcomes] == todo

    @property
    def statuses(self) -> list[str]:
        return [outcome.status for outcome in self.outcomes]

    def texts(self, kind: str) -> list[str]:
        return [event.text for event in self.events if event.kind == kind]


class Dying:
    """In place of ``run_job``: the worker dies so many times before it comes to its end."""

    def __init__(self, times: int, error: type[RayError] = RayError) -> None:
        self._left, self._error = times, error

    def __call__(self, job: Job, **channels: Any) -> JobOutcome:
        if self._left:
            self._left -= 1
            raise self._error("Traceback\n  many lines\nValueError: wrong")
        return run_job(job, **channels)


@pytest.mark.parametrize(
    "check",
    # The stand-in hands over events when a run has ended, and the last check stops one before.
    [check for check in conformance.checks(CATALOG.executor("ray")) if "stop" not in str(check)],
    ids=str,
)
@pytest.mark.usefixtures("ray")
def test_the_contract(check: conformance.Check) -> None:
    check()


@pytest.mark.parametrize("n", [1, 2])
def test_so_many_runs_at_a_time(ray: Ray, n: int, tmp_path: Path) -> None:
    called = Called(jobs(tmp_path), jobs=n)
    assert called.statuses == ["done"] * 3
    assert ray.most == n
    assert [options["num_cpus"] for options in ray.options] == [1] * 3
    assert ray.inits[0]["num_cpus"] == n


@pytest.mark.usefixtures("ray")
def test_results_are_below_the_folder_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Called(jobs(tmp_path / "here"))
    assert len(list((tmp_path / "here" / "R").rglob("episodes.jsonl"))) == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not list((tmp_path / "here" / "R").glob(".ray-*"))


@pytest.mark.usefixtures("ray")
def test_a_run_whose_worker_died_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "run_job", Dying(2))
    called = Called(jobs(tmp_path)[:1], retries=2)
    assert called.statuses == ["done"]
    first, second = called.texts("message")[:2]
    assert "its Ray worker died (RayError)" in first
    assert first.endswith("(retry 1 of 2)")
    assert second.endswith("(retry 2 of 2)")


@pytest.mark.usefixtures("ray")
def test_a_run_whose_worker_dies_again_and_again_is_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "run_job", Dying(2))
    called = Called(jobs(tmp_path), retries=1)
    assert called.statuses == ["failed", "done", "done"]
    assert called.texts("run-failed") == ["its Ray worker died (RayError)"]
    assert called.outcomes[0].hint == "Run the same command to resume it."


@pytest.mark.usefixtures("ray")
def test_code_that_raises_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "run_job", Dying(1, RayTaskError))
    called = Called(jobs(tmp_path))
    assert called.statuses == ["failed", "done", "done"]
    assert called.texts("run-failed") == ["its Ray task failed: ValueError: wrong"]


@pytest.mark.usefixtures("ray")
def test_a_stop_begins_nothing(tmp_path: Path) -> None:
    called = Called(jobs(tmp_path), stopped=lambda: True)
    assert called.statuses == ["interrupted"] * 3
    assert called.events == []


@pytest.mark.usefixtures("ray")
def test_a_stop_lets_what_waits_for_ray_never_begin(tmp_path: Path) -> None:
    asked = iter([False])
    called = Called(jobs(tmp_path), stopped=lambda: next(asked, True), jobs=2)
    assert called.statuses == ["done", "interrupted", "interrupted"]
    assert {event.run_id for event in called.events} == {called.outcomes[0].job.run_id}


def test_a_node_that_does_not_see_the_results_folder(ray: Ray, tmp_path: Path) -> None:
    (job, *_) = jobs(tmp_path)
    outcome = on_ray._work(job, tmp_path / "unseen" / ".ray-1", {}, None)
    assert outcome.status == "failed"
    assert f"does not see the results folder {tmp_path / 'unseen'}" in outcome.text
    assert "share" in outcome.hint
    assert ray.options == []


def test_a_permit_is_a_file_that_goes(tmp_path: Path) -> None:
    (job, *_) = jobs(tmp_path)
    with Permit([job]) as permit:
        file = permit.of(job)
        assert file.parent == tmp_path / "R"
        withdrawn = on_ray._Withdrawn(file, ask_seconds=0.0)
        assert not withdrawn()
        permit.withdraw()
        assert withdrawn()


@pytest.mark.parametrize(
    ("has", "device", "gpus", "expected"),
    [
        (0, "auto", None, (0, "cpu")),
        (2, "auto", None, (1, "cuda")),
        (2, "cuda:1", None, (1, "cuda")),
        (2, "auto", 0.5, (0.5, "cuda")),
        (2, "auto", 0, (0, "cpu")),
        (2, "cpu", 0.5, (0, "cpu")),
    ],
)
def test_gpus(
    ray: Ray,
    has: int,
    device: str,
    gpus: float | None,
    expected: tuple[float, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices = []

    def note(job: Job, **_: Any) -> JobOutcome:
        devices.append(job.device)
        return JobOutcome(job, "done")

    monkeypatch.setattr(on_ray, "run_job", note)
    ray.resources = {"CPU": 2.0, "GPU": float(has)}
    Called(jobs(tmp_path, device)[:1], gpus=gpus)
    assert [(options["num_gpus"]) for options in ray.options] == [expected[0]]
    assert devices == [expected[1]]


@pytest.mark.usefixtures("ray")
def test_a_gpu_that_this_machine_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs 1 CPU and 1 GPU"):
        Called(jobs(tmp_path, "cuda"))


def test_a_gpu_that_a_cluster_may_get(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "run_job", lambda job, **_: JobOutcome(job, "done"))
    ray.init()  # by the program, to a cluster
    called = Called(jobs(tmp_path, "cuda"))
    assert called.statuses == ["done"] * 3
    assert called.texts("message") == [
        "no node of the Ray cluster has 1 CPU and 1 GPU; runs that need it wait for one"
    ]


def test_an_own_ray_lends_no_more_than_the_runs_take(ray: Ray, tmp_path: Path) -> None:
    Called([replace(job, threads=2) for job in jobs(tmp_path)[:2]], jobs=100)
    assert ray.inits[0]["num_cpus"] == 4  # each of which is a process
    assert [options["num_cpus"] for options in ray.options] == [2, 2]
