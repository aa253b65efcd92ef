"""Executes runs on a Slurm cluster through submitit: an array with one job for each run.

A job that Slurm is about to end, for a job of more priority or because its time is over, gets a
signal. The run then saves its state, and its job goes back into the queue and goes on there.
Workers leave events in files beside their logs, and look there for the wish to stop.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pydantic import Field

from metabench import Frozen, Job, JobOutcome, RunEvent, UsageError, run_job
from metabench_plugins.executors.event_file import EventFile

LONGEST_ARRAY = 1000
"""Jobs of one array. Slurm takes 1,001 unless it is set up for more."""
LOOK_SECONDS = 1.0
"""The command looks for events this often, and a worker for the wish to stop."""
STOP = "stop"
"""The file that says that all runs shall stop."""


class SlurmParams(Frozen):
    """Parameters of the Slurm executor."""

    jobs: int = Field(
        default=100, ge=1, le=100_000, description="How many runs Slurm makes at the same time."
    )
    partition: str = Field(default="", description="Partition; empty for the cluster's default.")
    account: str = Field(default="", description="Account that is charged.")
    qos: str = Field(default="", description="Quality of service.")
    constraint: str = Field(default="", description="Features that a node must have.")
    hours: float = Field(
        default=24.0,
        gt=0,
        le=10_000,
        description="Time limit of a Slurm job in hours. A run that takes longer goes back into "
        "the queue and goes on.",
    )
    requeues: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="How often a run may go back into the queue because its time is over.",
    )
    notice: int = Field(
        default=120,
        ge=1,
        le=86_400,
        description="How many seconds before its end a job is told to save its state.",
    )
    gpus: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="GPUs of a run; by default 1 with --device cuda, and otherwise none.",
    )
    cpus: int | None = Field(
        default=None, ge=1, le=1024, description="CPUs of a run; by default as many as --threads."
    )
    memory_gb: float | None = Field(
        default=None, gt=0, le=100_000, description="Memory of a run; by default the cluster's."
    )
    setup: tuple[str, ...] = Field(
        default=(), description="Shell commands of a job before the run, such as module load cuda."
    )
    sbatch: dict[str, str | int | bool] = Field(
        default_factory=dict,
        description="Further options of sbatch, such as {mail-type: END}.",
    )
    logs: str = Field(
        default="", description="Folder of the logs; by default .slurm in the results folder."
    )
    wait: bool = Field(
        default=True,
        description="Whether the command waits for the runs and shows their progress.",
    )
    cluster: Literal["slurm", "local"] = Field(
        default="slurm",
        description="local makes the runs in processes of this machine, to try it without Slurm.",
    )


class SlurmExecutor:
    """One Slurm job for each run, in arrays."""

    def __init__(self, params: SlurmParams) -> None:
        self._params = params
        self._submitit = import_submitit()
        if params.cluster == "slurm" and not (shutil.which("srun") and shutil.which("sbatch")):
            raise UsageError(
                "Slurm is not on this machine: it has no command sbatch.",
                hint="Give the command where sbatch works, or try it with "
                "--set executor.cluster=local.",
            )

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Run all jobs; see :class:`metabench.Executor`."""
        if not jobs:
            return []
        folder = self._folder(jobs[0])
        cluster = self._open(self._submitit, folder, jobs[0])
        runs: list[_Run] = []
        waiting = list(jobs)
        while waiting or any(run.outcome is None for run in runs):
            while waiting and not stopped() and (n := self._room(runs)):
                batch, waiting = waiting[:n], waiting[n:]
                found = zip(batch, _submit(cluster, batch, folder, emit), strict=True)
                queued = self._params.cluster == "slurm"
                runs += [_Run(job, folder, handle, queued=queued) for job, handle in found]
            if not self._params.wait and not waiting:
                return [JobOutcome(job, "submitted") for job in jobs]
            if stopped():
                (folder / STOP).touch()
                waiting = []
            for run in runs:
                run.look(emit, stopping=stopped())
            time.sleep(LOOK_SECONDS)
        outcomes = {run.job.run_id: run.outcome for run in runs}
        return [outcomes.get(job.run_id) or _interrupted(job) for job in jobs]

    def _room(self, runs: Sequence[_Run]) -> int:
        """How many runs may be submitted now. Slurm itself keeps to ``jobs`` within an array."""
        if self._params.cluster == "slurm":
            return LONGEST_ARRAY
        return self._params.jobs - sum(run.outcome is None for run in runs)

    def _folder(self, job: Job) -> Path:
        """A new folder for logs, events and what submitit needs."""
        logs = Path(self._params.logs or job.out / ".slurm")
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        folder = job.folder / logs / name
        folder.mkdir(parents=True)
        return folder

    def _open(self, submitit: Any, folder: Path, job: Job) -> Any:
        """The executor of submitit, with all parameters."""
        params = self._params
        cluster = submitit.AutoExecutor(
            folder,
            cluster=params.cluster,
            slurm_max_num_timeout=params.requeues,
            local_max_num_timeout=params.requeues,
        )
        gpus = int(job.device.startswith("cuda")) if params.gpus is None else params.gpus
        cluster.update_parameters(
            name="metabench",
            timeout_min=max(1, math.ceil(params.hours * 60)),
            cpus_per_task=params.cpus or job.threads,
            gpus_per_node=gpus or None,
            mem_gb=params.memory_gb,
            slurm_partition=params.partition or None,
            slurm_account=params.account or None,
            slurm_qos=params.qos or None,
            slurm_constraint=params.constraint or None,
            slurm_setup=[*params.setup] or None,
            slurm_additional_parameters=params.sbatch or None,
            slurm_signal_delay_s=params.notice,
            slurm_array_parallelism=params.jobs,
        )
        return cluster


