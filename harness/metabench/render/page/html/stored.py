"""What the page's script needs besides the page: files, pairs of configurations, large figures.

It is JSON, compressed, as text: the browser inflates it at the first click.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any
from zlib import compressobj

from metabench.papers.table import PaperReport, PaperTable
from metabench.render import Format, render
from metabench.render.page.dot_plot import standalone_svg
from metabench.render.page.html.parts import stored_figures
from metabench.render.page.values import (
    Line,
    OpenedFunction,
    OpenedImages,
    Page,
    PairOfSides,
    Side,
    SideBySide,
)
from metabench.render.text_table import label
from metabench.reports.tables import Report, Table
from metabench.results.metrics import unit_of_difference
from metabench.stats.words import p_value
from metabench.text import plain

FORMATS = (Format.csv, Format.json, Format.tex)
"""What every table can be downloaded as; ours also as an SVG."""


def stored(page: Page) -> str:
    """Everything that is stored, in base64."""
    tables = {
        **{f"table-{n}": _files(table) for n, table in enumerate(page.tables, 1)},
        **{f"paper-{n}": _files(table) for n, table in enumerate(page.papers, 1)},
    }
    content = {
        "files": tables,
        "groups": [_group(group) for group in page.sides or ()],
        "figures": stored_figures(page),
    }
    packed = json.dumps(content, separators=(",", ":"), allow_nan=False)
    deflate = compressobj(9)
    return b64encode(deflate.compress(packed.encode()) + deflate.flush()).decode()


def _files(table: Table | PaperTable) -> dict[str, str]:
    report: Report | PaperReport
    if isinstance(table, PaperTable):
        report = PaperReport((table,), ())
        return {str(kind): render(report, kind) for kind in FORMATS}
    report = Report((table,), ())
    return {str(kind): render(report, kind) for kind in FORMATS} | {"svg": standalone_svg(table)}


def _group(group: SideBySide) -> dict[str, Any]:
    return {
        "name": plain(group.place),
        "unit": group.unit,
        "differences": unit_of_difference(group.unit, full=True),
        "better": group.better,
        "columns": group.columns,
        "sides": [_side(side, group) for side in group.sides],
        "pairs": [_pair(pair, group.columns) for pair in group.pairs],
        "opened": {key: _opened(one) for key, one in group.opened.items()},
        "opening": [plain(text) for text in group.opening],
    }


def _opened(one: OpenedFunction | OpenedImages) -> dict[str, Any]:
    about = {"source": plain(one.source), "number": one.number}
    if isinstance(one, OpenedFunction):
        return about | {
            "low": one.low,
            "high": one.high,
            "truth": _rounded(one.truth),
            "support": _points(one.support),
        }
    return about | {
        "classes": [plain(name) for name in one.classes],
        "sheet": f"data:image/png;base64,{b64encode(one.sheet).decode()}",
        "size": [one.width, one.height],
        "shown": [one.n_support, one.n_query],
        "leftOut": one.left_out,
        "places": one.answers_at,
        "labels": one.labels,
    }


def _side(side: Side, group: SideBySide) -> dict[str, Any]:
    overall = sum(side.sources.values()) / len(side.sources)
    means = [side.sources.get(column, overall) for column in group.columns]
    return {
        "name": label(side.row),
        "facts": {
            "learner": [plain(side.row.learner)],
            "suite": [plain(group.suite)],
            "stamp": [plain(stamp) for stamp in side.row.stamps],
        },
        "means": _exact(means),
        "training": {name: _points(line) for name, line in side.training.items()},
        "steps": _rounded(side.adaptation),
        "scores": {
            key: _exact([score])[0] for key, score in side.scores.items() if key in group.opened
        },
        "predictions": {key: _rounded(values) for key, values in side.predictions.items()},
        "silent": plain(side.silent),
    }


def _pair(pair: PairOfSides, columns: Sequence[str]) -> dict[str, Any]:
    found = [pair.by_column[column] for column in columns]
    return {
        "of": [pair.left, pair.right],
        "differences": [_exact([one.mean, *one.interval()]) for one in found],
        "p": p_value(pair.p),
        "n": found[0].n_episodes,
        "how": found[0].words(),
        "episodes": [
            [plain(one.source), plain(one.key), *_exact([one.left, one.right]), one.number]
            for one in pair.episodes
        ],
    }


def _points(line: Line) -> list[list[float | None]]:
    return [_rounded(point) for point in line]


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Five digits, which is more than a drawing shows; None of what is no number."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]


def _exact(values: Iterable[float]) -> list[float | None]:
    """Numbers that the page prints, which the script rounds as tables do; None as above."""
    return [round(value, 9) if math.isfinite(value) else None for value in values]
