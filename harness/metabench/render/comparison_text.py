"""Comparisons as text: for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from metabench.render.columns import columns
from metabench.render.small_table import SmallTable
from metabench.reports.comparison import ColumnDifference, Comparison
from metabench.results.metrics import number
from metabench.stats.words import p_value
from metabench.text import plain

_HEADER = ("column", "A", "B", "A - B", "95 % interval", "effect", "Wilcoxon p", "n", "visible")


def comparison_json(comparisons: Sequence[Comparison], alone: Sequence[str]) -> str:
    """Every number, and the formulas behind them."""
    values = {
        "comparisons": [comparison_values(c) for c in comparisons],
        "without_counterpart": list(alone),
    }
    return json.dumps(values, indent=2) + "\n"


def comparison_text(comparisons: Sequence[Comparison], alone: Sequence[str]) -> str:
    """Tables for a terminal, with their captions."""
    blocks = [_block(comparison) for comparison in comparisons]
    if alone:
        blocks.append(plain(f"Runs without a counterpart on the other side: {'; '.join(alone)}."))
    return "\n\n".join(blocks) + "\n"


def _block(comparison: Comparison) -> str:
    unit = comparison.unit
    lines = [
        f"A: {plain(comparison.left)}",
        f"B: {plain(comparison.right)}",
        "",
        _table(comparison),
        "",
        *_captions(comparison),
    ]
    if comparison.extremes:
        rows = [
            [plain(e.source), e.key, number(e.left, unit), number(e.right, unit),
             number(e.difference, unit, signed=True)]
            for e in comparison.extremes
        ]  # fmt: skip
        header = ("source", "episode", "A", "B", "A - B")
        lines += ["", "Episodes that differ most:", columns(header, rows)]
    return "\n".join(lines)


def _table(comparison: Comparison) -> str:
    return columns(*_grid(comparison))


def comparison_table(comparison: Comparison) -> SmallTable:
    """The differences of a comparison, with its captions as notes."""
    title = f"A: {plain(comparison.left)}; B: {plain(comparison.right)}"
    return SmallTable(title, *_grid(comparison), _captions(comparison))


def _grid(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """A row per column, with degrees of freedom where the intervals have them."""
    header, found = list(_HEADER), comparison.columns
    rows = [_row(column, comparison.unit) for column in found]
    if any(column.difference.speaks_of_learners for column in found):
        place = header.index("95 % interval") + 1
        header.insert(place, "df")
        for row, column in zip(rows, found, strict=True):
            row.insert(place, f"{column.difference.degrees:.1f}")
    return header, rows


def _row(column: ColumnDifference, unit: str) -> list[str]:
    low, high = column.difference.interval()
    return [
        plain(column.column),
        number(column.left, unit),
        number(column.right, unit),
        number(column.difference.mean, unit, signed=True),
        f"[{number(low, unit, signed=True)}, {number(high, unit, signed=True)}]",
        "" if column.effect is None else f"{column.effect:+.2f}",
        p_value(column.p),
        f"{column.difference.n_episodes:,}",
        number(column.visible, unit),
    ]


def _captions(comparison: Comparison) -> list[str]:
    unit, last = comparison.unit, comparison.columns[-1]
    which, each = "Interval", ""
    if last.difference.speaks_of_learners:
        which = f"Interval of {last.column}"
        each = " df: the degrees of freedom of each interval."
    lines = [
        f"Scores are in {unit}; {comparison.direction}. {which}: {last.difference.words()}.{each}",
        "Effect: mean of the paired differences over their standard deviation (Cohen's d_z). "
        "Wilcoxon p: signed-rank test of the paired episodes, adjusted by Holm's procedure over "
        "the sources. Visible: the smallest true difference that a comparison like this detects "
        "with probability 0.8.",
    ]
    if last.bootstrap is not None:
        ends = (last.bootstrap.low, last.bootstrap.high)
        low, high = (number(end, unit, signed=True) for end in ends)
        words = f"{last.bootstrap.words()}; with few seeds it is too narrow"
        lines.append(f"Bootstrap of {last.column}: [{low}, {high}], {words}.")
    if last.needed is not None:
        lines.append(f"For {last.column}: {last.needed.words()}.")
    if comparison.stamps:
        lines.append(f"Stamps: {', '.join(comparison.stamps)}.")
    return [plain(line) for line in (*lines, *comparison.notes)]


def comparison_values(comparison: Comparison) -> dict[str, Any]:
    """Every number of a comparison, and the formulas behind them."""
    return {
        "left": comparison.left,
        "right": comparison.right,
        "unit": comparison.unit,
        "stamps": list(comparison.stamps),
        "notes": list(comparison.notes),
        "columns": [_column_values(column) for column in comparison.columns],
        "extremes": [asdict(e) | {"difference": e.difference} for e in comparison.extremes],
    }


def _column_values(column: ColumnDifference) -> dict[str, Any]:
    low, high = column.difference.interval()
    return {
        "column": column.column,
        "left": column.left,
        "right": column.right,
        "difference": column.difference.mean,
        "low": low,
        "high": high,
        "n_episodes": column.difference.n_episodes,
        "n_seeds": list(column.difference.n_seeds),
        "degrees": column.difference.degrees if column.difference.speaks_of_learners else None,
        "formula": column.difference.words(),
        "effect": column.effect,
        "wilcoxon_p_holm": column.p,
        "visible": column.visible,
        "bootstrap": asdict(column.bootstrap) if column.bootstrap else None,
        "needed": asdict(column.needed) if column.needed else None,
    }
