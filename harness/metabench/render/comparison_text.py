"""Comparisons as text: for a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from metabench.render.columns import columns
from metabench.render.layout import PLAIN, Cell, Column, Grid, Screen, lay_out
from metabench.render.short_legends import FULL
from metabench.render.small_table import SmallTable
from metabench.render.verdict_signs import signed
from metabench.reports.comparison import ColumnDifference, Comparison
from metabench.results.metrics import number, unit_of_difference
from metabench.stats.words import degrees_of_freedom_in_words, p_entry
from metabench.text import capitalized, counted, plain

_HEADER = ("column", "A", "B", "A - B", "95 % interval", "effect", "Wilcoxon p", "n", "detectable")


def comparison_json(comparisons: Sequence[Comparison], alone: Sequence[str]) -> str:
    """Every number, and the formulas behind them."""
    values = {
        "comparisons": [comparison_values(c) for c in comparisons],
        "without_counterpart": list(alone),
    }
    return json.dumps(values, indent=2) + "\n"


def comparison_text(
    comparisons: Sequence[Comparison], alone: Sequence[str], screen: Screen = PLAIN
) -> str:
    """Tables for a terminal, each with its verdict and a legend."""
    blocks = [_block(comparison, screen) for comparison in comparisons]
    if alone:
        said = plain(f"Runs without a counterpart on the other side: {'; '.join(alone)}.")
        blocks.append("\n".join(screen.said(said)))
    return "\n\n".join(blocks) + "\n"


def _block(comparison: Comparison, screen: Screen) -> str:
    unit = comparison.unit
    sides = [f"{side}: {plain(name)}" for side, name in zip("AB", _sides(comparison), strict=True)]
    verdict = signed(_verdict(comparison))
    full = screen.listed(_captions(comparison)) if screen.full_caption else []
    lines = [
        *screen.said(*sides, indent="   "),
        "",
        *(screen.painted(line, verdict.style) for line in screen.said(verdict.text, indent="  ")),
        "",
        lay_out(_numbers(comparison, screen), screen.of_rows, rule=False, styled=screen.styled),
        "",
        *(full or screen.said(*_legend(comparison))),
    ]
    if comparison.extremes:
        rows = [
            [plain(e.source), e.key, number(e.left, unit), number(e.right, unit),
             number(e.difference, unit, signed=True)]
            for e in comparison.extremes
        ]  # fmt: skip
        header = ("source", "episode", "A", "B", "A - B")
        lines += ["", "Episodes that differ most:", columns(header, rows, screen.of_rows)]
    return "\n".join(lines)


def _sides(comparison: Comparison) -> tuple[str, str]:
    return comparison.left, comparison.right


def _verdict(comparison: Comparison) -> str:
    """Which side is better in the last column, by the interval of the difference."""
    last = comparison.columns[-1]
    low, high = last.difference.interval()
    unit = comparison.unit
    ends = f"[{number(low, unit, signed=True)}, {number(high, unit, signed=True)}]"
    mean = number(last.difference.mean, unit, signed=True)
    said = f"A - B on {last.column} is {mean} {unit_of_difference(unit)}"
    if comparison.too_few is not None:
        few = counted(comparison.too_few, "episode")
        return f"undecided: too few episodes ({few} per source): {said} {ends}."
    if not (low > 0 or high < 0):
        return f"undecided: {said} {ends}, which contains 0."
    a_is_larger = low > 0
    better = "A" if a_is_larger == comparison.direction.startswith("more") else "B"
    return f"{better} is better: {said} {ends}."


def _legend(comparison: Comparison) -> list[str]:
    """What the columns are, and what to beware of, in three lines."""
    last = comparison.columns[-1]
    n = " or ".join(f"{n:,}" for n in sorted(_per_source(comparison)))
    counts = f"{n} episodes" + (" per source" if len(comparison.columns) > 1 else "")
    of_p = "is adjusted after Holm"
    if last.difference.speaks_of_learners:
        seeds = " and ".join(str(n) for n in last.difference.n_seeds if n)
        counts = f"{seeds} seeds, {counts}"
        of_p = "covers episodes, not seeds"
    lines = [
        f"Scores in {_units(comparison)}, {comparison.direction}; {counts}.",
        f"p {of_p}; effect: Cohen's d_z; detectable: with power 0.8.",
    ]
    if last.needed is not None:
        lines.append(f"For {last.column}: {last.needed.words()}.")
    if comparison.warnings:
        said = "; ".join(comparison.warnings)
        lines.append(f"{capitalized(said)} ({FULL}).")
    return [plain(line) for line in lines]


def _units(comparison: Comparison) -> str:
    """The unit of scores, and that of differences where it is another."""
    unit = comparison.unit
    differences = unit_of_difference(unit, full=True)
    return unit if differences == unit else f"{unit}, differences in {differences}"


def _numbers(comparison: Comparison, screen: Screen) -> Grid:
    """The table; on a terminal without the number of episodes, where the sources have the same."""
    header, rows = _grid(comparison)
    heads = tuple(
        Column(text, "key" if i == 0 else "number", style="") for i, text in enumerate(header)
    )
    grid = Grid(heads, tuple(tuple(map(_cell, row)) for row in rows))
    if screen.of_rows is None or len(_per_source(comparison)) > 1:
        return grid
    return grid.only(i for i, name in enumerate(header) if name != "n")


def _cell(text: str) -> Cell:
    """An entry; the ends of an interval may stand below each other."""
    low, comma, high = text.partition(", ")
    return Cell(f"{low},", high) if comma and low.startswith("[") else Cell(text)


def _per_source(comparison: Comparison) -> set[int]:
    """The numbers of episodes that the sources have."""
    several = len(comparison.columns) > 1
    sources = comparison.columns[:-1] if several else comparison.columns
    return {column.difference.n_episodes for column in sources}


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
            row.insert(place, degrees_of_freedom_in_words(column.difference.degrees))
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
        p_entry(column.p),
        f"{column.difference.n_episodes:,}",
        number(column.visible, unit),
    ]


def _captions(comparison: Comparison) -> list[str]:
    unit, last = comparison.unit, comparison.columns[-1]
    which, each, of_p = "Interval", "", ""
    if last.difference.speaks_of_learners:
        which = f"Interval of {last.column}"
        each = " df: the degrees of freedom of each interval."
        of_p = " It is over episodes alone; unlike the intervals, it covers no other seeds."
    lines = [
        f"Scores are in {_units(comparison)}; {comparison.direction}. "
        f"{which}: {last.difference.words()}.{each}",
        "Effect: mean of the paired differences over their standard deviation (Cohen's d_z). "
        "Wilcoxon p: signed-rank test of the paired episodes, adjusted by Holm's procedure over "
        f"the sources.{of_p} Detectable: the smallest true difference that a comparison like this "
        "detects with probability 0.8.",
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
