"""CSV: one line per number, for spreadsheets and data frames; nothing else, no problems either."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from metabench.papers.table import PaperCell, PaperReport, PaperRow, PaperTable
from metabench.render.text_table import cell_values
from metabench.reports.tables import Report, Row, Table
from metabench.text import plain

_ROW = (
    *("learner", "variant", "network", "n_params", "budget", "seeds", "stamps", "transductive"),
    "conditions",
)
_CELL = ("mean", "half_width", "n", "interval", "median", "unit", "text", "mark")
_TRAINING = ("meta_steps", "meta_batch", "skipped_steps", "steps_at_test", "training")
_TEST = ("normalization",)
FIELDS = ("suite", "setting", "evaluation", "metric", *_ROW, "column", *_CELL, *_TRAINING, *_TEST)
PAPER_FIELDS = (
    *("paper", "group", "method", "arch", "params", "in_paper", "metric", *_ROW, "column", *_CELL),
    *("spread", "printed", "printed_value", "printed_half_width", "printed_n", "printed_over"),
    *("printed_formula", "implied_std", "status", "note", "verdict", "difference", "reason"),
    *("unstated", "deviations", *_TRAINING, *_TEST),
)


def render(report: Report | PaperReport) -> str:
    """Write a heading and a line per cell; lists are joined with semicolons."""
    papers = any(isinstance(table, PaperTable) for table in report.tables)
    fields = PAPER_FIELDS if papers else FIELDS
    out = io.StringIO()
    writer = csv.DictWriter(out, fields, lineterminator="\n")
    writer.writeheader()
    for table in report.tables:
        lines = _paper_lines(table) if isinstance(table, PaperTable) else _lines(table)
        writer.writerows({name: _entry(name, v) for name, v in line.items()} for line in lines)
    return out.getvalue()


def _lines(table: Table) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        for column in table.columns:
            if (cell := row.cells.get(column)) is not None:
                yield {
                    "suite": table.suite,
                    "setting": table.setting,
                    "evaluation": table.evaluation,
                    "metric": table.metric.name,
                    **_row(row),
                    "column": column,
                    **cell_values(cell),
                }


def _row(row: Row) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in (*_ROW, *_TRAINING, *_TEST)}
    return values | {
        "seeds": ";".join(map(str, row.seeds)),
        "stamps": ";".join(row.stamps),
        "transductive": "yes" if row.transductive else "no",
        "training": "; ".join(f"{name}: {value}" for name, value in row.training.items()),
    }


def _paper_lines(table: PaperTable) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        for column, heading in table.columns.items():
            about = {"paper": table.key, "metric": table.metric.name, "column": heading}
            cell = row.cells[column]
            named = [str(one) for one in table.deviations if one.label in cell.deviations]
            yield about | _paper_row(row) | _beside(cell) | {"deviations": " ".join(named)}


def _paper_row(row: PaperRow) -> dict[str, Any]:
    texts = {name: getattr(row, name) for name in ("group", "method", "arch", "params")}
    return texts | {"in_paper": "yes" if row.in_paper else "no"}


def _beside(cell: PaperCell) -> dict[str, Any]:
    line: dict[str, Any] = {"spread": cell.spread}
    if cell.row and cell.ours:
        line |= _row(cell.row) | cell_values(cell.ours)
    if printed := cell.printed:
        line |= {
            "printed": printed.text,
            "printed_value": printed.value,
            "printed_half_width": printed.half_width,
            "printed_n": printed.n,
            "printed_over": printed.over,
            "printed_formula": printed.formula,
            "implied_std": printed.implied_std,
            "status": printed.status,
            "note": printed.note,
        }
    if verdict := cell.verdict:
        line |= {
            "verdict": verdict.outcome,
            "difference": verdict.difference,
            "reason": verdict.reason,
            "unstated": ";".join(verdict.unstated),
        }
    return line


def _entry(field: str, value: Any) -> Any:
    """Text that a spreadsheet does not take for a formula; a number of ours is as printed."""
    if not isinstance(value, str) or field == "text":
        return value
    line = plain(value)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
