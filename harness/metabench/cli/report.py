"""``metabench report``: tables from stored episodes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.formats import JsonOption, check_showing, format_or_json
from metabench.cli.output import chosen_format, writing
from metabench.cli.references import complete_key
from metabench.cli.screen import put, tell, tell_under_way
from metabench.cli.selecting import (
    BudgetOption,
    LearnerOption,
    SeedOption,
    SettingOption,
    SuiteOption,
    names_of,
    selection_of,
)
from metabench.cli.showing import Caption, CaptionOption, WideOption, screen_of
from metabench.errors import UsageError
from metabench.render import Format

if TYPE_CHECKING:
    from metabench.papers.arranging import Arrangement
    from metabench.papers.table import PaperReport
    from metabench.render.layout import Screen
    from metabench.render.page import Page
    from metabench.reports.captions import IntervalKind
    from metabench.reports.tables import Report
    from metabench.results.reading import Results
    from metabench.results.selection import Selection


class Interval(StrEnum):
    """How half-widths are computed."""

    auto = "auto"
    field = "field"
    seeds = "seeds"
    bootstrap = "bootstrap"


def report(
    directory: Annotated[
        Path, typer.Argument(help="The results folder, or the folder of one run.")
    ] = Path("results"),
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="The output format. [default: as in the file name, or table]",
        ),
    ] = None,
    as_json: JsonOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to this file instead of the screen; - means stdout."
        ),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Compare the runs with this table of a paper, such as m-nas/table-1.",
            autocompletion=complete_key,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show this metric of the same predictions instead of the headline's, such as "
            "nll, in the runs that have it.",
        ),
    ] = None,
    interval: Annotated[
        Interval,
        typer.Option(
            help="How half-widths are computed. auto: seeds for a row with several seeds, else "
            "field; field: 1.96 std/sqrt(n) over episodes; seeds: Student's t over seeds; "
            "bootstrap: percentile bootstrap over episodes."
        ),
    ] = Interval.auto,
    learner: LearnerOption = None,
    suite: SuiteOption = None,
    setting: SettingOption = None,
    budget: BudgetOption = None,
    seed: SeedOption = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Show only these columns of scores, in this order, such as aircraft,average; val "
            "is the score of the tested weights on meta-validation.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Sort rows by this column of scores, the best first; or by learner, network, "
            "weights or budget.",
        ),
    ] = None,
    text_width: Annotated[
        float | None,
        typer.Option(
            metavar="PT",
            help="For LaTeX: points across the text of your paper; a wider table is stacked. A "
            "column of two has 234, a plain article 345, NeurIPS 397, CVPR 496. [default: 345]",
        ),
    ] = None,
    commands: Annotated[
        bool,
        typer.Option(
            "--commands", help="Print the commands that made the runs of each row, and no scores."
        ),
    ] = False,
    episodes: Annotated[
        bool,
        typer.Option(
            "--episodes",
            help="For the page: open the episodes on which two learners differ most, with what "
            "both predict. It takes the data, the checkpoints, and some seconds for each learner.",
        ),
    ] = False,
    wide: WideOption = False,
    caption: CaptionOption = None,
) -> None:
    """Print a table for each suite and setting, computed from the stored episodes.

    With --paper, print the paper's table next to ours, with a verdict and a reason for each cell.
    With --format html, write one page with tables, differences, claims, figures and commands.
    Tables fit the terminal; in a pipe they are as wide as their rows, unless COLUMNS is set.
    """
    from metabench.api.reading import refuse_trials, require_runs
    from metabench.papers.arranging import Arrangement
    from metabench.render.commands_text import commands_text
    from metabench.render.layout import Screen
    from metabench.results.selection import absent

    output = None if str(output) == "-" else output
    format = format_or_json(format, as_json=as_json, json=Format.json)
    chosen = chosen_format(output, format, default=Format.table, free=("txt",))
    check_showing(chosen, wide=wide, caption=caption)
    shown = (columns, sort, wide, caption)
    of_scores = (output, paper, metric, interval is not Interval.auto, *shown)
    if commands and (chosen is not Format.table or any(of_scores)):
        raise UsageError(
            "--commands prints no scores, so it goes with the options that select runs alone.",
            hint="Those are --learner, --suite, --setting, --budget and --seed.",
        )
    if metric is not None:
        _check_metric(chosen, paper)
    if text_width is not None:
        _check_text_width(text_width, chosen)
    if episodes and chosen is not Format.html:
        raise UsageError(
            f"--episodes is for the page, but --format is {chosen}.",
            hint="Add --format html, or draw one episode: metabench figure fits, or images.",
        )
    arrangement = Arrangement(columns=names_of(columns, "--columns"), sort=sort)
    if chosen is Format.html and arrangement != Arrangement():
        raise UsageError(
            "The page shows all columns and sorts them itself, so --columns and --sort do not "
            "apply.",
            hint="Choose another --format, such as md or csv.",
        )
    selection = selection_of(
        learner=learner, suite=suite, setting=setting, budget=budget, seed=seed
    )
    results, built = _build(
        directory,
        format=chosen,
        paper=paper,
        metric=metric,
        interval=interval.value,
        selection=selection,
        arrangement=arrangement,
        open_episodes=episodes,
    )
    refuse_trials(results, directory)
    for problem in built.problems:
        tell(problem)
    tell_under_way(results.under_way, directory)
    require_runs(results, directory)
    for note in absent(results.runs, selection):
        tell(note)
    if commands:
        put(commands_text(results.runs), nl=False)
        return
    if output is not None:
        plain = Screen(wide=wide, full_caption=caption is Caption.full)
        text = _written(built, chosen, plain, text_width=text_width)
        with writing(output) as place:
            place.write_text(text, encoding="utf-8", newline="\n")
    else:
        screen = screen_of(wide=wide, caption=caption)
        put(_written(built, chosen, screen, text_width=text_width), nl=False, styled=True)


def _check_metric(format: Format, paper: str | None) -> None:
    """Refuse --metric where something else names the metric."""
    if paper is not None:
        raise UsageError(
            "A paper's table names its metric, so --metric does not apply.",
            hint="Leave out --metric or --paper.",
        )
    if format is Format.html:
        raise UsageError(
            "The page shows the headline's metric, so --metric does not apply.",
            hint="Choose another --format, such as md or csv.",
        )


def _check_text_width(text_width: float, format: Format) -> None:
    """Refuse --text-width for what is not LaTeX, and one in which no table fits."""
    from metabench.render.tex_layout import NARROWEST

    if format is not Format.tex:
        raise UsageError(
            f"--text-width is for LaTeX, but --format is {format}.",
            hint="Add --format tex, or leave out --text-width.",
        )
    if not text_width >= NARROWEST:
        raise UsageError(
            f"No table fits in a text of {text_width:g} points.",
            hint=f"Give at least {NARROWEST:g} points, as \\the\\textwidth prints them in LaTeX.",
        )


def _build(
    directory: Path,
    *,
    format: Format,
    paper: str | None,
    metric: str | None,
    interval: IntervalKind,
    selection: Selection,
    arrangement: Arrangement,
    open_episodes: bool,
) -> tuple[Results, Report | PaperReport | Page]:
    from metabench.cli.context import catalog

    if format is Format.html:
        from metabench.render.page import read_page

        return read_page(
            directory,
            catalog(),
            paper=paper,
            interval=interval,
            selection=selection,
            open_episodes=open_episodes,
        )
    from metabench.api.reading import build_tables

    return build_tables(
        directory,
        paper=paper,
        metric=metric,
        interval=interval,
        catalog=catalog,
        selection=selection,
        arrangement=arrangement,
    )


def _written(
    built: Report | PaperReport | Page,
    format: Format,
    screen: Screen,
    *,
    text_width: float | None,
) -> str:
    from metabench.api.reading import ReportView
    from metabench.cli.context import catalog
    from metabench.render import as_table, render
    from metabench.render.page import Page
    from metabench.render.page.html import render_page

    if isinstance(built, Page):
        return render_page(built)
    if format is Format.tex:
        return ReportView(built, catalog).to_latex(width=text_width)
    if format is Format.table:
        return as_table.render(built, screen)
    return render(built, format)
