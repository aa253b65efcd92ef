"""A report with some of its columns, its rows in another order, and what was selected said."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from metabench.errors import UsageError, unknown
from metabench.papers.table import PaperReport, PaperRow, PaperTable
from metabench.reports.tables import Report, Row, Table, TableCell
from metabench.results.selection import Selection

_FACTS: dict[str, Callable[[Row], Any]] = {
    "learner": lambda row: (row.learner, row.variant),
    "network": lambda row: row.network,
    "weights": lambda row: (row.n_params is None, row.n_params or 0),  # the unknown last
    "budget": lambda row: row.budget,
}
"""What a table says of each row besides its scores: rows can be sorted by it."""

_FORMER = {"params": "weights"}
"""What facts were called before."""

R = TypeVar("R", Row, PaperRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What of a report is shown, and in which order.

    Attributes:
        columns: sources, ``average``, or headings of a paper's table, in their order; all if empty.
            What a table says of each row in any case, such as ``weights``, may stand beside them.
        sort: a column, the best score first; or ``learner``, ``network``, ``weights`` or
            ``budget``.
    """

    columns: tuple[str, ...] = ()
    sort: str | None = None


def arrange(report: Report | PaperReport, arrangement: Arrangement) -> Report | PaperReport:
    """Leave out columns and sort rows; a table that has none of the columns is left out.

    Raises:
        UsageError: for a column that no table has, or where none of scores is named.
    """
    known = {name for table in report.tables for name in _columns(table)}
    known |= {name for table in report.tables for name in _headings(table)}
    by = arrangement.sort
    by = by if by in known else _FORMER.get(by or "", by)
    for name in arrangement.columns:
        if name not in {*known, *_FACTS, *_FORMER}:
            raise unknown("column", name, {*known, *_FACTS})
    scores = tuple(name for name in arrangement.columns if name in known)
    if arrangement.columns and not scores:
        raise UsageError(
            f"None of the columns {', '.join(arrangement.columns)} has scores.",
            hint=f"A table says {', '.join(_FACTS)} of each row in any case. Name columns of "
            f"scores: {', '.join(sorted(known)) or 'none'}.",
        )
    if by is not None and by not in {*known, *_FACTS}:
        raise unknown("column", by, {*known, *_FACTS})
    tables = (_with_columns(table, scores) for table in report.tables)
    kept = [_sorted(table, by) for table in tables if _columns(table)]
    return _with_tables(report, kept)


def say_selected(report: Report | PaperReport, selection: Selection) -> Report | PaperReport:
    """The report with a sentence on what was selected; of a paper's rows, those with ours alone."""
    if not selection:
        return report
    said = f"Only runs with {selection} are shown."
    return _with_tables(
        report,
        [replace(_with_ours(t), selected=said, facts=(said, *t.facts)) for t in report.tables],
    )


def _with_tables(
    report: Report | PaperReport, tables: Sequence[Table | PaperTable]
) -> Report | PaperReport:
    if isinstance(report, PaperReport):
        return replace(report, tables=tuple(t for t in tables if isinstance(t, PaperTable)))
    return replace(report, tables=tuple(t for t in tables if isinstance(t, Table)))


def _with_ours(table: Table | PaperTable) -> Table | PaperTable:
    if isinstance(table, Table):
        return table
    ours = tuple(row for row in table.rows if row.ours)
    return replace(table, rows=ours) if ours else table


def _columns(table: Table | PaperTable) -> tuple[str, ...]:
    return tuple(table.columns)


def _headings(table: Table | PaperTable) -> tuple[str, ...]:
    return tuple(table.columns.values()) if isinstance(table, PaperTable) else table.columns


def _with_columns(table: Table | PaperTable, wanted: Sequence[str]) -> Table | PaperTable:
    if not wanted:
        return table
    if isinstance(table, Table):
        return replace(table, columns=tuple(name for name in wanted if name in table.columns))
    found = {
        name: heading
        for asked in wanted
        for name, heading in table.columns.items()
        if asked in (name, heading)
    }
    rows = [_with_cells(row, found) for row in table.rows]
    kept = tuple(row for row in rows if row.ours or row.in_paper)
    labels = {one for row in kept for name in found for one in row.cells[name].deviations}
    listed = tuple(one for one in table.deviations if one.label in labels)
    return replace(table, columns=found, rows=kept, deviations=listed)


def _with_cells(row: PaperRow, columns: Collection[str]) -> PaperRow:
    """A line of a paper's table with those of our rows that have a number in some columns."""
    runs = {own.runs for name in columns if (own := row.cells[name].row)}
    return replace(row, ours=tuple(own for own in row.ours if own.runs in runs))


def _sorted(table: Table | PaperTable, by: str | None) -> Table | PaperTable:
    if by is None:
        return table
    if by in _FACTS:
        return _by_fact(table, _FACTS[by])
    sign = -1 if table.metric.better == "larger" else 1
    if isinstance(table, Table):
        return replace(table, rows=_best_first(table.rows, lambda row: row.cells.get(by), sign))
    names = [name for name, heading in table.columns.items() if by in (name, heading)]
    if not names:
        return table
    return replace(table, rows=_best_first(table.rows, lambda r: r.cells[names[0]].ours, sign))


def _by_fact(table: Table | PaperTable, fact: Callable[[Row], Any]) -> Table | PaperTable:
    if isinstance(table, Table):
        return replace(table, rows=tuple(sorted(table.rows, key=fact)))
    with_ours = [row for row in table.rows if row.ours]
    without = [row for row in table.rows if not row.ours]
    return replace(table, rows=(*sorted(with_ours, key=lambda row: fact(row.ours[0])), *without))


def _best_first(
    rows: Sequence[R], cell_of: Callable[[R], TableCell | None], sign: int
) -> tuple[R, ...]:
    def key(row: R) -> float:
        cell = cell_of(row)
        return math.inf if cell is None else sign * cell.mean

    return tuple(sorted(rows, key=key))
