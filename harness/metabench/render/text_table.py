"""What all formats share: the grid of a table, how numbers are rounded, what the columns say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from metabench.papers.reference import PrintedCell
from metabench.papers.table import PaperCell, PaperRow, PaperTable
from metabench.plugin.source_deviation import DEVIATIONS
from metabench.reports.captions import SINGLE
from metabench.reports.tables import Mark, Row, Table, TableCell
from metabench.results.metrics import VAL, number
from metabench.text import plain

HEADINGS = ("Learner", "Network", "Weights", "Budget", "Seeds", "Stamps")
"""Columns on the left of our numbers."""

_PAPER_HEADINGS = {
    "group": "Group",
    "method": "Method",
    "arch": "Arch.",
    "params": "Weights (paper)",
}
"""Columns on the left of those, by field of a paper's row; an empty one is left out."""

TRANSDUCTIVE = "†"
"""Follows a learner whose predictions use the statistics of the query set."""

RUNNING = "¶"
"""Follows a learner whose predictions use running statistics."""

NOT_COMPARED = "‡"
"""Follows a number that is compared with no other of its column."""

UNSTATED = "°"
"""Follows a verdict on a number of which the source does not state all of the protocol."""

EntryMark = Mark | Literal["paper"]
"""The mark of a number of ours, or that the number is the paper's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell of the written table.

    Attributes:
        text: one line.
        mark: what a number of ours is in its column, or that the number is the paper's.
    """

    text: str
    mark: EntryMark = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table as it is written: every entry is one line of plain text.

    Attributes:
        title: one line.
        facts: what is shown, in sentences.
        headings: one per column.
        numeric: per column, whether it is aligned on the right.
        rows: as many entries as there are headings.
        notes: lists below the table, each with its heading.
        n_seeds: of each row of ours; 0 of one that is not trained.
        lettered: whether letters say which rows are compared.
    """

    title: str
    facts: tuple[str, ...]
    headings: tuple[Entry, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    n_seeds: tuple[int, ...] = ()
    lettered: bool = False

    @property
    def caption(self) -> str:
        """All facts as one text."""
        return " ".join(self.facts)

    @property
    def marks(self) -> frozenset[str]:
        """The marks that occur in it."""
        return frozenset(entry.mark for row in self.rows for entry in row if entry.mark)


def text_table_of(table: Table | PaperTable) -> TextTable:
    """How a table is written."""
    return _paper_grid(table) if isinstance(table, PaperTable) else _grid(table)


def _grid(table: Table) -> TextTable:
    # Intervals on meta-validation are over seeds in every row, so no row is told apart there.
    beside = () if table.columns == (VAL,) else table.rows
    return TextTable(
        title=title(table),
        facts=tuple(map(plain, table.facts)),
        headings=tuple(map(Entry, (*HEADINGS, *map(plain, table.columns)))),
        numeric=(False,) * len(HEADINGS) + (True,) * len(table.columns),
        rows=tuple(
            (
                *map(Entry, _left([row], beside)),
                *(_ours(row.cells.get(name)) for name in table.columns),
            )
            for row in table.rows
        ),
        n_seeds=tuple(row.n_seeds for row in table.rows),
        lettered=any(row.conditions for row in table.rows),
    )


def _paper_grid(table: PaperTable) -> TextTable:
    fields = [
        field
        for field in _PAPER_HEADINGS
        if field == "method" or any(getattr(row, field) for row in table.rows)
    ]
    ours = [row for line in table.rows for row in line.ours]
    headings = [Entry(_PAPER_HEADINGS[field], "paper") for field in fields]
    headings += [Entry(name) for name in HEADINGS]
    for heading in map(plain, table.columns.values()):
        headings += [Entry(f"{heading}, ours"), Entry(f"{heading}, paper", "paper")]
        headings += [Entry("Verdict")]
    return TextTable(
        title=title(table),
        facts=tuple(map(plain, (f"{table.citation}.", *table.facts))),
        headings=tuple(headings),
        numeric=(False,) * (len(fields) + len(HEADINGS)) + (True, True, False) * len(table.columns),
        rows=tuple(
            (
                *(Entry(_said_of(row, field), "paper") for field in fields),
                *map(Entry, _left(row.ours, ours)),
                *(entry for name in table.columns for entry in _beside(row.cells[name])),
            )
            for row in table.rows
        ),
        notes=(
            ("Reasons", tuple(map(plain, table.reasons))),
            (DEVIATIONS, tuple(plain(str(one)) for one in table.deviations)),
            ("Remarks", tuple(map(plain, table.remarks))),
        ),
        n_seeds=tuple(row.n_seeds for row in ours),
        lettered=any(row.conditions for row in ours),
    )


def _said_of(row: PaperRow, field: str) -> str:
    if field == "method" and not row.in_paper:
        return "(not in the paper)"
    return plain(getattr(row, field))


def _ours(cell: TableCell | None) -> Entry:
    return Entry("") if cell is None else Entry(cell_text(cell), cell.mark)


def _beside(cell: PaperCell) -> tuple[Entry, Entry, Entry]:
    printed = Entry(printed_text(cell.printed), "paper")
    return _ours(cell.ours), printed, Entry(verdict_text(cell))


def verdict_text(cell: PaperCell) -> str:
    """The verdict, with the printed half-width at a match, and a mark for open facts."""
    if cell.verdict is None:
        return ""
    said, printed = str(cell.verdict.outcome), cell.printed
    if said == "match" and printed is not None and printed.half_width is not None:
        said = f"{said} (± {number(printed.half_width, printed.unit)})"
    return f"{said} {UNSTATED}" if cell.verdict.unstated else said


def printed_text(printed: PrintedCell | None) -> str:
    """What a paper prints, and where the number was read if not there."""
    if printed is None:
        return ""
    stated = printed.status in ("printed", "public copy")
    return plain(printed.text if stated else f"{printed.text} ({printed.status})")


def title(table: Table | PaperTable) -> str:
    """Suite and setting, ``omniglot @ 5w1s``, or the paper's table."""
    if isinstance(table, PaperTable):
        return plain(f"{table.key}: {table.title}")
    setting = ", ".join(filter(None, (table.setting, table.evaluation)))
    return plain(f"{table.suite} @ {setting}")


