"""Executes runs on a Ray cluster, or with a Ray that it starts on this machine.

All nodes must see the folder ``--out``. ``RAY_ADDRESS`` names the cluster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field

from metabench import Frozen, Job, JobOutcome, RunEvent, UsageError, load_catalog, run_job

ASK_SECONDS = 1.0
"""A worker asks this often whether it shall stop."""


class RayParams(Frozen):
    """Parameters of the Ray executor."""

    jobs: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="Number of runs at a time when metabench starts Ray itself; a cluster at "
        "RAY_ADDRESS ignores it.",
    )


class Mailbox:
    """An actor that passes events to the main process, and its request to stop to the workers."""

    def __init__(self) -> None:
        self._events: list[RunEvent] = []
        self._stop = False

    def put(self, event: RunEvent) -> None:
        """Leave an event."""
        self._events.append(event)

    def take(self) -> list[RunEvent]:
        """Hand over all events since the last time."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Ask the workers to save and stop."""
        self._stop = True

    def stopped(self) -> bool:
        """Whether the workers shall stop."""
        return self._stop


class RayExecutor:
    """One Ray task per run, with one CPU and, on CUDA, one GPU each."""

    def __init__(self, params: RayParams) -> None:
        self._params = params

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Run all jobs; see :class:`metabench.Executor`."""
        ray = _import_ray()
        address = os.environ.get("RAY_ADDRESS")
        own = {} if address else {"num_cpus": self._params.jobs}
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, **own)
        box = ray.remote(Mailbox).options(num_cpus=0).remote()
        running = {}
        for job in jobs:
            task = ray.remote(_work).options(
                num_cpus=1, num_gpus=int(job.device.startswith("cuda")), max_retries=0
            )
            running[task.remote(job, box)] = job
        outcomes = {}
        told = False
        while running:
            if stopped() and not told:
                told = True
                ray.get(box.stop.remote())
            ready, _ = ray.wait(list(running), timeout=0.5)
            for event in ray.get(box.take.remote()):
                emit(event)
            for done in ready:
                job = running.pop(done)
                outcomes[job.planned.spec.run_id] = _outcome(ray, done, job)
        return [outcomes[job.planned.spec.run_id] for job in jobs]


def _outcome(ray: Any, done: Any, job: Job) -> JobOutcome:
    try:
        outcome: JobOutcome = ray.get(done)
    except ray.exceptions.RayError as error:
        reason = f"its Ray task ended: {type(error).__name__}"
        return JobOutcome(job, "failed", reason, "Run the same command to resume it.")
    return outcome


def _work(job: Job, box: Any) -> JobOutcome:
    """What a Ray task does."""
    ray = _import_ray()
    asked_at, stop = time.monotonic(), False

    def stopped() -> bool:
        nonlocal asked_at, stop
        if not stop and time.monotonic() - asked_at > ASK_SECONDS:
            asked_at, stop = time.monotonic(), bool(ray.get(box.stopped.remote()))
        return stop

    catalog = load_catalog(job.plugin_files)
    return run_job(job, catalog, emit=lambda event: box.put.remote(event), stopped=stopped)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "The executor ray needs the package ray.", hint='pip install "metabench[ray]"'
        ) from error
    return ray
