"""A reference in words and as plain values: its numbers, and the protocol of each row."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from metabench.papers.conditions import FACTS, HALF_WIDTH, NOT_STATED, Uncertainty, known
from metabench.papers.reference import PrintedRow, Reference

PROTOCOL_HEADER = ("row", "setting", *FACTS.values(), HALF_WIDTH)
"""The columns of :func:`protocol_rows`."""


def protocol_rows(reference: Reference) -> list[list[str]]:
    """What the source states of the protocol of each row; settings with equal facts share a line.

    The half-width counts where one is printed; what is missing or printed without one is a dash.
    """
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in reference.rows:
        for setting in reference.settings_of(row):
            conditions = reference.conditions_of(row, setting)
            facts = [_said(getattr(conditions, name)) for name in FACTS]
            line = (_name(row), *facts, _half_widths(reference, row, setting))
            lines.setdefault(line, []).append(setting)
    return [[line[0], ", ".join(settings), *line[1:]] for line, settings in lines.items()]


def facts_stated(reference: Reference) -> tuple[int, int]:
    """How many facts of its rows and their settings a source states, and how many there are."""
    facts = [
        known(getattr(reference.conditions_of(row, setting), name)) is not None
        for row in reference.rows
        for setting in reference.settings_of(row)
        for name in FACTS
    ]
    return sum(facts), len(facts)


def interval_in_words(interval: Uncertainty) -> str:
    """The formula of a half-width, and what it is over."""
    formula = known(interval.formula) or f"formula {NOT_STATED}"
    n, over = known(interval.n), known(interval.over)
    counted = f"n {NOT_STATED}" if n is None else f"n = {n:,}"
    if over is not None:
        counted = f"{counted}, over {over}" if n is None else f"{counted} {over}"
    return f"{formula}, {counted}"


def printed_rows(reference: Reference) -> list[list[str]]:
    """The numbers of each row as printed, and where they were read if the paper does not say so."""
    rows = []
    for row in reference.rows:
        cells = [reference.cell(row, column) for column in reference.columns]
        own = ("printed", reference.status)
        texts = [
            cell.text if cell.text and cell.status in own else f"{cell.text} ({cell.status})"
            for cell in cells
        ]
        rows.append([_name(row), *(text.strip() for text in texts)])
    return rows


def described(reference: Reference) -> dict[str, Any]:
    """Everything that is known, as plain values: each cell with the spread that it implies."""
    about = reference.model_dump(mode="json", include={"key", "title", "metric", "budget", "note"})
    settings = {
        name: setting.model_dump(exclude_none=True) for name, setting in reference.settings.items()
    }
    return about | {
        "metric": reference.metric.name,
        "citation": reference.citation.model_dump(mode="json"),
        "settings": settings,
        "columns": [
            column.model_dump(mode="json", exclude={"interval"}) for column in reference.columns
        ],
        "rows": [_row(reference, row) for row in reference.rows],
    }


def _row(reference: Reference, row: PrintedRow) -> dict[str, Any]:
    cells = {}
    for column in reference.columns:
        cell = reference.cell(row, column)
        cells[column.name] = asdict(cell) | {
            "implied_std": cell.implied_std,
            "setting": reference.setting_of(row, column),
        }
    protocol = {
        setting: reference.conditions_of(row, setting).model_dump(exclude_none=True)
        for setting in reference.settings_of(row)
    }
    left_out = {"cells", "interval", "protocol", "by_setting"}
    about = row.model_dump(mode="json", exclude=left_out)
    return about | {"protocol": protocol, "cells": cells}


def _name(row: PrintedRow) -> str:
    return f"{row.method} ({row.group})" if row.group else row.method


def _said(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _half_widths(reference: Reference, row: PrintedRow, setting: str) -> str:
    """In words, once for all columns where they agree."""
    columns: dict[str, list[str]] = {}
    for column in reference.columns:
        here = reference.setting_of(row, column) == setting
        if here and reference.cell(row, column).half_width is not None:
            interval = reference.interval_of(row, column)
            nothing = not any(map(known, (interval.n, interval.over, interval.formula)))
            said = NOT_STATED if nothing else interval_in_words(interval)
            columns.setdefault(said, []).append(column.heading)
    if len(columns) > 1:
        return "; ".join(f"{', '.join(names)}: {said}" for said, names in columns.items())
    return "".join(columns) or "-"