def cell_text(cell: TableCell) -> str:
    """Mean and half-width as they are printed.

    >>> cell_text(TableCell(95.312, 0.618, 600, "%"))
    '95.31 ± 0.62'
    """
    mean = number(cell.mean, cell.unit)
    if math.isnan(cell.half_width):
        return f"{mean} ± n/a"
    return f"{mean} ± {number(cell.half_width, cell.unit)}"


def cell_values(cell: TableCell) -> dict[str, Any]:
    """A number of ours for programs, unrounded and in its printed form."""
    known = not math.isnan(cell.half_width)
    return {
        "mean": cell.mean,
        "half_width": cell.half_width if known else None,
        "n": cell.n,
        "interval": f"over {cell.over}",
        "median": cell.median,
        "unit": cell.unit,
        "text": cell_text(cell),
        "mark": cell.mark,
    }


def label(row: Row) -> str:
    """The learner, how it differs from a row that would look the same, its letter and signs."""
    name = f"{row.name} [{row.conditions}]" if row.conditions else row.name
    name = f"{name} {RUNNING}" if row.normalization == "running" else name
    return plain(f"{name} {TRANSDUCTIVE}" if row.transductive else name)


def seeds_text(row: Row, rows: Iterable[Row]) -> str:
    """The seeds, marked where the row's interval is over episodes and another's over seeds."""
    marked = not row.over_seeds and any(other.over_seeds for other in rows)
    return f"{ranges(row.seeds)} {SINGLE}" if marked else ranges(row.seeds)


def ranges(seeds: Sequence[int]) -> str:
    """Sorted seeds, runs of three and more shortened.

    >>> ranges([0, 1, 2, 5, 6])
    '0-2, 5, 6'
    """
    groups: list[list[int]] = []
    for seed in seeds:
        if groups and seed == groups[-1][-1] + 1:
            groups[-1].append(seed)
        else:
            groups.append([seed])
    return ", ".join(
        f"{group[0]}-{group[-1]}" if len(group) > 2 else ", ".join(map(str, group))
        for group in groups
    )


def _left(rows: Sequence[Row], beside: Sequence[Row]) -> tuple[str, ...]:
    """The entries under :data:`HEADINGS`; what several rows have in common is written once.

    Args:
        rows: of one line.
        beside: all of the table.
    """
    return (
        _distinct(label(row) for row in rows),
        _distinct(plain(row.network) for row in rows),
        _distinct("" if row.n_params is None else f"{row.n_params:,}" for row in rows),
        _distinct(plain(row.budget) for row in rows),
        _distinct(seeds_text(row, beside) for row in rows),
        plain(", ".join(dict.fromkeys(stamp for row in rows for stamp in row.stamps))),
    )


def _distinct(texts: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(filter(None, texts)))
