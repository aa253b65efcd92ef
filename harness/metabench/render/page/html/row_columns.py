"""Which columns beside the numbers a table needs: those that tell its rows apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metabench.render.text_table import seeds_text
from metabench.reports.tables import Row, Table


@dataclass(frozen=True, slots=True)
class Column:
    """A fact of each row.

    Attributes:
        heading: its name.
        texts: one per row, "" where it is not known.
        values: by what the rows are sorted, where that is a number.
        further: whether a reader asks for it.
    """

    heading: str
    texts: tuple[str, ...]
    values: tuple[float | None, ...] = ()
    further: bool = False

    @property
    def look(self) -> str:
        """Its classes in the style sheet."""
        return " ".join(filter(None, ["number" * bool(self.values), "further" * self.further]))


_NUMBERS: Mapping[str, Callable[[Row], int | None]] = {
    "Inner steps at test": lambda row: row.steps_at_test,
    "Meta-steps": lambda row: row.meta_steps,
    "Meta-batch": lambda row: row.meta_batch,
    "Skipped meta-steps": lambda row: row.skipped_steps,
}
_ALWAYS = ("Weights", "Network", "Budget", "Seeds")
"""What is said of every table, in a column or in a line."""


def telling_columns(table: Table) -> list[Column]:
    """The facts in which rows differ."""
    return [column for column in _columns(table) if len({*column.texts}) > 1]


def in_common(table: Table) -> list[tuple[str, str]]:
    """The facts that all rows share, as name and text."""
    return [
        (column.heading, column.texts[0])
        for column in _columns(table)
        if len({*column.texts}) == 1 and column.texts[0] and column.heading in _ALWAYS
    ]


def _columns(table: Table) -> list[Column]:
    rows = table.rows
    sizes = tuple(row.n_params for row in rows)
    trained = dict.fromkeys(name for row in rows for name in row.training)
    return [
        Column("Weights", tuple(map(_number, sizes)), sizes),
        Column("Network", tuple(row.network for row in rows)),
        Column("Budget", tuple(row.budget for row in rows)),
        Column("Seeds", tuple(seeds_text(row, rows) for row in rows)),
        *(_numbers(heading, tuple(map(of, rows))) for heading, of in _NUMBERS.items()),
        Column("Normalization", tuple(row.normalization or "" for row in rows), further=True),
        *(
            Column(
                name.capitalize(),
                tuple(row.training.get(name, "") for row in rows),
                further=True,
            )
            for name in trained
        ),
    ]


def _numbers(heading: str, values: tuple[int | None, ...]) -> Column:
    return Column(heading, tuple(map(_number, values)), values, further=True)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