class _Run:
    """A run that was submitted, seen from the command.

    Args:
        job: the run.
        folder: where its events are.
        handle: submitit's of the job.
        queued: whether it may have to wait for its turn.
    """

    def __init__(self, job: Job, folder: Path, handle: Any, *, queued: bool) -> None:
        self.job = job
        self.outcome: JobOutcome | None = None
        self._handle = handle
        self._queued = queued
        self._events = _events_of(job, folder)

    def look(self, emit: Callable[[RunEvent], None], *, stopping: bool) -> None:
        """Pass on new events, and note the outcome when there is one."""
        if self.outcome is not None:
            return
        ended = self._handle.done()
        for event in self._events.read():
            emit(event)
        if ended:
            self.outcome = self._ended(emit, stopping=stopping)
        elif stopping and self._queued and not self._events.path.exists():
            self._handle.cancel(check=False)
            self.outcome = _interrupted(self.job)

    def _ended(self, emit: Callable[[RunEvent], None], *, stopping: bool) -> JobOutcome:
        if stopping and not self._handle.paths.result_pickle.exists():  # a Ctrl-C for all
            return _interrupted(self.job)
        try:
            outcome: JobOutcome = self._handle.result()
        except Exception as error:  # submitit has several, and the cluster others
            logging.getLogger(__name__).debug("%s was lost: %s", self.job.label, error)
            text = f"its job {self._handle.job_id} was lost ({self._handle.state})"
            emit(self.job.event("run-failed", text))
            hint = f"See {self._handle.paths.stderr}. Run the same command to resume it."
            return JobOutcome(self.job, "failed", text, hint)
        return outcome


def _submit(
    cluster: Any, jobs: Sequence[Job], folder: Path, emit: Callable[[RunEvent], None]
) -> list[Any]:
    """Submit jobs as an array, and return submitit's handle of each."""
    tasks = [Task(job, _events_of(job, folder).path, folder / STOP) for job in jobs]
    try:
        handles: list[Any] = cluster.submit_array(tasks)
    except Exception as error:  # submitit passes on what sbatch says
        said = [line.strip() for line in str(error).splitlines() if "error:" in line]
        raise UsageError(
            f"Slurm does not take the runs: {said[-1] if said else error}",
            hint="`metabench show slurm` lists the parameters of --set executor.NAME=VALUE.",
        ) from error
    for job, handle in zip(jobs, handles, strict=True):
        emit(job.event("message", f"is job {handle.job_id}, which logs to {handle.paths.stdout}"))
    return handles


def _events_of(job: Job, folder: Path) -> EventFile:
    return EventFile(folder / f"{job.run_id}.events")


def _interrupted(job: Job) -> JobOutcome:
    return JobOutcome(job, "interrupted")


@dataclass
class Task:
    """What a job of Slurm does. submitit calls it, and ``checkpoint`` before it requeues the job.

    Attributes:
        job: the run.
        events: the file of its events.
        stop: the file that says that all runs shall stop.
        began: when it was called.
    """

    job: Job
    events: Path
    stop: Path
    began: float = 0.0

    def __call__(self) -> JobOutcome:
        """Make the run, and go back into the queue when Slurm says so."""
        self.began, looked = time.monotonic(), -math.inf
        stop = self.stop.exists()
        if stop:
            return _interrupted(self.job)

        def stopped() -> bool:
            nonlocal looked, stop
            now = time.monotonic()
            if now - looked > LOOK_SECONDS:
                looked, stop = now, self.stop.exists()
            return stop or bool(notices)

        with _noticing() as (notices, requeue):
            outcome = run_job(self.job, emit=EventFile(self.events).write, stopped=stopped)
            if not notices or stop or outcome.status != "interrupted" or outcome.text:
                return outcome
            try:
                requeue()
            except Exception as error:  # it was requeued too often
                return replace(outcome, text=str(error))
        return outcome

    def checkpoint(self) -> Any:
        """What the job does when it is started again, with the time that is left of its limit."""
        from submitit.helpers import DelayedSubmission

        limit = self.job.time_limit
        if limit is not None:
            limit = max(0.0, limit - (time.monotonic() - self.began))
        return DelayedSubmission(replace(self, job=replace(self.job, time_limit=limit)))


@contextmanager
def _noticing() -> Iterator[tuple[list[int], Callable[[], None]]]:
    """Note the signal of Slurm, on which submitit would leave in the middle of a step.

    Yields:
        What was noted, and what submitit does: requeue the job and end the process.
    """
    number = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
    notices: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        notices.append(number)

    theirs: Any = signal.signal(number, note)
    try:
        yield notices, lambda: theirs(number, None)
    finally:
        signal.signal(number, theirs)


def import_submitit() -> Any:
    """The package submitit, which here says nothing but errors.

    Raises:
        UsageError: when it is not installed.
    """
    try:
        import submitit
    except ImportError as error:
        raise UsageError(
            "The executor slurm needs the package submitit.",
            hint='pip install "metabench[slurm]"',
        ) from error
    logging.getLogger("submitit").setLevel(logging.ERROR)
    return submitit
