"""``metabench report``: tables from stored episodes."""

from __future__ import annotations

import os
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.output import chosen_format, writing
from metabench.cli.references import complete_key
from metabench.errors import DataError
from metabench.render import Format

if TYPE_CHECKING:
    from metabench.papers.table import PaperReport
    from metabench.render.page import Page
    from metabench.reports.captions import IntervalKind
    from metabench.reports.tables import Report
    from metabench.results.reading import Results


class Interval(StrEnum):
    """What the half-widths are made from."""

    field = "field"
    seeds = "seeds"
    bootstrap = "bootstrap"


def report(
    directory: Annotated[Path, typer.Argument(help="A folder of results, or of one run.")] = Path(
        "results"
    ),
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="How to write the tables. [default: as the file's name ends, or table]",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, not to the screen.")
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Lay the runs beside this table of a paper, such as m-nas/table-1.",
            autocompletion=complete_key,
        ),
    ] = None,
    interval: Annotated[
        Interval,
        typer.Option(
            help="field: 1.96 std/sqrt(n) over episodes; seeds: Student's t over seeds; "
            "bootstrap: percentile bootstrap over episodes."
        ),
    ] = Interval.field,
) -> None:
    """Print a table per suite and setting, derived from the stored episodes.

    With --paper the paper's table, ours beside it, with a verdict per cell and its reason. With
    --format html one page with all there is: papers, differences, claims, figures, commands.
    """
    from metabench.text import plain

    chosen = chosen_format(output, format, default=Format.table, free=("txt",))
    results, built = _build(directory, format=chosen, paper=paper, interval=interval.value)
    for problem in built.problems:
        typer.echo(plain(problem), err=True)
    if not results.runs:
        raise DataError(
            f"No run below {directory} is finished and readable.",
            hint="Repeat the command of a run to finish it.",
        )
    if output is not None:
        text = _written(built, chosen)
        with writing(output):
            output.write_text(text, encoding="utf-8", newline="\n")
    else:
        typer.echo(_written(built, chosen, on_terminal=_on_terminal()), nl=False)


def _build(
    directory: Path, *, format: Format, paper: str | None, interval: IntervalKind
) -> tuple[Results, Report | PaperReport | Page]:
    from metabench.papers.report import build_paper_report
    from metabench.reports.build import build_report
    from metabench.results.reading import read_runs

    if format is Format.html:
        from metabench.cli.context import catalog
        from metabench.render.page import read_page

        return read_page(directory, catalog(), paper=paper, interval=interval)
    if paper is None:
        results = read_runs(directory)
        return results, build_report(results, interval=interval)
    from metabench.cli.context import catalog
    from metabench.papers.reference_files import find_reference

    plugins = catalog()
    reference = find_reference(plugins, paper)
    results = read_runs(directory)
    return results, build_paper_report(results, reference, interval=interval, catalog=plugins)


def _written(
    built: Report | PaperReport | Page, format: Format, *, on_terminal: bool = False
) -> str:
    from metabench.render import as_table, render
    from metabench.render.page import Page
    from metabench.render.page.html import render_page

    if isinstance(built, Page):
        return render_page(built)
    if format is Format.table and on_terminal:
        return as_table.render(built, terminal_width=shutil.get_terminal_size().columns)
    return render(built, format)


def _on_terminal() -> bool:
    asked_plain = os.environ.get("NO_COLOR") or os.environ.get("CI")
    return sys.stdout.isatty() and not asked_plain and os.environ.get("TERM") != "dumb"
