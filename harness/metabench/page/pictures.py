"""The figures of a page: curves of every setting, and cells where architectures were searched."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

from metabench.errors import DataError, MetabenchError
from metabench.figures import cell, curves
from metabench.figures.drawing import house_style, to_svg
from metabench.page.values import Picture
from metabench.results import Results, Run

if TYPE_CHECKING:
    from metabench.figures.drawing import Drawing

MOST = 12
"""Configurations that one figure can show so that they are told apart."""

_TAG = re.compile(r"<\w[^<>]*>")
_SIZE = re.compile(r' (width|height)="([\d.]+)pt"')
_STYLE = re.compile(r'\sstyle="([^"]*)"')
_NAMESPACE = re.compile(r'\sxmlns(?::\w+)?="[^"]*"')
_ATTRIBUTES = {
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity"),
    *("stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin"),
    *("stroke-miterlimit", "opacity", "font-size", "text-anchor"),
}


def draw_pictures(runs: Sequence[Run]) -> list[Picture]:
    """Draw every setting of a suite: first all curves, then all cells.

    Raises:
        UsageError: when matplotlib is not installed.
    """
    with house_style():
        pass  # says at once that matplotlib is missing
    by_setting: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_setting[run.record.spec.suite, run.record.spec.setting].append(run)
    searching = {
        place: found
        for place, group in by_setting.items()
        if (found := [run for run in group if (run.folder / "genotypes.jsonl").exists()])
    }
    kinds = (
        ("Learning curves and steps at meta-test", curves.draw, by_setting),
        ("Searched cells", cell.draw, searching),
    )
    pictures: list[Picture] = []
    for title, draw, groups in kinds:
        for place in sorted(groups):
            name = f"figure-{len(pictures) + 1}"
            if picture := _picture(groups[place], draw, title=title, name=name):
                pictures.append(picture)
    return pictures


def _picture(
    runs: Sequence[Run], draw: Callable[[Results], Drawing], *, title: str, name: str
) -> Picture | None:
    """One figure, or why there is none in a sentence; None where there is nothing to draw."""
    spec = runs[0].record.spec
    blank = Picture(
        suite=spec.suite,
        setting=spec.setting,
        learners=tuple(dict.fromkeys(run.record.spec.learner.name for run in runs)),
        title=title,
    )
    n_configs = len({run.config_id for run in runs})
    if n_configs > MOST:
        return replace(
            blank,
            notes=(
                f"{n_configs:,} configurations are too many to be told apart in one figure; put a "
                f"report of at most {MOST} of them into a folder of its own to see it.",
            ),
        )
    try:
        drawing = replace(draw(Results(tuple(runs), (), ())), name=name)
        svg = without_styles(to_svg(drawing, inline=True))
    except DataError as error:
        damaged = "holds a line" in error.message
        return replace(blank, notes=(error.message,)) if damaged else None
    except MetabenchError as error:
        return replace(blank, notes=(error.message,))
    return replace(blank, description=drawing.description, svg=svg, notes=drawing.notes)


def without_styles(svg: str) -> str:
    """An SVG that a page may hold which allows no styles but its own.

    Styles become attributes, so that the page's style sheet, which stands above attributes, can
    recolor the figure for a dark screen. Fonts are the page's, and the size follows them: what is
    8 points high becomes 0.8 rem.
    """
    svg = re.sub(r"<style\b.*?</style>", "", svg, flags=re.DOTALL)
    svg = _SIZE.sub(lambda match: f' {match[1]}="{float(match[2]) / 10:g}rem"', svg, count=2)
    return _TAG.sub(lambda match: _without_style(match[0]), svg)


def _without_style(tag: str) -> str:
    # The text of an element holds no angle brackets, so this is a tag and its attributes.
    tag = _NAMESPACE.sub("", tag).replace("xlink:href=", "href=")
    return _STYLE.sub(lambda match: _attributes(unescape(match[1])), tag)


def _attributes(style: str) -> str:
    """Declarations as attributes, those that SVG has.

    >>> _attributes("fill: #fff; font: 8px 'DejaVu Sans'; x: y")
    ' fill="#fff" font-size="8px"'
    """
    found = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (size := re.search(r"[\d.]+px", value)):
            name, value = "font-size", size[0]
        if name in _ATTRIBUTES and '"' not in value:
            found.append(f' {name}="{value}"')
    return "".join(found)
