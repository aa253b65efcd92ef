"""JSON: every number unrounded beside its printed form, for programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from metabench.render.layout import number
from metabench.report import Cell, Report, Row, Table


def render(report: Report) -> str:
    """Write ``{"tables": [...], "problems": [...]}``, ASCII only."""
    value = {"tables": [_table(t) for t in report.tables], "problems": report.problems}
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    return {
        "suite": table.suite,
        "setting": table.setting,
        "metric": table.metric,
        "caption": table.caption,
        "columns": table.columns,
        "rows": [_row(row, columns=table.columns) for row in table.rows],
    }


def _row(row: Row, *, columns: tuple[str, ...]) -> dict[str, Any]:
    cells = {column: _cell(row.cells[column]) for column in columns if column in row.cells}
    return {**asdict(row), "cells": cells}


def _cell(cell: Cell) -> dict[str, Any]:
    known = not math.isnan(cell.half_width)
    return {
        "mean": cell.mean,
        "half_width": cell.half_width if known else None,
        "n": cell.n,
        "unit": cell.unit,
        "text": number(cell),
    }
