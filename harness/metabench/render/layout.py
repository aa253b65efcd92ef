"""What all formats share: how numbers are rounded, which cells are best, what the columns say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from metabench.report import Cell, Row, Table

HEADINGS = ("Learner", "Backend", "Params", "Budget", "Seeds", "Stamps")
"""Columns on the left of the numbers."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell of the written table."""

    text: str
    best: bool = False


def headings(table: Table) -> list[str]:
    """The heading of each column."""
    return [*HEADINGS, *(plain(column) for column in table.columns)]


def title(table: Table) -> str:
    """Suite and setting, ``omniglot @ 5w1s``."""
    return plain(f"{table.suite} @ {table.setting}")


def entries(table: Table) -> list[list[Entry]]:
    """Every row of the written table, as many entries as there are headings."""
    best = {column: _best(table, column) for column in table.columns}
    return [
        [
            *(Entry(text) for text in _left(row)),
            *(
                Entry(number(row.cells[column]), rounded_mean(row.cells[column]) == best[column])
                if column in row.cells
                else Entry("")
                for column in table.columns
            ),
        ]
        for row in table.rows
    ]


def number(cell: Cell) -> str:
    """Mean and half-width as they are printed.

    >>> number(Cell(95.312, 0.618, 600, "%"))
    '95.31 ± 0.62'
    """
    if math.isnan(cell.half_width):
        return f"{rounded_mean(cell)} ± n/a"
    return f"{rounded_mean(cell)} ± {cell.half_width:.{_decimals(cell)}f}"


def rounded_mean(cell: Cell) -> str:
    """The mean as it is printed: two decimals of a percentage, three of an error."""
    return f"{cell.mean:.{_decimals(cell)}f}"


def plain(text: str) -> str:
    """One line without control characters, which could rewrite a terminal or a file.

    >>> plain("a\\x1b[2J\\nb")
    'a\\\\x1b[2J b'
    """
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def label(row: Row) -> str:
    """The learner, with what tells it from a row that would look the same."""
    return plain(f"{row.learner} ({row.variant})" if row.variant else row.learner)


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


def _left(row: Row) -> tuple[str, ...]:
    return (
        label(row),
        plain(row.backend),
        "" if row.n_params is None else f"{row.n_params:,}",
        plain(row.budget),
        ranges(row.seeds),
        plain(", ".join(row.stamps)),
    )


def _best(table: Table, column: str) -> str | None:
    """The best printed mean of a column; None where there is nothing to compare."""
    cells = [row.cells[column] for row in table.rows if column in row.cells]
    if len(cells) < 2:
        return None
    choose = max if table.metric == "accuracy" else min
    return rounded_mean(choose(cells, key=lambda cell: cell.mean))


def _decimals(cell: Cell) -> int:
    return 2 if cell.unit == "%" else 3
