"""``metabench run``: learners x settings x seeds on one suite."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.screen import say
from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.planning.plan import PlannedRun
    from metabench.running.executors import Job, JobOutcome


LAST_SEED = 2**31 - 1
"""The largest seed of a run."""

MAX_SEEDS = 1000
"""The most seeds of one command."""


class Data(StrEnum):
    """The values of ``--data``."""

    REAL = "real"
    SYNTHETIC = "synthetic"


class InPrecision(StrEnum):
    """The values of ``--precision``."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    BF16 = "bf16"


def run(
    learner: Annotated[
        str, typer.Option(help="Learners, separated by commas; see `metabench list learners`.")
    ],
    suite: Annotated[
        str,
        typer.Option(
            help="Name of a suite, see `metabench list suites`, or the path of a suite file."
        ),
    ],
    setting: Annotated[
        str,
        typer.Option(
            help="Settings of the suite, separated by commas, such as 5w1s. [default: the first]"
        ),
    ] = "",
    budget: Annotated[
        str,
        typer.Option(
            help="How much compute: a budget of the suite, such as smoke, lite or paper; see "
            "`metabench show SUITE`."
        ),
    ] = "lite",
    network: Annotated[
        str,
        typer.Option(
            help="The network to train; see `metabench list networks`. [default: the suite's]"
        ),
    ] = "",
    strategy: Annotated[
        str,
        typer.Option(
            help="The NAS strategy, for a searched network; see `metabench list strategies`. "
            "[default: the suite's]"
        ),
    ] = "",
    seed: Annotated[
        str, typer.Option(help="Seeds, such as 0, 0..4 or 0,2,5..7; at most 1000.")
    ] = "0",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SCOPE.NAME=VALUE",
            help="Set a parameter, such as network.filters=32. SCOPE is learner, network, "
            "strategy, data, protocol or budget. learner[NAME], network[NAME], strategy[NAME] and "
            "budget[LEARNER] apply to one of several. May be given several times.",
        ),
    ] = None,
    data: Annotated[
        Data, typer.Option(help="Use the real files, or generated look-alikes.")
    ] = Data.REAL,
    metric: Annotated[
        str,
        typer.Option(
            help="Further metrics of the same predictions, separated by commas, such as nll,ece; "
            "see `metabench list metrics`. They change neither the training nor the headline."
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Use this many meta-test episodes per source. The results are stamped limit.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Compute on this device: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    precision: Annotated[
        InPrecision,
        typer.Option(
            help="How layers multiply. tf32 needs a CUDA device; bf16 is slow on a CPU. Other "
            "results than those in float32 are stamped with it."
        ),
    ] = InPrecision.FLOAT32,
    engine: Annotated[
        str,
        typer.Option(
            help="What makes the meta-steps and adapts. eager: the learner's Python; compiled: one "
            "program for each kind of step, compiled on a CPU and captured on CUDA; auto: compiled "
            "where it pays."
        ),
    ] = "eager",
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads of each process; at most one per CPU.")
    ] = 1,
    executor: Annotated[
        str, typer.Option(help="How runs are executed; see `metabench list executors`.")
    ] = "local",
    jobs: Annotated[
        int, typer.Option(min=1, help="How many runs are executed at the same time.")
    ] = 1,
    out: Annotated[Path, typer.Option(help="The results folder to write to.")] = Path(
        "results/local"
    ),
    checkpoint_every: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Least time between two checkpoints of the training."
        ),
    ] = 30.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the id and the command of each run; run none.")
    ] = False,
) -> None:
    """Run learners on a suite. The same command resumes unfinished runs and skips finished ones."""
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
        budget=_one(budget, "--budget"),
        space=_one(network, "--network") or None,
        strategy=_one(strategy, "--strategy") or None,
        seeds=parse_seeds(seed),
        changes=parse_changes(set_ or []),
        data=data.value,
        limit=limit,
        metrics=_names(metric, "--metric") if metric else (),
        precision=precision.value,
        plugin_files=plugin_files(),
    )
    runs = plan(request, found)
    for sentence in unknown_names_in(load_suite(suite_file(suite, found)), found):
        say(f"In suite {suite}: {sentence}", fg="yellow")
    for note in runs[0].notes:
        say(f"Note: {note}", fg="yellow")
    if dry_run:
        _print_plan(runs)
        return
    from metabench.api.running import execute, executor_of
    from metabench.cli.progress import progress
    from metabench.results.store import require_writable
    from metabench.running.devices import pick_device
    from metabench.running.engines import pick_engine
    from metabench.running.executors import Job
    from metabench.running.precision import check_precision

    require_writable(out)
    picked = pick_device(device)
    check_precision(precision.value, picked)
    made_by = pick_engine(engine, device=picked)
    work = executor_of(found, executor, jobs=jobs)
    todo = [
        Job(planned, out, picked, threads, plugin_files(), checkpoint_every, made_by)
        for planned in runs
    ]
    with progress(len(todo)) as show:
        outcomes = execute(work, todo, found, show=show)
    _finish(outcomes, todo)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read a list of seeds.

    >>> parse_seeds("0..2,7")
    (0, 1, 2, 7)

    Raises:
        UsageError: the text is not a list of seeds, or has a seed out of bounds or too many seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise UsageError(
                f"--seed {text!r} is not a list of seeds.", hint="Examples: 0, 0..4 or 0,2,5."
            )
        start, stop = _seed(first), _seed(last if dots else first)
        # Counted before the range is built: it may be longer than memory.
        if len(seeds) + stop - start >= MAX_SEEDS:
            raise UsageError(
                f"--seed {text!r} names more than {MAX_SEEDS} seeds.",
                hint=f"One command takes at most {MAX_SEEDS} seeds; use several commands.",
            )
        seeds += range(start, stop + 1)
    if not seeds:
        raise UsageError(
            f"--seed {text!r} names no seed.",
            hint="A range goes from the smaller to the larger seed: 0..4.",
        )
    return tuple(dict.fromkeys(seeds))


