"""A table for the terminal; plain text without control codes where there is no terminal."""

from __future__ import annotations

import io
import textwrap

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from metabench.papers.table import PaperReport
from metabench.render.legends import legend
from metabench.render.text_table import NOT_COMPARED, Entry, EntryMark, TextTable, text_table_of
from metabench.reports.tables import Report

_CAPTION_WIDTH = 100
_STYLES: dict[EntryMark, str] = {"best": "bold", "tied": "underline", "paper": "bright_black"}
_SIGNS: dict[EntryMark, str] = {
    "best": " *",
    "tied": " =",
    "not compared": f" {NOT_COMPARED}",
}
_UNLIMITED = 10_000


def render(report: Report | PaperReport, *, terminal_width: int | None = None) -> str:
    """Write every table.

    Args:
        report: what to show.
        terminal_width: columns of the terminal, whose codes then mark headings and the best
            numbers; None for plain text, whose lines are as long as they need to be.
    """
    grids = map(text_table_of, report.tables)
    text = "".join(_table(grid, terminal_width=terminal_width) for grid in grids)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _table(grid: TextTable, *, terminal_width: int | None) -> str:
    drawn = _drawn(grid)
    unlimited = Console(width=_UNLIMITED)
    # Wider than the terminal where that is too narrow: a line that wraps hides no number.
    needed = Measurement.get(unlimited, unlimited.options, drawn).minimum
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(terminal_width or _UNLIMITED, needed),
        force_terminal=terminal_width is not None,
        color_system=None if terminal_width is None else "standard",
        legacy_windows=False,
    )
    width = min(_CAPTION_WIDTH, terminal_width or _CAPTION_WIDTH)
    console.print(Text(grid.title, style="bold"))
    console.print(drawn)
    words = legend(grid, best=_SIGNS["best"].strip(), tied=_SIGNS["tied"].strip())
    console.print(Text(textwrap.fill(f"{grid.caption} {words}", width)), end="\n\n")
    for heading, notes in grid.notes:
        if notes:
            lines = [textwrap.fill(f"- {note}", width, subsequent_indent="  ") for note in notes]
            console.print(Text("\n".join([f"{heading}:", *lines])), end="\n\n")
    return out.getvalue()


def _drawn(grid: TextTable) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [[_text(entry) for entry in row] for row in grid.rows]
    for position, (heading, numeric) in enumerate(zip(grid.headings, grid.numeric, strict=True)):
        if numeric:
            needed = max((row[position].cell_len for row in rows), default=0)
            drawn.add_column(_text(heading), justify="right", overflow="fold", min_width=needed)
        else:
            drawn.add_column(_text(heading), overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _text(entry: Entry) -> Text:
    # A sign stands outside the column of figures, so numbers without one keep its place.
    sign = _SIGNS.get(entry.mark, "  " if "±" in entry.text else "")
    return Text(f"{entry.text}{sign}", style=_STYLES.get(entry.mark, ""))
