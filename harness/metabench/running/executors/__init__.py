"""Executors: their contract, and how any of them makes one run.

An executor gets the :class:`Job` of every run of a command. It brings each to a process, and calls
:func:`run_job` there. It carries events to the command, and the wish to stop to the processes.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from metabench.durable import refused
from metabench.errors import MetabenchError, UsageError
from metabench.planning.plan import PlannedRun
from metabench.plugin.blame import described, within_plugin
from metabench.plugin.specs import EventKind, RunEvent

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.running.engines import EngineName
    from metabench.running.ranks.leading import Leader

TIME_LIMIT = "time limit"
"""Why a run was interrupted whose time was over."""


@dataclass(frozen=True, slots=True)
class Job:
    """A planned run, and how it is made. It can be pickled, and sent to another machine.

    Attributes:
        planned: what to run.
        out: the results folder; a relative path is below ``folder``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, as the process that makes it sees them.
        threads: CPU threads of the process.
        plugin_files: plugins given by file, which the process loads as well.
        checkpoint_seconds: least number of seconds between two checkpoints of the training.
        engine: what makes the meta-steps.
        time_limit: seconds after which the run saves its state and stops; None for no limit.
        folder: where the command was given, and relative paths begin.
    """

    planned: PlannedRun
    out: Path
    device: str
    threads: int
    plugin_files: tuple[Path, ...] = ()
    checkpoint_seconds: float = 30.0
    engine: EngineName = "eager"
    time_limit: float | None = None
    folder: Path = field(default_factory=Path.cwd)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.planned.spec.run_id

    @property
    def label(self) -> str:
        """The run in words, for messages."""
        return self.planned.label

    def event(self, kind: EventKind, text: str = "") -> RunEvent:
        """An event of the run, such as ``run-failed`` where its process was lost."""
        return RunEvent(kind=kind, run_id=self.run_id, label=self.label, text=text)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job ended.

    Attributes:
        job: the job.
        status: ``done``; ``failed``; ``interrupted``: its state is saved, and it resumes when the
            job is made again; ``submitted``: an executor that does not wait for its runs handed it
            over; ``elsewhere``: another process is making it.
        text: why it failed or was interrupted, such as ``time limit``.
        hint: what the user can do about it, in a sentence.
    """

    job: Job
    status: Literal["done", "failed", "interrupted", "submitted", "elsewhere"]
    text: str = ""
    hint: str = ""