def _check_threads(n: int) -> None:
    """Refuse more threads than CPUs: they are slower, and far too many crash the process."""
    n_cpus = os.cpu_count() or 1
    if n > n_cpus:
        raise UsageError(
            f"--threads {n} is more than the {n_cpus} CPUs of this machine.",
            hint="For small tasks, one thread per process and as many --jobs as CPUs is fastest.",
        )


def _seed(digits: str) -> int:
    short = digits.lstrip("0") or "0"
    if len(short) > len(str(LAST_SEED)) or int(short) > LAST_SEED:
        named = digits if len(digits) <= 20 else f"{digits[:20]}..."
        raise UsageError(f"--seed {named} is too large.", hint=f"Seeds go from 0 to {LAST_SEED}.")
    return int(short)


def _one(text: str, option: str) -> str:
    """The value of an option that, unlike others, takes no list."""
    if "," in text:
        raise UsageError(
            f"{option} takes one name, but {text!r} is a list.",
            hint=f"Give one command for each {option.removeprefix('--')}.",
        )
    return text


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{option} names nothing.", hint="Give names, separated by commas.")
    return names


def _print_plan(runs: Sequence[PlannedRun]) -> None:
    for planned in runs:
        typer.echo(f"{planned.spec.run_id}  {planned.command}")


def _finish(outcomes: Sequence[JobOutcome], jobs: Sequence[Job]) -> None:
    """Print how the runs ended and what to do next; exit with 1 on failure, 130 if interrupted."""
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("done", "failed", "interrupted")
    }
    for outcome in outcomes:
        if outcome.status == "failed":
            say(f"Failed: {outcome.job.planned.label}: {outcome.text}", fg="red")
            if outcome.hint:
                say(outcome.hint)
    ended = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    say(f"Runs: {ended}.")
    if counts["interrupted"]:
        import shlex
        import sys

        again = shlex.join(["metabench", *sys.argv[1:]])
        say(f"The state is saved. Resume with:\n  {again}")
        raise typer.Exit(130)
    if counts["done"]:
        say(f"Print the table with: metabench report {jobs[0].out}")
    if counts["failed"]:
        raise typer.Exit(1)
