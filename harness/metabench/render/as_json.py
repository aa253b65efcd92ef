"""JSON: every number unrounded and in its printed form, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from metabench.papers.table import PaperCell, PaperReport, PaperRow, PaperTable
from metabench.render.text_table import cell_values
from metabench.reports.tables import Report, Row, Table


def render(report: Report | PaperReport) -> str:
    """Write ``{"tables": [...], "problems": [...]}``, ASCII only."""
    tables = [
        _paper_table(table) if isinstance(table, PaperTable) else _table(table)
        for table in report.tables
    ]
    value = {"tables": tables, "problems": report.problems}
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    return {
        "suite": table.suite,
        "setting": table.setting,
        "evaluation": table.evaluation,
        "metric": table.metric.name,
        "caption": table.caption,
        "columns": table.columns,
        "rows": [_row(row, columns=table.columns) for row in table.rows],
    }


def _row(row: Row, *, columns: tuple[str, ...]) -> dict[str, Any]:
    cells = {column: cell_values(row.cells[column]) for column in columns if column in row.cells}
    return {**_about(row), "cells": cells}


def _about(row: Row) -> dict[str, Any]:
    values = asdict(row)
    del values["cells"], values["facts"], values["versions"], values["seedless"]
    return {"learner": values.pop("learner"), "variant": row.variant, **values}


def _paper_table(table: PaperTable) -> dict[str, Any]:
    return {
        "paper": table.key,
        "title": table.title,
        "citation": table.citation,
        "metric": table.metric.name,
        "caption": table.caption,
        "columns": dict(table.columns),
        "rows": [_paper_row(row, columns=tuple(table.columns)) for row in table.rows],
        "reasons": table.reasons,
        "deviations": [one.values() for one in table.deviations],
        "remarks": table.remarks,
    }


def _paper_row(row: PaperRow, *, columns: tuple[str, ...]) -> dict[str, Any]:
    return {
        "group": row.group,
        "method": row.method,
        "arch": row.arch,
        "params": row.params,
        "in_paper": row.in_paper,
        "ours": [_about(ours) for ours in row.ours],
        "cells": {column: _paper_cell(row.cells[column]) for column in columns},
    }


def _paper_cell(cell: PaperCell) -> dict[str, Any]:
    printed = cell.printed
    return {
        "runs": cell.row.runs if cell.row else (),
        "ours": cell_values(cell.ours) if cell.ours else None,
        "spread": cell.spread,
        "printed": printed and {**asdict(printed), "implied_std": printed.implied_std},
        "verdict": cell.verdict and asdict(cell.verdict),
        "deviations": cell.deviations,
    }
