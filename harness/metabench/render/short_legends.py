"""What a reader of a table in the terminal must know, in three short lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from metabench.papers.table import PaperTable, our_rows
from metabench.render.text_table import (
    NOT_COMPARED,
    RUNNING,
    TRANSDUCTIVE,
    UNSTATED,
    text_table_of,
)
from metabench.reports.captions import SINGLE
from metabench.reports.tables import Row, Table, TableCell
from metabench.results.metrics import AVERAGE, VAL
from metabench.text import capitalized

FULL = "--caption full"
"""The option that prints the whole caption."""


def short_legend(table: Table | PaperTable, *, common_said: bool = True) -> list[str]:
    """What is printed and what n counts; what the marks mean; what to beware of.

    Args:
        table: what is shown.
        common_said: whether what all rows have in common is said above the table.
    """
    rows = our_rows(table)
    signs = _signs(rows, common_said=common_said)
    stamps_said = common_said and len({row.stamps for row in rows}) == 1
    lines = (_numbers(table), _marks(table, signs), _warnings(table, stamps_said=stamps_said))
    return [line for line in lines if line]


def _numbers(table: Table | PaperTable) -> str:
    columns = [name for name in table.columns if name != VAL] or [VAL]
    shown = {*columns} - {AVERAGE} if isinstance(table, Table) else {*()}
    cells = [
        cell
        for row in our_rows(table)
        for name, cell in row.cells.items()
        if (name in shown if shown else name != VAL)
        and (name != AVERAGE or len(row.cells) == 1)  # n of an average counts all sources
    ]
    if not cells:
        return ""
    seeds, episodes = _counts(cells, "seeds"), _counts(cells, "episodes")
    tested = f"{episodes} {'episode' if episodes == '1' else 'episodes'}"
    each = ""
    if columns == [AVERAGE] or (len(columns) > 1 and episodes == "1"):
        each = " per source"
    elif len(columns) > 1:
        each = " each"
    n = f"{tested}{each}, not seeds"
    if seeds:
        n = f"{seeds} {'seed' if seeds == '1' else 'seeds'}"
        n += f" ({SINGLE}: {tested})" if episodes else ""
    metric = table.metric
    what = f"{metric.title.capitalize()} in %" if metric.percent else metric.name
    if isinstance(table, PaperTable):
        what = f"Ours: {what}"
    elif metric.better == "smaller":
        what = f"{what}, {metric.direction}"
    return f"{what}: mean ± 95 % half-width, n = {n}."


def _counts(cells: Iterable[TableCell], over: str) -> str:
    counts = sorted({cell.n for cell in cells if cell.over == over})
    return " or ".join(f"{n:,}" for n in counts)


def _marks(table: Table | PaperTable, signs: Iterable[str]) -> str:
    text = text_table_of(table)
    among = "of its column"
    if "not compared" in text.marks:  # one of them may be better than the best
        among = "of the compared rows"
    if text.lettered:
        among = "among rows with the same letter"
    of_marks: dict[str, str] = {
        "best": f"* best {among}",
        "tied": "= not clearly worse",
        "worse": "no mark: worse",
        "not compared": f"{NOT_COMPARED} not compared",
    }
    said = [words for mark, words in of_marks.items() if mark in text.marks]
    said += signs
    if any(entry.text.endswith(f" {UNSTATED}") for row in text.rows for entry in row):
        said.append(f"{UNSTATED} not all of the protocol is known")
    line = ", ".join(said)
    return f"{line}." if line else ""


def _signs(rows: Sequence[Row], *, common_said: bool) -> Iterator[str]:
    """What the signs after the names of learners mean."""
    of_signs = {
        f"{TRANSDUCTIVE} uses query statistics": [row.transductive for row in rows],
        f"{RUNNING} uses running statistics": [row.normalization == "running" for row in rows],
    }
    for words, marked in of_signs.items():
        if any(marked) and not (common_said and all(marked)):
            yield words


def _warnings(table: Table | PaperTable, *, stamps_said: bool) -> str:
    warnings = list(table.warnings)
    if isinstance(table, PaperTable):
        if table.reasons:
            warnings.append("each verdict has a reason")
    elif any(row.stamps for row in table.rows) and not stamps_said:
        warnings.append("stamped rows compare with no paper")
    if not warnings:
        return ""
    said = "; ".join(warnings)
    return f"{capitalized(said)} ({FULL})."
