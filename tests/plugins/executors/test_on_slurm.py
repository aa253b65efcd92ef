"""The Slurm executor: what it asks of Slurm, and how a run goes back into the queue.

There is no Slurm here. submitit makes the same jobs in processes of this machine, with its own
signals and its own way to requeue them.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metabench import conformance
from metabench.errors import UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import RunEvent
from metabench.results.store import RunStore
from metabench.running.executors import Job, JobOutcome, run_job
from metabench_plugins.executors import on_slurm
from metabench_plugins.executors.on_slurm import SlurmExecutor, SlurmParams, Task

CATALOG = load_catalog()


def jobs_in(
    folder: Path, *, learner: str = "support-mean", n: int = 2, **budget: object
) -> list[Job]:
    request = RunRequest(
        learners=(learner,),
        suite="toy-regression",
        budget="smoke",
        seeds=tuple(range(n)),
        limit=2,
        # Without meta-validation, in which a run that is stopped saves nothing.
        changes={"budget": budget, "protocol": {"selection": "last"}} if budget else {},
    )
    return [Job(one, Path("R"), "cpu", 1, folder=folder) for one in plan(request, CATALOG)]


def run(jobs: list[Job], emit: Any = lambda _: None, /, **params: Any) -> list[JobOutcome]:
    return SlurmExecutor(SlurmParams(**params))(jobs, emit=emit, stopped=lambda: False)


# What it asks of Slurm -------------------------------------------------------------------------


def test_without_submitit_the_hint_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match="needs the package submitit") as caught:
        run(jobs_in(tmp_path))
    assert "metabench[slurm]" in caught.value.hint


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no command sbatch") as caught:
        run(jobs_in(tmp_path))
    assert "cluster=local" in caught.value.hint
    assert not (tmp_path / "R").exists()


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm that takes jobs and makes none: what it was asked for, and what it says."""
    pytest.importorskip("submitit")
    asked, said = tmp_path / "asked.sh", tmp_path / "said"
    said.write_text("echo Submitted batch job 42")
    for name, text in {"sbatch": f"cp $1 {asked}; . {said}", "srun": "exit 1"}.items():
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{text}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return asked


def test_an_array_has_what_the_user_asks_for(tmp_path: Path, sbatch: Path) -> None:
    events: list[RunEvent] = []
    jobs = [replace(job, device="cuda", threads=3) for job in jobs_in(tmp_path, n=5)]
    outcomes = run(
        jobs,
        events.append,
        wait=False,
        jobs=2,
        partition="long",
        account="lab",
        memory_gb=16,
        hours=1.5,
        notice=60,
        setup=("module load cuda",),
        sbatch={"mail-type": "END"},
    )
    assert [outcome.status for outcome in outcomes] == ["submitted"] * 5
    assert [outcome.job for outcome in outcomes] == jobs
    text = sbatch.read_text()
    for option in (
        "array=0-4%2",
        "partition=long",
        "account=lab",
        "mem=16GB",
        "time=90",
        "cpus-per-task=3",
        "gpus-per-node=1",
        "signal=USR2@60",
        "mail-type=END",
        "job-name=metabench",
    ):
        assert f"#SBATCH --{option}\n" in text, option
    assert "module load cuda" in text
    assert "qos" not in text
    assert [event.text.split(",")[0] for event in events] == [f"is job 42_{i}" for i in range(5)]
    logs = Path(events[0].text.partition("logs to ")[2])
    assert logs.is_relative_to(tmp_path / "R" / ".slurm")


def test_a_run_on_a_cpu_asks_for_no_gpu(tmp_path: Path, sbatch: Path) -> None:
    run(jobs_in(tmp_path, n=1), wait=False, logs="logs")
    text = sbatch.read_text()
    assert "gpus" not in text
    assert "array" not in text
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_a_program_may_submit_twice_in_a_second(
    tmp_path: Path, sbatch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_slurm.time, "strftime", lambda _: "now")
    for _ in range(2):
        run(jobs_in(tmp_path, n=1), wait=False)
    assert len([*(tmp_path / "R" / ".slurm").iterdir()]) == 2


def test_what_slurm_refuses_is_one_sentence(tmp_path: Path, sbatch: Path) -> None:
    (tmp_path / "said").write_text("echo sbatch: error: invalid partition: lnog >&2; exit 1")
    with pytest.raises(UsageError, match="sbatch: error: invalid partition: lnog") as caught:
        run(jobs_in(tmp_path), partition="lnog")
    assert "metabench show slurm" in caught.value.hint


