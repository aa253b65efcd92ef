"""A ranked dot plot of a table: each configuration's mean with its interval, the best first.

Positions are shares of the width, so that a page can draw them at any width.
:func:`standalone_svg` draws the same plot as a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from xml.sax.saxutils import escape

from metabench.render.figures.palette import COLORS, FAINT, INK, SHADE
from metabench.render.text_table import cell_text, label
from metabench.reports.row_names import SUITE_VERSION
from metabench.reports.tables import Mark, Row, Table, TableCell
from metabench.text import plain

LOG_RATIO = 20.0
"""Means of an error that differ by this factor are drawn on a log scale."""
_ROW, _LEFT, _PLOT, _RIGHT = 18, 210, 240, 110


@dataclass(frozen=True, slots=True)
class Dot:
    """A row of a plot; positions are percentages of the width.

    Attributes:
        row: the configuration.
        name: the learner, and what sets it apart from others of that name in the plot.
        cell: its number in the column of the plot.
        low: where its interval begins, at least 0.
        mean: where the dot is.
        high: where its interval ends, at most 100.
    """

    row: Row
    name: str
    cell: TableCell
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class DotPlot:
    """Rows that may be compared with each other.

    Attributes:
        letter: of the rows; "" if the table has no letters.
        shared: stamps that all rows share.
        heading: what they share, in words; "" of a single row.
        column: whose numbers are drawn.
        dots: the best first.
        ticks: position and number.
        log: whether the scale is logarithmic.
    """

    letter: str
    shared: tuple[str, ...]
    heading: str
    column: str
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]
    log: bool


def dot_plots(table: Table) -> list[DotPlot]:
    """A plot for each group of rows that are compared with each other, in the last column."""
    column = table.columns[-1]
    rows = [row for row in table.rows if column in row.cells]
    sign = -1 if table.metric.better == "larger" else 1
    rows.sort(key=lambda row: (row.conditions or "~", sign * row.cells[column].mean))
    return [
        _plot(letter, column, list(group), positive=not table.metric.percent)
        for letter, group in groupby(rows, key=lambda row: row.conditions)
    ]


def _plot(letter: str, column: str, rows: Sequence[Row], *, positive: bool) -> DotPlot:
    cells = [row.cells[column] for row in rows]
    means = [cell.mean for cell in cells]
    log = positive and min(means) > 0 and max(means) > LOG_RATIO * min(means)
    ends = [end for cell in cells for end in _ends(cell)]
    if log:
        ends = [max(end, min(means) / 2) for end in ends]
    low, high = _on_scale(min(ends), log=log), _on_scale(max(ends), log=log)
    margin = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        if log and value <= 0:
            return 0.0
        share = 100 * (_on_scale(value, log=log) - low) / (high - low)
        return round(min(100.0, max(0.0, share)), 1)

    return DotPlot(
        letter=letter,
        shared=_shared([row.stamps for row in rows]),
        heading=_heading(rows),
        column=column,
        dots=tuple(
            Dot(row, name, cell, place(_ends(cell)[0]), place(cell.mean), place(_ends(cell)[1]))
            for row, name, cell in zip(rows, _names(rows), cells, strict=True)
        ),
        ticks=tuple((place(value), f"{value:g}") for value in _ticks(low, high, log=log)),
        log=log,
    )


def _heading(rows: Sequence[Row]) -> str:
    """The budget, facts and stamps that several rows share; a stamp may be that of the budget."""
    budgets = {row.budget for row in rows}
    budget = [f"budget {rows[0].budget}"] if len(budgets) == 1 else []
    stamps = [
        f"stamped {stamp}"
        for stamp in _shared([row.stamps for row in rows])
        if stamp not in budgets
    ]
    facts = dict.fromkeys(_shared([row.facts for row in rows]))
    if rows[0].conditions:  # one version of the suite, which only some rows need to be told apart
        facts |= {
            fact: None for row in rows for fact in row.facts if fact.startswith(SUITE_VERSION)
        }
    said = (*budget, *facts, *stamps)
    return plain(", ".join(said)) if len(rows) > 1 else ""


def _shared(facts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What several rows all have."""
    if len(facts) < 2:
        return ()
    return tuple(fact for fact in facts[0] if all(fact in own for own in facts))


