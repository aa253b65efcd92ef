"""How planned runs are made: by which executor, where, with what."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.planning.plan import PlannedRun
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.specs import ExecutorSpec
    from metabench.running.engines import EngineName
    from metabench.running.executors import Executor, Job
    from metabench.running.ranks.torchrun import World


@dataclass(frozen=True, slots=True, kw_only=True)
class HowToRun:
    """What a user says about how runs are made. It changes none of their numbers.

    Attributes:
        out: the results folder.
        executor: its name.
        executor_params: its parameters, but for ``jobs``.
        jobs: runs at a time; None for the executor's default.
        ranks: processes that share the tasks of each meta-step.
        world: the processes that torchrun has started; None to start them.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        engine: what makes the meta-steps.
        threads: CPU threads of each process.
        plugin_files: plugins given by file.
        checkpoint_seconds: least number of seconds between two checkpoints of the training.
        time_limit: seconds after which a run saves its state and stops; None for no limit.
    """

    out: Path
    executor: str = "local"
    executor_params: Mapping[str, Any] = field(default_factory=dict)
    jobs: int | None = None
    ranks: int = 1
    world: World | None = None
    device: str = "auto"
    engine: str = "eager"
    threads: int = 1
    plugin_files: tuple[Path, ...] = ()
    checkpoint_seconds: float = 30.0
    time_limit: float | None = None


def prepare(
    planned: Sequence[PlannedRun], how: HowToRun, catalog: Catalog
) -> tuple[Executor, list[Job]]:
    """The executor of planned runs, and a job for each; all is checked that can be checked here.

    Raises:
        UsageError: when something does not exist here or does not fit.
    """
    from metabench.results.store import require_writable
    from metabench.running.executors import Job

    executor, device, engine = check(planned, how, catalog)
    require_writable(how.out)
    jobs = [
        Job(
            one,
            how.out,
            device,
            how.threads,
            how.plugin_files,
            how.checkpoint_seconds,
            engine,
            how.time_limit,
        )
        for one in planned
    ]
    return executor, jobs


def check(
    planned: Sequence[PlannedRun], how: HowToRun, catalog: Catalog
) -> tuple[Executor, str, EngineName]:
    """The executor, device and engine of planned runs. No file or folder is made.

    Raises:
        UsageError: when something does not exist here or does not fit.
    """
    from metabench.planning.ranks import check_ranks
    from metabench.results.store import require_outside_of_runs
    from metabench.running.devices import check_lent, pick_device
    from metabench.running.engines import pick_engine
    from metabench.running.precision import check_precision

    require_outside_of_runs(how.out)
    for one in planned:
        _check_text(one.command_into(how.out))
    spec = catalog.executor(how.executor)
    executor = executor_of(spec, how.executor_params, jobs=how.jobs)
    check_ranks(planned, catalog, how.ranks)
    device, engine = how.device, pick_engine(how.engine)
    if spec.remote:
        check_lent(device, executor=spec.name)
    else:
        _check_threads(how.threads)
        device = pick_device(device)
        engine = pick_engine(engine, device=device)
        for precision in {one.spec.precision for one in planned}:
            check_precision(precision, device)
    if how.ranks > 1:
        executor = shared_executor(how.ranks, device=device, engine=engine, world=how.world)
    return executor, device, engine


def executor_of(spec: ExecutorSpec, params: Mapping[str, Any], *, jobs: int | None) -> Executor:
    """Build an executor; ``jobs`` is a parameter that has an option of its own.

    Raises:
        UsageError: when a parameter does not exist or is out of bounds.
    """
    from metabench.planning.networks import built
    from metabench.planning.validation import validated
    from metabench.plugin.specs import resolve

    if jobs is not None:
        if "jobs" in params:
            raise UsageError(
                "--jobs and --set executor.jobs both say how many runs are made at a time.",
                hint="Leave one of them out.",
            )
        if "jobs" not in spec.params_model().model_fields:
            raise UsageError(
                f"The executor {spec.name} does not take --jobs.",
                hint=f"`metabench show {spec.name}` lists its parameters.",
            )
        params = {**params, "jobs": jobs}
    checked = validated(spec.params_model(), params, what="executor", owner=spec.name)
    made: Executor = built(
        f"Executor {spec.name}", lambda: resolve(spec.factory)(checked), methods=("__call__",)
    )
    return made


def shared_executor(
    ranks: int, *, device: str, engine: EngineName, world: World | None
) -> Executor:
    """An executor that lets several processes share the meta-steps of each run.

    Args:
        ranks: how many processes there are.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        engine: what the user asks for.
        world: the processes that torchrun has started; None to start them.

    Raises:
        UsageError: when the engine cannot be shared, or there are too few GPUs.
    """
    from metabench.running.engines import refuse_programs
    from metabench.running.ranks.executor import SharedExecutor, TorchrunExecutor, check_devices

    refuse_programs(engine, ranks=ranks)
    if world is not None:
        return TorchrunExecutor(world, device)
    check_devices(device, ranks)
    return SharedExecutor(ranks)


def _check_text(command: str) -> None:
    """Refuse what a record cannot hold: the names of its command are text in UTF-8."""
    try:
        command.encode()
    except UnicodeEncodeError as error:
        word = next(word for word in shlex.split(command) if not _is_text(word))
        raise UsageError(
            f"The name {word!r} is not text in UTF-8, so no record can hold it.",
            hint="Rename the file, or choose another folder.",
        ) from error


def _is_text(word: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in word)


def _check_threads(n: int) -> None:
    """Refuse more threads than CPUs: they are slower, and far too many crash the process."""
    n_cpus = os.cpu_count() or 1
    if n > n_cpus:
        raise UsageError(
            f"--threads {n} is more than the {n_cpus} CPUs of this machine.",
            hint="For small tasks, one thread per process and as many --jobs as CPUs is fastest.",
        )
