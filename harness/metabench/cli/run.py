"""``metabench run``: learners x suites x settings x values x seeds."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench.cli.ranks import count_ranks, follow, let_go
from metabench.cli.screen import put, say
from metabench.errors import UsageError
from metabench.text import counted, seconds_in

if TYPE_CHECKING:
    from metabench.api.executing import HowToRun
    from metabench.planning.grid import Grid
    from metabench.planning.plan import PlannedRun
    from metabench.planning.shards import Shard
    from metabench.results.price import Price
    from metabench.running.executors import JobOutcome


DEFAULT_OUT = Path("results/local")
MOST_NAMED = 10
"""Runs of other shards that are named."""


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
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(
            help="A plan file, which says what to run instead of the options from --learner to "
            "--precision. `--save-plan` writes one.",
            show_default=False,
        ),
    ] = None,
    learner: Annotated[
        str,
        typer.Option(
            help="Learners, separated by commas; see `metabench list learners`. [required without "
            "a plan file]"
        ),
    ] = "",
    suite: Annotated[
        str,
        typer.Option(
            help="Names of suites, see `metabench list suites`, or paths of suite files, separated "
            "by commas. [required without a plan file]"
        ),
    ] = "",
    setting: Annotated[
        str,
        typer.Option(
            help="Settings, separated by commas, such as 5w1s. Of several suites, each runs those "
            "that it has. [default: the first of each suite]"
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
            help="The network to train, and after a colon its strategy, such as tnas:darts; see "
            "`metabench list networks`. LEARNER=NETWORK is for one learner: "
            "conv4,mnas=tnas:darts. [default: the suite's, or the learner's own]"
        ),
    ] = "",
    strategy: Annotated[
        str,
        typer.Option(
            help="The NAS strategy, for a searched network; see `metabench list strategies`. "
            "LEARNER=STRATEGY is for one learner. [default: the suite's, or the learner's own]"
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
            "budget[LEARNER] apply to one of several. Several values, as in "
            "learner.inner_lr=0.01,0.1, are a sweep: each makes runs of its own. The scope "
            "executor is for parameters of --executor, tracker[NAME] for those of --tracker. May "
            "be given several times.",
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
            help="Use this many meta-test episodes per source, fewer or more than the suite says. "
            "The results are stamped limit.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Compute on this device: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Start each training from the weights in this file: tensors by their names in the "
            "network, of torch.save or safetensors, or a file of `metabench export`. The results "
            "are stamped foreign-weights.",
            show_default=False,
        ),
    ] = None,
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
        int | None,
        typer.Option(
            min=1,
            help="How many runs are executed at the same time. [default: the executor's, of local "
            "1]",
        ),
    ] = None,
    ranks: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many processes share the tasks of each meta-step, each on a GPU of its own "
            "where there are GPUs. [default: 1, or those that torchrun has started]",
        ),
    ] = None,
    time_limit: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Longest time of each run, such as 90m, 2h or 1h30m. Then it saves its state and "
            "stops, and the same command resumes it. [default: no limit]",
        ),
    ] = "",
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Make only the I-th of N shares of the runs, such as 1/4. The N commands "
            "together make each run once, wherever they are given.",
        ),
    ] = "",
    tracker: Annotated[
        str,
        typer.Option(
            help="Pass the runs on to these trackers while they are made, separated by commas, "
            "such as tensorboard,csv; see `metabench list trackers`."
        ),
    ] = "",
    out: Annotated[Path, typer.Option(help="The results folder to write to.")] = DEFAULT_OUT,
    checkpoint_every: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Least time between two checkpoints of the training."
        ),
    ] = 30.0,
    save_plan: Annotated[
        Path | None, typer.Option(help="Write what is asked for to this plan file, and run it.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the id and the command of each run, and what all of them cost; run none. "
            "The data need not be there.",
        ),
    ] = False,
    no_probe: Annotated[
        bool,
        typer.Option(
            "--no-probe",
            help="With --dry-run, do not measure speed. Otherwise each configuration is measured "
            "for some seconds, once on a machine.",
        ),
    ] = False,
) -> None:
    """Run learners on suites. The same command resumes unfinished runs and skips finished ones."""
    from metabench.cli.context import catalog, plugin_files
    from metabench.planning.grid import read_grid, write_grid
    from metabench.planning.overrides import without_executor
    from metabench.planning.plan import notes_of
    from metabench.planning.shards import parse_shard
    from metabench.planning.tracker_params import params_by_tracker, without_trackers
    from metabench.planning.unknown_names import unknown_names_in
    from metabench.running.ranks.torchrun import world_of

    if no_probe and not dry_run:
        raise UsageError(
            "--no-probe goes with --dry-run, which is not given.",
            hint="Leave out --no-probe, or add --dry-run.",
        )
    world = world_of()
    if world is not None and world.rank > 0:
        if not dry_run:
            follow(world, device=device, threads=threads)
        return
    n_ranks = count_ranks(ranks, world, executor=executor, jobs=jobs)
    share = parse_shard(shard) if shard else None
    limit_of_time = seconds_of(time_limit, "--time-limit")
    found = catalog()
    sets, executor_params = without_executor(set_ or ())
    sets, tracker_params = without_trackers(sets)
    trackers = parse_names(tracker, "--tracker") if tracker else ()
    tracker_params = params_by_tracker(trackers, tracker_params)
    if plan is not None:
        refuse_beside_plan(context, plan, (*WHAT_TO_RUN, "save_plan"), sets)
        grid = read_grid(plan)
    else:
        grid = grid_asked({**context.params, "set_": sets})
    suites = grid.suites_of(found)
    runs = grid.plan(
        found,
        suites,
        plugin_files=plugin_files(),
        of_file=plan is not None,
        without_data=dry_run,
    )
    if save_plan is not None:
        write_grid(grid, save_plan)
    for name, loaded in suites.items():
        for sentence in unknown_names_in(loaded, found):
            say(f"In suite {name}: {sentence}", fg="yellow")
    for note in notes_of(runs):
        say(f"Note: {note}", fg="yellow")
    if share is not None:
        runs = _runs_of_shard(share, runs)
    if not runs:
        if world is not None:
            let_go(world, device=device)
        return
    from metabench.api.executing import HowToRun, check, prepare
    from metabench.api.running import execute
    from metabench.api.tracking import trackers_of
    from metabench.cli.progress import progress

    how = HowToRun(
        out=out,
        executor=executor,
        executor_params=executor_params,
        jobs=jobs,
        ranks=n_ranks,
        world=world,
        device=device,
        engine=engine,
        threads=threads,
        plugin_files=plugin_files(),
        checkpoint_seconds=checkpoint_every,
        time_limit=limit_of_time,
    )
    if dry_run:
        check(runs, how, found)
        _print_plan(runs, out)
        tell_price(runs, how, probe=not no_probe)
        return
    work, todo = prepare(runs, how, found)
    opened = trackers_of(found, tracker_params, out)
    with progress(len(todo)) as show:
        outcomes = execute(work, todo, found, show=show, trackers=opened, warn=warn)
    finish(outcomes)


def warn(sentence: str) -> None:
    """Say a sentence that does not stop the command."""
    say(sentence, fg="yellow")


WHAT_TO_RUN = (
    "learner",
    "suite",
    "setting",
    "budget",
    "network",
    "strategy",
    "seed",
    "set_",
    "data",
    "metric",
    "limit",
    "weights",
    "precision",
)
"""The options that say what to run, which a plan file says instead."""


def grid_asked(options: Mapping[str, Any]) -> Grid:
    """The grid that the options :data:`WHAT_TO_RUN` say, by parameter of :func:`run`.

    Raises:
        UsageError: for what is missing and for words that cannot be read.
    """
    from metabench.planning.grid import grid_of, parse_seeds

    def names(option: str) -> tuple[str, ...]:
        text = options[option]
        return parse_names(text, f"--{option}") if text else ()

    _require(learner=options["learner"], suite=options["suite"])
    return grid_of(
        learners=names("learner"),
        suites=names("suite"),
        settings=names("setting"),
        budget=_single_name(options["budget"], "--budget"),
        network=names("network"),
        strategy=names("strategy"),
        seeds=parse_seeds(options["seed"]),
        sets=options["set_"] or (),
        data=Data(options["data"]).value,
        limit=options["limit"],
        metrics=names("metric"),
        precision=InPrecision(options["precision"]).value,
        weights=None if options["weights"] is None else str(options["weights"]),
    )


def is_given(context: typer.Context, name: str) -> bool:
    """Whether a user has given an option or argument, by its parameter of the command."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_beside_plan(
    context: typer.Context, plan: Path, options: Sequence[str], sets: Sequence[str]
) -> None:
    """Refuse an option that contradicts a plan file, or that it would have to contain."""
    for name in options:
        if is_given(context, name) and (name != "set_" or sets):
            option = f"--{name.strip('_').replace('_', '-')}"
            if not plan.is_file():
                raise UsageError(
                    f"{str(plan)!r} belongs to no option, and there is no plan file {plan}.",
                    hint="Separate several names by commas: --learner maml,reptile.",
                )
            raise UsageError(
                f"{option} and a plan file both say what to run.",
                hint=f"Leave out {option}, or change the plan file.",
            )