@runtime_checkable
class Executor(Protocol):
    """Makes the runs of a command, each by :func:`metabench.run_job` in a process of its choice.

    A process may be on another machine, if it has the same metabench, plugins and data, and sees
    the folders ``job.folder`` and ``job.out``. A run writes its own results there. It can be killed
    at any time: making its job again resumes it from its last checkpoint, and gives the same bytes.
    """

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Make all runs, and return how each ended, in the order of the jobs.

        A run that fails, or whose process is lost, is an outcome and does not stop the others.

        Args:
            jobs: one for each run.
            emit: called with each event of each run, in the order of the run, while it goes on;
                in the process and the thread that call the executor.
            stopped: whether the user asked to stop; ask it about once a second. From then on no
                job is begun, and the runs that are made learn of it by their own ``stopped``. The
                executor waits until they have saved their state. What is not done is
                ``interrupted``.

        Raises:
            UsageError: before any job, where the executor cannot work here: its package or its
                cluster is missing.
        """
        ...


def one_by_one(
    jobs: Iterable[Job], make: Callable[[Job], JobOutcome], *, stopped: Callable[[], bool]
) -> list[JobOutcome]:
    """Make jobs one after another; from the wish to stop on, they are ``interrupted`` unmade.

    Args:
        jobs: in their order.
        make: makes one of them.
        stopped: whether the user asked to stop.
    """
    return [JobOutcome(job, "interrupted") if stopped() else make(job) for job in jobs]


def run_job(
    job: Job,
    catalog: Catalog | None = None,
    *,
    emit: Callable[[RunEvent], None],
    stopped: Callable[[], bool],
    leader: Leader | None = None,
) -> JobOutcome:
    """Make one run in this process, and return how it ended. It raises nothing.

    Args:
        job: the run.
        catalog: the plugins; by default the installed ones and those of ``job.plugin_files``.
        emit: called with each event, often a few hundred times, in this thread.
        stopped: called between two steps, in this thread: it must be quick. If it returns True, the
            run saves its state, and the outcome is ``interrupted``.
        leader: of other processes that make the run as well, see ``metabench run --ranks``.
    """
    from metabench.results.store import Elsewhere
    from metabench.running.loops import Interrupted

    stop, kinds = _Stop(stopped, job.time_limit), set()

    def say(event: RunEvent) -> None:
        kinds.add(event.kind)
        emit(event)

    try:
        _run(job, catalog, emit=say, stop=stop, leader=leader)
    except Interrupted:
        return JobOutcome(job, "interrupted", stop.why)
    except Elsewhere as error:
        emit(job.event("message", "another process is making it"))
        return JobOutcome(job, "elsewhere", str(error), "Wait for it, or choose another --out.")
    except (Exception, SystemExit) as error:
        # A plugin may raise anything; the run is marked, and the others go on.
        outcome = _failed(job, error)
        if "run-failed" not in kinds:
            emit(job.event("run-failed", outcome.text))
        return outcome
    return JobOutcome(job, "done")


class _Stop:
    """Whether a run shall stop, because somebody asks or its time is over, and why."""

    def __init__(self, stopped: Callable[[], bool], time_limit: float | None) -> None:
        self._stopped = stopped
        self._end = None if time_limit is None else time.monotonic() + time_limit
        self.why = ""

    def __call__(self) -> bool:
        if self._stopped():
            self.why = ""
            return True
        if self._end is not None and time.monotonic() >= self._end:
            self.why = TIME_LIMIT
            return True
        return False


def _run(
    job: Job,
    catalog: Catalog | None,
    *,
    emit: Callable[[RunEvent], None],
    stop: _Stop,
    leader: Leader | None,
) -> None:
    import torch

    from metabench.plugin.catalog import load_catalog
    from metabench.running.devices import pick_device, prepare
    from metabench.running.engines import pick_engine
    from metabench.running.loops import Control
    from metabench.running.precision import check_precision, computing_in
    from metabench.running.run import RunExecution

    precision = job.planned.spec.precision
    with _in_folder(job.folder):
        picked = pick_device(job.device)
        check_precision(precision, picked)
        device = torch.device(picked)
        prepare(device, job.threads)
        run = RunExecution(
            job.planned,
            load_catalog(job.plugin_files) if catalog is None else catalog,
            out=job.out,
            device=device,
            control=Control(
                emit=emit,
                stopped=stop,
                why=lambda: stop.why,
                checkpoint_seconds=job.checkpoint_seconds,
                engine=pick_engine(job.engine, device=picked),
                leader=leader,
            ),
        )
        with computing_in(precision):
            run()


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """Work in a folder; it is that of the process already unless another machine sent the job.

    Raises:
        UsageError: when this machine does not have it.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{platform.node()} does not have the folder {folder}, in which the command was given.",
            hint="Give the command in a folder that all machines see.",
        )
    if folder == Path.cwd():  # which is of the whole process, and left alone in a thread
        yield
        return
    with chdir(folder):
        yield


def _failed(job: Job, error: Exception | SystemExit) -> JobOutcome:
    if isinstance(error, MetabenchError):
        return JobOutcome(job, "failed", error.message, error.hint)
    if said := refused(error, job.out):
        text, hint = said
        again = f"{hint.rstrip('.')}, and run the same command to resume."
        return JobOutcome(job, "failed", text, again)
    told = type(error), error, within_plugin(error)
    logging.getLogger(__name__).error("%s failed", job.label, exc_info=told)
    return JobOutcome(job, "failed", described(error))
