"""Executors: their contract, and the work that all of them share."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from metabench.errors import MetabenchError
from metabench.planning.plan import PlannedRun
from metabench.plugin.specs import RunEvent

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.running.engines import EngineName
    from metabench.running.ranks.leading import Leader


NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""What the operating system says where a disk is full, broken or read-only."""


@dataclass(frozen=True, slots=True)
class Job:
    """A planned run, the device to run it on and the folder to write to; it can be pickled.

    Attributes:
        planned: what to run.
        out: the results folder.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        threads: CPU threads of the process.
        plugin_files: plugins given by file, which the worker loads as well.
        checkpoint_seconds: least number of seconds between two checkpoints of the training.
        engine: what makes the meta-steps.
    """

    planned: PlannedRun
    out: Path
    device: str
    threads: int
    plugin_files: tuple[Path, ...] = ()
    checkpoint_seconds: float = 30.0
    engine: EngineName = "eager"


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job ended."""

    job: Job
    status: Literal["done", "failed", "interrupted"]
    text: str = ""
    hint: str = ""


@runtime_checkable
class Executor(Protocol):
    """Runs jobs and reports their events in the calling process."""

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Run all jobs; one that fails does not stop the others."""
        ...


def run_job(
    job: Job,
    catalog: Catalog,
    *,
    emit: Callable[[RunEvent], None],
    stopped: Callable[[], bool],
    leader: Leader | None = None,
) -> JobOutcome:
    """Run one job in this process, and return how it ended.

    With a leader, other processes make it as well.
    """
    import logging

    import torch

    from metabench.running.devices import prepare
    from metabench.running.loops import Control, Interrupted
    from metabench.running.precision import computing_in
    from metabench.running.run import RunExecution

    device = torch.device(job.device)
    prepare(device, job.threads)
    run = RunExecution(
        job.planned,
        catalog,
        out=job.out,
        device=device,
        control=Control(
            emit=emit,
            stopped=stopped,
            checkpoint_seconds=job.checkpoint_seconds,
            engine=job.engine,
            leader=leader,
        ),
    )
    try:
        with computing_in(job.planned.spec.precision):
            run()
    except Interrupted:
        return JobOutcome(job, "interrupted")
    except MetabenchError as error:
        return JobOutcome(job, "failed", error.message, error.hint)
    except OSError as error:
        if error.errno not in NO_SPACE:
            logging.getLogger(__name__).exception("%s failed", job.planned.label)
            return JobOutcome(job, "failed", f"{type(error).__name__}: {error}")
        where = error.filename or job.out
        return JobOutcome(
            job,
            "failed",
            f"cannot write to {where}: {error.strerror}",
            "Free some space there, and run the same command to resume.",
        )
    except Exception as error:
        # A plugin may raise anything; the run is marked, and the others go on.
        logging.getLogger(__name__).exception("%s failed", job.planned.label)
        return JobOutcome(job, "failed", f"{type(error).__name__}: {error}")
    return JobOutcome(job, "done")
