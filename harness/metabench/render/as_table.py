"""A table for the terminal; plain text without control codes where there is no terminal."""

from __future__ import annotations

import io
import textwrap

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from metabench.render.layout import HEADINGS, entries, headings, plain, title
from metabench.report import Report, Table

_CAPTION_WIDTH = 100
_UNLIMITED = 10_000


def render(report: Report, *, terminal_width: int | None = None) -> str:
    """Write every table.

    Args:
        report: what to show.
        terminal_width: columns of the terminal, whose codes then mark headings and the best
            numbers; None for plain text, whose lines are as long as they need to be.
    """
    out = io.StringIO()
    console = Console(
        file=out,
        width=terminal_width or _UNLIMITED,
        force_terminal=terminal_width is not None,
        color_system=None if terminal_width is None else "standard",
        legacy_windows=False,
    )
    for table in report.tables:
        _print(table, console)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _print(table: Table, console: Console) -> None:
    console.print(Text(title(table), style="bold"))
    grid = _grid(table)
    # Wider than the terminal where that is too narrow: a line that wraps hides no number.
    needed = Measurement.get(console, console.options.update(width=_UNLIMITED), grid).minimum
    console.print(grid, width=max(console.width, needed), crop=False)
    width = min(_CAPTION_WIDTH, console.width)
    console.print(Text(textwrap.fill(plain(table.caption), width)), end="\n\n")


def _grid(table: Table) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(headings(table)):
        if position < len(HEADINGS):
            grid.add_column(Text(name), overflow="fold")
        else:
            grid.add_column(Text(name), justify="right", no_wrap=True)
    for row in entries(table):
        grid.add_row(*(Text(entry.text, style="bold" if entry.best else "") for entry in row))
    return grid
