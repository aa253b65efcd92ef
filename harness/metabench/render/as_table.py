"""A table for the terminal; plain text without control codes where there is no terminal."""

from __future__ import annotations

import io
import textwrap

from rich import box
from rich.cells import cell_len
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
    text = "".join(_table(table, terminal_width=terminal_width) for table in report.tables)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _table(table: Table, *, terminal_width: int | None) -> str:
    grid = _grid(table)
    unlimited = Console(width=_UNLIMITED)
    # Wider than the terminal where that is too narrow: a line that wraps hides no number.
    needed = Measurement.get(unlimited, unlimited.options, grid).minimum
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(terminal_width or _UNLIMITED, needed),
        force_terminal=terminal_width is not None,
        color_system=None if terminal_width is None else "standard",
        legacy_windows=False,
    )
    console.print(Text(title(table), style="bold"))
    console.print(grid)
    caption_width = min(_CAPTION_WIDTH, terminal_width or _CAPTION_WIDTH)
    console.print(Text(textwrap.fill(plain(table.caption), caption_width)), end="\n\n")
    return out.getvalue()


def _grid(table: Table) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = entries(table)
    for position, name in enumerate(headings(table)):
        if position < len(HEADINGS):
            grid.add_column(Text(name), overflow="fold")
        else:
            needed = max(cell_len(row[position].text) for row in rows)
            grid.add_column(Text(name), justify="right", overflow="fold", min_width=needed)
    for row in rows:
        grid.add_row(*(Text(entry.text, style="bold" if entry.best else "") for entry in row))
    return grid