# What a job does -------------------------------------------------------------------------------


def made(task: Task, *, notice: bool) -> tuple[JobOutcome, list[int]]:
    """Call a task as submitit does, whose own handler notes that it is called."""
    requeued: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: requeued.append(number))
    try:
        if notice:
            task.events = Notifying(task.events)  # type: ignore[assignment]
        return task(), requeued
    finally:
        signal.signal(signal.SIGUSR2, before)


class Notifying(type(Path())):  # type: ignore[misc]
    """The path of a file of events that gets the signal of Slurm with the first one."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR2)
        return super().open(*args, **kwargs)


def task_in(folder: Path, **changes: Any) -> Task:
    (job,) = jobs_in(folder, learner="reptile", n=1, meta_steps=3, meta_batch=1)
    return Task(replace(job, **changes), folder / "run.events", folder / "stop")


def test_a_job_that_is_left_alone_makes_its_run(tmp_path: Path) -> None:
    outcome, requeued = made(task_in(tmp_path), notice=False)
    assert (outcome.status, requeued) == ("done", [])


def test_a_signal_saves_the_run_before_submitit_requeues_it(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    outcome, requeued = made(task, notice=True)
    assert (outcome.status, requeued) == ("interrupted", [signal.SIGUSR2])
    store = RunStore.of(task.job.planned.spec, tmp_path / "R")
    assert store.checkpoint.exists()
    record = store.read_record()
    assert record is not None
    assert record.status == "interrupted"


def test_a_wish_to_stop_is_found_in_the_folder(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    task.stop.touch()
    outcome, requeued = made(task, notice=True)
    assert (outcome.status, requeued) == ("interrupted", [])
    assert not (tmp_path / "R").exists()


def test_a_run_whose_own_time_is_over_is_not_requeued(tmp_path: Path) -> None:
    outcome, requeued = made(task_in(tmp_path, time_limit=0.0), notice=False)
    assert (outcome.status, outcome.text, requeued) == ("interrupted", "time limit", [])


def test_a_requeued_run_has_the_rest_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    task = task_in(tmp_path, time_limit=100.0)
    task.began = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: 1030.0)
    assert task.checkpoint().function.job.time_limit == 70.0


# Jobs in processes of this machine -------------------------------------------------------------


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists(),
    reason="this system does not tell the children of a process",
)
def test_an_array_that_is_preempted_is_requeued_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr(on_slurm, "LOOK_SECONDS", 0.1)
    jobs = jobs_in(tmp_path, learner="maml", n=2, meta_steps=300, meta_batch=8)
    before, events, preempted = set(children(os.getpid())), [], set()

    def preempt(event: RunEvent) -> None:
        """When a run has begun to train, signal its job as Slurm does."""
        events.append(event)
        if event.kind == "progress" and event.run_id not in preempted:
            preempted.add(event.run_id)
            index = [job.run_id for job in jobs].index(event.run_id)
            controller = sorted(set(children(os.getpid())) - before)[index]
            for task in children(controller):
                os.kill(task, signal.SIGUSR2)

    outcomes = run(jobs, preempt, cluster="local", jobs=2)
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert preempted == {job.run_id for job in jobs}
    resumed = [event.run_id for event in events if event.text.startswith("resumes at meta-step")]
    assert sorted(resumed) == sorted(preempted)
    logs = "".join(path.read_text() for path in (tmp_path / "R" / ".slurm").rglob("*_log.out"))
    assert logs.count("Requeued job") == 2
    for job in jobs:
        here = replace(job, out=Path("here"))
        run_job(here, CATALOG, emit=lambda _: None, stopped=lambda: False)
        for name in ("episodes.jsonl", "metrics.jsonl", "checkpoints/weights.safetensors"):
            cut, whole = (
                RunStore.of(one.planned.spec, tmp_path / one.out).folder / name
                for one in (job, here)
            )
            assert cut.read_bytes() == whole.read_bytes(), name


SLURM = CATALOG.executor("slurm")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("check", conformance.checks(SLURM, params={"cluster": "local"}), ids=str)
def test_the_contract(check: conformance.Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_slurm, "LOOK_SECONDS", 0.2)
    check()
