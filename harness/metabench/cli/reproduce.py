"""``metabench reproduce``: a paper's table from our runs, in one command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabench.cli.like_run import with_options_of_run
from metabench.cli.references import complete_key
from metabench.cli.run import finish, parse_names, tell_price
from metabench.cli.screen import put, say
from metabench.cli.selecting import names_of
from metabench.cli.showing import CaptionOption, WideOption, screen_of
from metabench.errors import UsageError
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.papers.cells import TablePlan
    from metabench.render.layout import Screen

HOW_TO_RUN = ("device", "engine", "threads", "executor", "jobs")
INTERRUPTED = 130
"""The exit code of runs that were interrupted."""


@with_options_of_run("seed", "data", "limit", *HOW_TO_RUN, behind=True)
def reproduce(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY[:ROW]",
            help="Key of the table, such as m-nas/table-1, and after a colon one row; see "
            "`metabench references list`.",
            autocompletion=complete_key,
            show_default=False,
        ),
    ],
    row: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Only these rows, separated by commas: methods as the table prints them, or "
            "learners.",
        ),
    ] = None,
    setting: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these settings, such as 5w1s.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="How much compute, such as smoke or lite for a first look. Runs of another "
            "budget than the table's are stamped with it. [default: that of the table]"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SCOPE.NAME=VALUE",
            help="Set a parameter, as in `metabench run`. May be given several times.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The results folder to write to. [default: results/local/ and the key with "
            "hyphens]",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before running.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the price and the commands; run nothing.")
    ] = False,
    no_probe: Annotated[
        bool,
        typer.Option(
            "--no-probe",
            help="Do not measure speed. Otherwise each configuration is measured for some seconds, "
            "once on a machine.",
        ),
    ] = False,
    wide: WideOption = False,
    caption: CaptionOption = None,
    **options: Any,
) -> None:
    """Make the runs of a paper's table, and print it beside them with verdicts and claims.

    First it says what the runs cost, and asks. The same command resumes unfinished runs and skips
    finished ones.
    """
    from metabench.api.executing import HowToRun, check, prepare
    from metabench.api.reproducing import folder_of, lacks_in_words, plan_of, with_data
    from metabench.api.running import execute
    from metabench.cli.context import catalog, plugin_files
    from metabench.cli.progress import progress
    from metabench.planning.grid import parse_seeds
    from metabench.planning.overrides import without_executor

    if dry_run and (wide or caption is not None):
        option = "--wide" if wide else "--caption"
        raise UsageError(
            f"{option} is for the table, which --dry-run does not print.",
            hint=f"Leave out {option} or --dry-run.",
        )
    if dry_run and yes:
        raise UsageError(
            "--yes answers a question that --dry-run does not ask.",
            hint="Leave out --yes or --dry-run.",
        )
    found = catalog()
    sets, executor_params = without_executor(set_ or ())
    table = plan_of(
        key,
        found,
        plugin_files=plugin_files(),
        row=names_of(row, "--row"),
        setting=names_of(setting, "--setting"),
        budget=None if budget is None else parse_names(budget, "--budget")[0],
        seeds=parse_seeds(options["seed"]),
        changes=_changes(sets),
        limit=options["limit"],
        data=options["data"].value,
    )
    how = HowToRun(
        out=out or folder_of(key),
        executor_params=executor_params,
        plugin_files=plugin_files(),
        **{name: options[name] for name in HOW_TO_RUN},
    )
    check(table.runs, how, found)
    _tell_plan(table)
    price = tell_price(table.runs, how, probe=not no_probe)
    if dry_run:
        for planned in table.runs:
            put(planned.command_into(how.out))
        return
    runs = with_data(table.runs)
    if any(not priced.done and not priced.planned.lacks for priced in price.runs) and not yes:
        _ask(len(runs))
    work, todo = prepare(runs, how, found)
    with progress(len(todo)) as show:
        outcomes = execute(work, todo, found, show=show)
    code = 0
    try:
        finish(outcomes, table=False)
    except typer.Exit as end:
        code = end.exit_code
    for sentence in lacks_in_words(table.runs):
        say(sentence, fg="yellow")
    if code != INTERRUPTED and any(outcome.status == "done" for outcome in outcomes):
        _show(table, how.out, screen_of(wide=wide, caption=caption))
    if code:
        raise typer.Exit(code)


def _changes(sets: Sequence[str]) -> dict[str, Any]:
    """The value of each parameter that is set.

    Raises:
        UsageError: when a parameter has several values.
    """
    from metabench.planning.overrides import Several, parse_changes, scope_in_words

    found = {
        f"{scope_in_words(scope)}.{name}": value
        for scope, values in parse_changes(sets).items()
        for name, value in values.items()
    }
    for name, value in found.items():
        if isinstance(value, Several):
            raise UsageError(
                f"--set {name} has several values, but a row of the table has one.",
                hint="Use `metabench run` for a sweep.",
            )
    return found


def _tell_plan(table: TablePlan) -> None:
    """Say what is run, and what cannot be run."""
    from metabench.planning.plan import notes_of

    reference = table.reference
    say(f"{reference.key}, {reference.citation.short}: {counted(len(table.runs), 'run')}.")
    for sentence in table.left_out:
        say(f"Cannot be run: {sentence}", fg="yellow")
    for note in notes_of(table.runs):
        say(f"Note: {note}", fg="yellow")


def _ask(n: int) -> None:
    """Ask on a terminal whether to run.

    Raises:
        UsageError: when nobody can answer.
        typer.Exit: when the answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "Nothing was run, because nobody can answer here.", hint="Add --yes to run it."
        )
    if not typer.confirm(f"Run {'it' if n == 1 else 'them'}?", default=False, err=True):
        say("Nothing was run.")
        raise typer.Exit


def _show(table: TablePlan, out: Path, screen: Screen) -> None:
    """Print the paper's table with our numbers, and the claims about our runs."""
    from metabench.api.reproducing import shown
    from metabench.cli.context import catalog
    from metabench.render import as_table
    from metabench.render.claims_text import claims_overview

    report, claims = shown(table, out, catalog())
    for problem in report.problems:
        say(problem)
    put(as_table.render(report.content, screen), nl=False, styled=True)
    if claims is not None:
        put()
        put(claims_overview(claims.results, screen), nl=False, styled=True)