def _require(**options: str) -> None:
    for name, value in options.items():
        if not value:
            raise UsageError(
                f"--{name} is missing.",
                hint="For example: metabench run --learner maml --suite toy-regression. "
                "A plan file says both.",
            )


def seconds_of(text: str, option: str) -> float | None:
    """The value of an option that takes a time; None where it is not given."""
    if not text:
        return None
    seconds = seconds_in(text)
    if seconds is None:
        raise UsageError(f"{option} {text!r} is not a time.", hint="Write it as 90m, 2h or 1h30m.")
    if not seconds:
        raise UsageError(f"{option} {text} leaves no time.", hint="Give a time above 0.")
    return seconds


def _single_name(text: str, option: str) -> str:
    """The value of an option that, unlike others, takes no list."""
    if "," in text:
        raise UsageError(
            f"{option} takes one name, but {text!r} is a list.",
            hint=f"Give one command for each {option.removeprefix('--')}.",
        )
    return text


def parse_names(text: str, option: str) -> tuple[str, ...]:
    """Read names that are separated by commas.

    Raises:
        UsageError: there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{option} names nothing.", hint="Give names, separated by commas.")
    return names


def _runs_of_shard(shard: Shard, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs of a shard; say which runs are left to other shards."""
    own, others = shard.divide(runs)
    say(f"Shard {shard} makes {len(own):,} of {counted(len(runs), 'run')}.")
    if others:
        named = [one.label for one in others[:MOST_NAMED]]
        further = [f"{len(others) - len(named):,} more"] if len(others) > len(named) else []
        say(f"Left to other shards: {'; '.join(named + further)}.")
    return own


