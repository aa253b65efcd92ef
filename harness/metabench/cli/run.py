"""``metabench run``: learners x settings x seeds on one suite."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.planning.plan import PlannedRun
    from metabench.running.executors import Job, JobOutcome


LAST_SEED = 2**31 - 1
"""The largest seed of a run."""

MAX_SEEDS = 1000
"""Of one command."""


class Data(StrEnum):
    """What ``--data`` may be."""

    REAL = "real"
    SYNTHETIC = "synthetic"


def run(
    learner: Annotated[str, typer.Option(help="Learners, separated by commas.")],
    suite: Annotated[str, typer.Option(help="The benchmark; see `metabench list suites`.")],
    setting: Annotated[
        str, typer.Option(help="Settings, separated by commas, such as 5w1s. [default: the first]")
    ] = "",
    budget: Annotated[
        str,
        typer.Option(
            help="A budget of the suite, such as smoke, lite or paper; see `metabench show SUITE`."
        ),
    ] = "lite",
    space: Annotated[
        str, typer.Option(help="The network; see `metabench list spaces`. [default: the suite's]")
    ] = "",
    strategy: Annotated[str, typer.Option(help="The NAS strategy, for learners that search.")] = "",
    seed: Annotated[str, typer.Option(help="Seeds: 0, or 0..4, or 0,2,5..7; 1000 at most.")] = "0",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SCOPE.NAME=VALUE",
            help="Change a parameter of learner, space, strategy, data, protocol or budget.",
        ),
    ] = None,
    data: Annotated[Data, typer.Option(help="Real files, or generated look-alikes.")] = Data.REAL,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Meta-test episodes per source; stamps the results.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads of each process, at most one per CPU.")
    ] = 1,
    executor: Annotated[str, typer.Option(help="What makes the runs.")] = "local",
    jobs: Annotated[int, typer.Option(min=1, help="How many runs are made side by side.")] = 1,
    out: Annotated[Path, typer.Option(help="The results folder.")] = Path("results/local"),
    checkpoint_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Save the state of training this often.")
    ] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the runs.")] = False,
) -> None:
    """Run learners on a suite. The same command resumes; what is done is not run again."""
    from metabench.cli.context import catalog, plugin_files
    from metabench.planning.overrides import parse_changes
    from metabench.planning.plan import RunRequest, plan, suite_file
    from metabench.planning.suite import load_suite
    from metabench.planning.unknown_names import unknown_names_in

    _check_threads(threads)
    found = catalog()
    request = RunRequest(
        learners=_names(learner, "--learner"),
        suite=suite,
        settings=_names(setting, "--setting") if setting else (),
        budget=budget,
        space=space or None,
        strategy=strategy or None,
        seeds=parse_seeds(seed),
        changes=parse_changes(set_ or []),
        data=data.value,
        limit=limit,
        plugin_files=plugin_files(),
    )
    runs = plan(request, found)
    for sentence in unknown_names_in(load_suite(suite_file(suite, found)), found):
        typer.secho(f"In suite {suite}: {sentence}", fg="yellow", err=True)
    if dry_run:
        _print_plan(runs)
        return
    from metabench.cli.progress import progress
    from metabench.plugin.specs import resolve
    from metabench.results.store import require_writable
    from metabench.running.devices import pick_device
    from metabench.running.executors import Executor, Job
    from metabench.running.interrupt import StopRequest

    require_writable(out)
    picked = pick_device(device)
    spec = found.executor(executor)
    work: Executor = resolve(spec.factory)(spec.params_model().model_validate({"jobs": jobs}))
    todo = [
        Job(planned, out, picked, threads, plugin_files(), checkpoint_every) for planned in runs
    ]
    with progress(len(todo)) as show, StopRequest() as stopped:

        def emit(event: object) -> None:
            show(event)  # type: ignore[arg-type]
            found.emit(event)  # type: ignore[arg-type]

        outcomes = work(todo, emit=emit, stopped=stopped)
    _finish(outcomes, todo)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read a list of seeds.

    >>> parse_seeds("0..2,7")
    (0, 1, 2, 7)

    Raises:
        UsageError: for what is no list of seeds, a seed out of bounds, or too many of them.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise UsageError(
                f"--seed {text!r} is not a list of seeds.", hint="For example 0, or 0..4, or 0,2,5."
            )
        start, stop = _seed(first), _seed(last if dots else first)
        # Counted before the range is built: it may be longer than memory.
        if len(seeds) + stop - start >= MAX_SEEDS:
            raise UsageError(
                f"--seed {text!r} names more than {MAX_SEEDS} seeds.",
                hint=f"One command takes {MAX_SEEDS}; give the others to another.",
            )
        seeds += range(start, stop + 1)
    if not seeds:
        raise UsageError(f"--seed {text!r} names no seed.", hint="A range goes upwards: 0..4.")
    return tuple(dict.fromkeys(seeds))


def _check_threads(n: int) -> None:
    """Refuse more threads than CPUs: they wait for each other, and far too many end the process."""
    n_cpus = os.cpu_count() or 1
    if n > n_cpus:
        raise UsageError(
            f"--threads {n} is more than the {n_cpus} CPUs of this machine.",
            hint="One thread per process and as many --jobs as CPUs is fastest for small tasks.",
        )


def _seed(digits: str) -> int:
    short = digits.lstrip("0") or "0"
    if len(short) > len(str(LAST_SEED)) or int(short) > LAST_SEED:
        named = digits if len(digits) <= 20 else f"{digits[:20]}..."
        raise UsageError(f"--seed {named} is too large.", hint=f"Seeds go from 0 to {LAST_SEED}.")
    return int(short)


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{option} names nothing.")
    return names


def _print_plan(runs: Sequence[PlannedRun]) -> None:
    for planned in runs:
        typer.echo(f"{planned.spec.run_id}  {planned.command}")


def _finish(outcomes: Sequence[JobOutcome], jobs: Sequence[Job]) -> None:
    """Say how it ended and what to do next; exit 1 if a run failed, 130 if interrupted."""
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("done", "failed", "interrupted")
    }
    for outcome in outcomes:
        if outcome.status == "failed":
            typer.secho(f"Failed: {outcome.job.planned.label}: {outcome.text}", fg="red", err=True)
            if outcome.hint:
                typer.echo(outcome.hint, err=True)
    typer.echo(", ".join(f"{n} {status}" for status, n in counts.items() if n) + ".", err=True)
    if counts["interrupted"]:
        import shlex
        import sys

        again = shlex.join(["metabench", *sys.argv[1:]])
        typer.echo(f"The state is saved. Resume with:\n  {again}", err=True)
        raise typer.Exit(130)
    if counts["done"]:
        typer.echo(f"Table: metabench report {jobs[0].out}", err=True)
    if counts["failed"]:
        raise typer.Exit(1)
