"""CSV: one line per number, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
import math

from metabench.render.layout import number, plain
from metabench.report import Report, Row, Table

FIELDS = (
    *("suite", "setting", "metric", "learner", "variant", "backend", "n_params", "budget"),
    *("seeds", "stamps", "column", "mean", "half_width", "n", "unit", "text"),
)


def render(report: Report) -> str:
    """Write a heading and a line per cell; lists are joined with semicolons."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for table in report.tables:
        for row in table.rows:
            writer.writerows(_lines(table, row))
    return out.getvalue()


def _lines(table: Table, row: Row) -> list[list[str | float | int | None]]:
    return [
        [
            *map(_inert, (table.suite, table.setting, table.metric)),
            *map(_inert, (row.learner, row.variant, row.backend)),
            row.n_params,
            _inert(row.budget),
            ";".join(map(str, row.seeds)),
            _inert(";".join(row.stamps)),
            _inert(column),
            cell.mean,
            None if math.isnan(cell.half_width) else cell.half_width,
            cell.n,
            cell.unit,
            number(cell),
        ]
        for column in table.columns
        if (cell := row.cells.get(column)) is not None
    ]


def _inert(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    line = plain(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
