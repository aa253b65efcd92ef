"""How planned runs are made: by which executor, where, with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metabench.planning.plan import PlannedRun
    from metabench.plugin.catalog import Catalog
    from metabench.running.engines import EngineName
    from metabench.running.executors import Executor, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class HowToRun:
    """What a user says about how runs are made. It changes none of their numbers.

    Attributes:
        out: the results folder.
        executor: its name.
        jobs: runs at a time; None for one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        engine: what makes the meta-steps.
        threads: CPU threads of each run.
        plugin_files: plugins given by file.
        checkpoint_seconds: least number of seconds between two checkpoints of the training.
    """

    out: Path
    executor: str = "local"
    jobs: int | None = None
    device: str = "auto"
    engine: EngineName = "eager"
    threads: int = 1
    plugin_files: tuple[Path, ...] = ()
    checkpoint_seconds: float = 30.0


def prepare(
    planned: Sequence[PlannedRun], how: HowToRun, catalog: Catalog
) -> tuple[Executor, list[Job]]:
    """The executor of planned runs, and a job for each; all is checked that can be checked here.

    Raises:
        UsageError: when something does not exist here or does not fit.
    """
    from metabench.api.running import executor_of
    from metabench.results.store import require_writable
    from metabench.running.devices import pick_device
    from metabench.running.engines import pick_engine
    from metabench.running.executors import Job
    from metabench.running.precision import check_precision

    executor = executor_of(catalog, how.executor, jobs=how.jobs or 1)
    require_writable(how.out)
    device = pick_device(how.device)
    for precision in {one.spec.precision for one in planned}:
        check_precision(precision, device)
    engine = pick_engine(how.engine, device=device)
    jobs = [
        Job(
            one,
            how.out,
            device,
            how.threads,
            how.plugin_files,
            how.checkpoint_seconds,
            engine,
        )
        for one in planned
    ]
    return executor, jobs
