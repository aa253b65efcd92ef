"""``metabench tune``: choose values of parameters on meta-validation."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench.cli.like_run import with_options_of_run
from metabench.cli.ranks import count_ranks, refuse_torchrun
from metabench.cli.run import (
    WHAT_TO_RUN,
    finish,
    grid_asked,
    parse_names,
    refuse_beside_plan,
    seconds_of,
    warn,
)
from metabench.cli.screen import put, say
from metabench.cli.showing import screen_width
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.planning.tuning import Study, TuningPlan
    from metabench.results.tunings import TuningRecord


class Sampling(StrEnum):
    """The values of ``--sampler``."""

    GRID = "grid"
    RANDOM = "random"
    TPE = "tpe"


HOW_TO_RUN = (
    "device",
    "engine",
    "threads",
    "executor",
    "jobs",
    "ranks",
    "time_limit",
    "tracker",
    "checkpoint_every",
)


@with_options_of_run(*WHAT_TO_RUN, *HOW_TO_RUN)
def tune(
    context: typer.Context,
    plan: Annotated[
        Path | None,
        typer.Argument(
            help="A plan file, which says what to tune instead of the options from --learner to "
            "--precision and of --sampler to --sampler-seed. `--save-plan` writes one.",
            show_default=False,
        ),
    ] = None,
    sampler: Annotated[
        Sampling | None,
        typer.Option(
            help="What proposes values. grid: all combinations; random: independent draws; tpe: "
            "Optuna's, which learns from the trials so far. [default: grid if all values are "
            "listed, else random]",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trials of each learner and setting. The same command with a larger number goes "
            "on. [default: all of a grid, else 20]",
            show_default=False,
        ),
    ] = None,
    sampler_seed: Annotated[int, typer.Option(min=0, help="Seed of the sampler.")] = 0,
    out: Annotated[
        Path, typer.Option(help="The folder of the tuning: its record, its trials and the choice.")
    ] = Path("results/tuning"),
    run_into: Annotated[
        Path | None,
        typer.Option(
            metavar="RESULTS",
            help="Test the chosen values as well, and write these runs to this results folder. "
            "They go on from the training of their trials.",
            show_default=False,
        ),
    ] = None,
    save_plan: Annotated[
        Path | None, typer.Option(help="Write what is asked for to this plan file, and tune.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the trials of each study; make none.")
    ] = False,
    **options: Any,
) -> None:
    """Choose values of parameters on meta-validation. The same command goes on where it stopped.

    Several values (--set learner.inner_steps=1,5) or a range make trials. A range is LOW..HIGH,
    both included: of whole numbers as 1..10, of others as 0.1..0.9, and with :log, as
    1e-4..1e-1:log, equal ratios are equally likely. A trial trains with its values, once for each
    seed, and is judged on meta-validation; no meta-test episode is drawn. Each learner is tuned for
    itself in each setting.
    """
    from metabench.api.executing import HowToRun
    from metabench.api.tuning import open_studies, run_chosen, run_tuning
    from metabench.cli.context import catalog, plugin_files
    from metabench.cli.progress import progress
    from metabench.planning.grid import read_plan, write_grid
    from metabench.planning.overrides import without_executor
    from metabench.planning.tracker_params import params_by_tracker, without_trackers
    from metabench.planning.tuning import TuningPlan

    refuse_torchrun("metabench tune")
    ranks = count_ranks(options["ranks"], None, executor=options["executor"], jobs=options["jobs"])
    limit_of_time = seconds_of(options["time_limit"], "--time-limit")
    sets, executor_params = without_executor(options["set_"] or ())
    sets, tracker_params = without_trackers(sets)
    names = parse_names(options["tracker"], "--tracker") if options["tracker"] else ()
    tracking: dict[str, Any] = {
        "trackers": params_by_tracker(names, tracker_params),
        "warn": warn,
    }
    found = catalog()
    if plan is not None:
        refuse_beside_plan(
            context, plan, (*WHAT_TO_RUN, "sampler", "trials", "sampler_seed", "save_plan"), sets
        )
        asked = read_plan(plan, TuningPlan)
    else:
        asked = _asked(
            {**options, "set_": sets},
            sampler=None if sampler is None else sampler.value,
            trials=trials,
            sampler_seed=sampler_seed,
        )
    planner, studies = open_studies(asked, found, plugin_files=plugin_files())
    if save_plan is not None:
        write_grid(asked, save_plan)
    for study in studies:
        if asked.trials is not None and study.size is not None and study.size < asked.trials:
            say(
                f"Note: {study.name} has {counted(study.size, 'trial')}, fewer than --trials "
                f"{asked.trials}: its values have no other combination.",
                fg="yellow",
            )
    if dry_run:
        _print_trials(asked, studies)
        return
    how = HowToRun(
        out=out,
        executor=options["executor"],
        executor_params=executor_params,
        jobs=options["jobs"],
        ranks=ranks,
        device=options["device"],
        engine=options["engine"],
        threads=options["threads"],
        plugin_files=plugin_files(),
        checkpoint_seconds=options["checkpoint_every"],
        time_limit=limit_of_time,
    )
    again = shlex.join(["metabench", *sys.argv[1:]])
    try:
        with progress(1) as show:
            tuning = run_tuning(asked, studies, planner, how, command=again, show=show, **tracking)
    except KeyboardInterrupt:
        say(f"The state is saved. Go on with:\n  {again}")
        raise typer.Exit(130) from None
    put(_text(tuning.record, out))
    if run_into is not None and tuning.plans:
        from dataclasses import replace

        with progress(1) as show:
            outcomes = run_chosen(
                tuning, planner, replace(how, out=run_into), show=show, **tracking
            )
        finish(outcomes)
    if not tuning.plans:
        raise typer.Exit(1)


def _asked(options: dict[str, Any], **own: Any) -> TuningPlan:
    """What the options say."""
    from metabench.planning.tuning import TuningPlan, split_ranges
    from metabench.planning.validation import validated

    ranges, others = split_ranges(options["set_"] or ())
    grid = grid_asked({**options, "set_": others})
    fields = {name: getattr(grid, name) for name in type(grid).model_fields}
    return validated(TuningPlan, {**fields, "ranges": ranges, **own}, what="The command:")


def _print_trials(plan: TuningPlan, studies: list[Study]) -> None:
    from metabench.planning.overrides import written
    from metabench.planning.samplers import Sampler

    name, total = plan.picked_sampler, plan.most_trials
    for study in studies:
        draws = Sampler(name, study, plan.sampler_seed, smaller_is_better=True)
        draws.check()
        if name == "tpe":
            put(f"{study.name}  {total} trials, which tpe proposes one after the other")
            continue
        for number, values in enumerate(draws.propose([], total), start=1):
            said = "  ".join(f"{path}={written(value)}" for path, value in values.items())
            put(f"{study.name}  trial {number}  {said}".rstrip())


def _text(record: TuningRecord, folder: Path) -> str:
    from metabench.render.tuning_text import tuning_text

    return tuning_text(record, folder, width=screen_width())