def _print_plan(runs: Sequence[PlannedRun], out: Path) -> None:
    for planned in runs:
        # Without the data, its fingerprint and so the id are not known.
        run_id = "data is missing " if planned.lacks else planned.spec.run_id
        command = planned.command if out == DEFAULT_OUT else planned.command_into(out)
        put(f"{run_id}  {command}")


def tell_price(runs: Sequence[PlannedRun], how: HowToRun, *, probe: bool) -> Price:
    """Say on stderr what planned runs cost, what is done, and what data is missing.

    Args:
        runs: they may lack data.
        how: they are made.
        probe: measure what nobody has measured.
    """
    from metabench.api.pricing import price_of
    from metabench.cli.context import catalog
    from metabench.render.price_text import price_text

    price = price_of(runs, how, catalog(), probe=probe, tell=say)
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    say(f"\n{price_text(price, width)}")
    return price


def finish(outcomes: Sequence[JobOutcome], *, table: bool = True) -> None:
    """Print how the runs ended and what to do next; exit with 1 on failure, 130 if interrupted.

    Runs that other processes are at are no failure.

    Args:
        outcomes: of the jobs.
        table: say how the table is printed.
    """
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("done", "failed", "interrupted", "submitted", "elsewhere")
    }
    for outcome in outcomes:
        if outcome.status == "failed":
            say(f"Failed: {outcome.job.label}: {outcome.text}", fg="red")
        elif outcome.status == "interrupted" and outcome.text:
            say(f"Interrupted: {outcome.job.label}: {outcome.text}", fg="yellow")
        if outcome.hint and outcome.status != "elsewhere":
            say(outcome.hint)
    ended = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    say(f"Runs: {ended}.")
    if counts["interrupted"]:
        again = shlex.join(["metabench", *sys.argv[1:]])
        say(f"The state is saved. Resume with:\n  {again}")
        raise typer.Exit(130)
    if counts["submitted"] or counts["elsewhere"]:
        say(f"Watch them with: metabench status {shlex.quote(str(outcomes[0].job.out))}")
    if counts["done"] and table:
        say(f"Print the table with: metabench report {shlex.quote(str(outcomes[0].job.out))}")
    if counts["failed"]:
        raise typer.Exit(1)
