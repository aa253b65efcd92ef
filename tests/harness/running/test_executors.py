"""What executors share: one job in this process; and the executor of this machine."""

from __future__ import annotations

import errno
import os
import pickle
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import RunEvent
from metabench.running.executors import Job, JobOutcome, local, run_job

CATALOG = load_catalog()


def jobs_in(folder: Path, *, n: int = 1) -> list[Job]:
    request = RunRequest(
        learners=("support-mean",),
        suite="toy-regression",
        budget="smoke",
        seeds=tuple(range(n)),
        limit=2,
    )
    runs = plan(request, CATALOG)
    return [Job(one, Path("R"), "cpu", 1, folder=folder) for one in runs]


def made(job: Job) -> tuple[JobOutcome, list[RunEvent]]:
    events: list[RunEvent] = []
    return run_job(job, CATALOG, emit=events.append, stopped=lambda: False), events


def test_a_job_travels_and_writes_below_the_folder_of_the_command(tmp_path: Path) -> None:
    before = Path.cwd()
    (job,) = jobs_in(tmp_path)
    outcome, _ = made(pickle.loads(pickle.dumps(job)))
    assert outcome.status == "done"
    assert len(list((tmp_path / "R").rglob("run.json"))) == 1
    assert Path.cwd() == before


def test_a_machine_without_the_folder_of_the_command_says_so(tmp_path: Path) -> None:
    (job,) = jobs_in(tmp_path / "gone")
    outcome, events = made(job)
    assert outcome.status == "failed"
    assert f"does not have the folder {tmp_path / 'gone'}" in outcome.text
    assert "all machines see" in outcome.hint
    assert [(event.kind, event.text) for event in events] == [("run-failed", outcome.text)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "cuda:99"}, "--device cuda:99 does not exist"),
        ({"engine": "fast"}, "Unknown engine 'fast'"),
    ],
)
def test_the_machine_of_the_run_checks_what_it_has(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    outcome, events = made(replace(jobs_in(tmp_path)[0], **changes))  # type: ignore[arg-type]
    assert outcome.status == "failed"
    assert said in outcome.text
    assert events[-1].kind == "run-failed"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("broken"), "RuntimeError: broken (test_executors.py, line "),
        (OSError(errno.EFBIG, "too large", "w"), "Cannot write to w: too large."),
        (
            OSError(errno.ENOENT, "none", "/elsewhere"),
            "FileNotFoundError: [Errno 2] none: '/elsewhere'",
        ),
    ],
)
def test_a_run_that_fails_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("metabench.running.run.build", broken)
    outcome, events = made(jobs_in(tmp_path)[0])
    assert outcome.status == "failed"
    assert outcome.text.startswith(said)
    assert [event.kind for event in events] == ["run-started", "run-failed"]
    assert events[-1].text == outcome.text


def test_auto_is_picked_where_the_run_is_made(tmp_path: Path) -> None:
    outcome, _ = made(replace(jobs_in(tmp_path)[0], device="auto"))
    assert outcome.status == "done"


def test_runs_go_to_the_gpu_with_the_fewest() -> None:
    gpus = local._Gpus(["3", "5"])
    assert [gpus.take() for _ in range(4)] == ["3", "5", "3", "5"]
    gpus.give_back("5")
    assert [gpus.take(), gpus.take()] == ["5", "3"]


def test_without_a_gpu_none_is_named() -> None:
    gpus = local._Gpus(())
    gpus.give_back("")
    assert [gpus.take(), gpus.take()] == ["", ""]


def tell_gpu(job: Job, messages: Connection, gpu: str) -> None:
    """In the place of what a process does: say which GPU it is to see."""
    messages.send(JobOutcome(job, "done", gpu))


@pytest.mark.slow
def test_each_process_sees_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_main", tell_gpu)
    monkeypatch.setattr(local, "visible_gpus", lambda: ["GPU-a", "GPU-b"])
    devices = zip(jobs_in(tmp_path, n=3), ("cuda", "cuda:1", "cuda"), strict=True)
    jobs = [replace(job, device=device) for job, device in devices]
    execute = local.LocalExecutor(local.LocalParams(jobs=3))
    outcomes = execute(jobs, emit=lambda _: None, stopped=lambda: False)
    assert [one.text for one in outcomes] == ["GPU-a", "", "GPU-b"]


class Sent(list[object]):
    """Messages of a process that runs here."""

    send = list.append


def test_a_process_hides_the_other_gpus_before_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    sent = Sent()
    (job,) = jobs_in(tmp_path)
    local._main(job, sent, "5")  # type: ignore[arg-type]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    assert isinstance(sent[-1], JobOutcome)
    assert sent[-1].status == "done"