def _names(rows: Sequence[Row]) -> list[str]:
    """What each row is called in the plot; the network tells rows apart that nothing else does."""
    names = [_name(row, rows) for row in rows]
    return [
        f"{name}, {plain(row.network)}" if names.count(name) > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The learner with what sets it apart from other rows of the plot with the same learner."""
    same = [set(other.facts) for other in rows if other.learner == row.learner]
    common = set.intersection(*same)
    own = tuple(fact for fact in row.facts if fact not in common)
    return label(replace(row, facts=own, conditions=""))


def _on_scale(value: float, *, log: bool) -> float:
    return math.log10(value) if log else value


def _ends(cell: TableCell) -> tuple[float, float]:
    half = 0.0 if math.isnan(cell.half_width) else cell.half_width
    return cell.mean - half, cell.mean + half


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round numbers of a range, which is in powers of ten if ``log``.

    >>> _ticks(0.1, 9.0, log=False), _ticks(-1.2, 1.3, log=True)
    ([2.0, 4.0, 6.0, 8.0], [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
    """
    if log:
        powers = range(math.floor(low), math.ceil(high) + 1)
        firsts = (1, 2, 5) if high - low < 3 else (1,)
        every = max(1, len(powers) // 5)
        found = [float(f"{first}e{power}") for power in powers[::every] for first in firsts]
        return [value for value in found if low <= math.log10(value) <= high]
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(n * unit for n in (1, 2, 5, 10) if n * unit >= rough)
    first = math.ceil(low / step)
    return [round(float(n * step), 10) for n in range(first, math.floor(high / step) + 1)]


def standalone_svg(table: Table) -> str:
    """The plots of a table as one SVG file, in points."""
    parts: list[str] = []
    y = 0.0
    for plot in dot_plots(table):
        y += _ROW
        heading = " ".join(filter(None, (plot.letter, plot.column)))
        said = ", ".join(filter(None, (f"{heading}, {table.metric.words}", plot.heading)))
        parts.append(_text(0, y - 5, plain(said), weight="bold"))
        top = y
        for dot in plot.dots:
            y += _ROW
            parts += _drawn(dot, y - _ROW / 2)
        for at, said in plot.ticks:
            x = _x(at)
            parts.insert(0, _line(x, top, x, y, SHADE))
            parts.append(_text(x, y + 11, said, anchor="middle", color=INK))
        y += _ROW
    width, height = _LEFT + _PLOT + _RIGHT, y + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height:g}pt" '
        f'viewBox="0 0 {width} {height:g}" font-family="sans-serif" font-size="9">'
        f'<rect width="{width}" height="{height:g}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def mark_of(cell: TableCell) -> Mark:
    """The mark that a page shows: by adjusted p-values, if there are any."""
    return cell.family_mark or cell.mark


def _drawn(dot: Dot, y: float) -> Iterable[str]:
    mark = mark_of(dot.cell)
    color = COLORS[0] if mark in ("best", "tied") else FAINT
    fill = color if mark in ("best", "worse", "") else "#ffffff"
    weight = "bold" if mark == "best" else "normal"
    yield _text(0, y + 3, dot.name, weight=weight)
    yield _line(_x(dot.low), y, _x(dot.high), y, color, width=1.5)
    yield (
        f'<circle cx="{_x(dot.mean):.1f}" cy="{y:g}" r="3.2" fill="{fill}" stroke="{color}" '
        'stroke-width="1.5"/>'
    )
    right = _LEFT + _PLOT + _RIGHT
    yield _text(right, y + 3, cell_text(dot.cell), anchor="end", weight=weight)


def _x(share: float) -> float:
    return _LEFT + _PLOT * share / 100


def _line(x: float, y: float, to_x: float, to_y: float, color: str, *, width: float = 1) -> str:
    ends = f'x1="{x:.1f}" y1="{y:g}" x2="{to_x:.1f}" y2="{to_y:g}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width:g}"/>'


def _text(
    x: float,
    y: float,
    said: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    color: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{color}">{escape(said)}</text>'
    )
