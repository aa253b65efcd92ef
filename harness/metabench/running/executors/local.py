"""Executes runs on this machine: in this process, or at the same time in one process each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from pydantic import Field

from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import RunEvent
from metabench.running.devices import visible_gpus
from metabench.running.executors import Job, JobOutcome, one_by_one, run_job
from metabench.running.interrupt import StopRequest, held_back, let_in
from metabench.values import Frozen


class LocalParams(Frozen):
    """Parameters of the local executor."""

    jobs: int = Field(
        default=1, ge=1, le=1024, description="How many runs are executed at the same time."
    )


class LocalExecutor:
    """One process per run, ``jobs`` of them at a time; a single run needs no other process.

    With one process per run, a run that is killed does not end other runs. On ``cuda``, each
    process sees one GPU, that on which the fewest runs are made.
    """

    def __init__(self, params: LocalParams) -> None:
        self._params = params

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Run all jobs; see :class:`metabench.running.executors.Executor`."""
        if self._params.jobs == 1 or len(jobs) <= 1:
            return self._here(jobs, emit=emit, stopped=stopped)
        return self._beside(jobs, emit=emit, stopped=stopped)

    def _here(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        catalog = load_catalog(jobs[0].plugin_files) if jobs else None
        make = partial(run_job, catalog=catalog, emit=emit, stopped=stopped)
        return one_by_one(jobs, make, stopped=stopped)

    def _beside(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        waiting, running = list(jobs), dict[Connection, _Worker]()
        outcomes: list[JobOutcome] = []
        gpus = _Gpus(visible_gpus() if any(job.device == "cuda" for job in jobs) else ())
        told = False
        while waiting or running:
            if stopped() and not told:
                told = True
                outcomes += [JobOutcome(job, "interrupted") for job in waiting]
                waiting.clear()
                for worker in running.values():
                    worker.interrupt()
            while waiting and len(running) < self._params.jobs:
                job = waiting.pop(0)
                worker = _Worker(job, gpu=gpus.take() if job.device == "cuda" else "")
                running[worker.messages] = worker
            # A short wait, so that a Ctrl-C is seen.
            for ready in wait(list(running), timeout=0.2):
                assert isinstance(ready, Connection)
                outcome = running[ready].receive(emit, stopping=told)
                if outcome is not None:
                    outcomes.append(outcome)
                    gpus.give_back(running.pop(ready).gpu)
        found = {outcome.job.run_id: outcome for outcome in outcomes}
        return [found[job.run_id] for job in jobs]


class _Gpus:
    """How many runs are made on each GPU. Without a GPU, runs get the one that has no name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._runs = dict.fromkeys(names or [""], 0)

    def take(self) -> str:
        """The GPU with the fewest runs, for one more."""
        name = min(self._runs, key=self._runs.__getitem__)
        self._runs[name] += 1
        return name

    def give_back(self, name: str) -> None:
        """Note that a run has ended."""
        if name in self._runs:
            self._runs[name] -= 1


class _Worker:
    """A process that runs one job, seen from the main process.

    Args:
        job: its job.
        gpu: the only GPU that it sees; empty for all.
    """

    def __init__(self, job: Job, *, gpu: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._job = job
        self.gpu = gpu
        self.messages, theirs = context.Pipe(duplex=False)
        self._process: SpawnProcess = context.Process(
            target=_main, args=(job, theirs, gpu), daemon=True
        )
        with held_back():
            self._process.start()
        theirs.close()

    def receive(self, emit: Callable[[RunEvent], None], *, stopping: bool) -> JobOutcome | None:
        """Pass on one event, or hand back the outcome when the process has ended."""
        try:
            message = self.messages.recv()
        except EOFError:
            self._process.join()
            if stopping:  # a signal can come before the process can listen to it
                return JobOutcome(self._job, "interrupted")
            code = self._process.exitcode
            text = f"its process ended with exit code {code}"
            emit(self._job.event("run-failed", text))
            return JobOutcome(self._job, "failed", text, "Run the same command to resume it.")
        if isinstance(message, JobOutcome):
            self._process.join()
            return message
        emit(message)
        return None

    def interrupt(self) -> None:
        """Ask the process to save and stop."""
        if self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)


def _main(job: Job, messages: Connection, gpu: str) -> None:
    """What a worker process does."""
    if gpu:  # CUDA reads it when it is first used, which is later
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    # What plugins print is nothing that anybody asked the command for.
    with redirect_stdout(sys.stderr), StopRequest(patient=True) as stop:
        let_in()

        def emit(event: RunEvent) -> None:
            try:
                messages.send(event)
            except OSError:  # the main process is gone: save and stop
                stop.ask()

        outcome = run_job(job, emit=emit, stopped=stop)
        with suppress(OSError):
            messages.send(outcome)
