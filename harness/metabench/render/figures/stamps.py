"""Writes the stamps of a figure's runs on the figure itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from metabench.render.figures.drawing import LINE, POINTS, Drawing, house_style, wrapped
from metabench.results.configurations import Configuration
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def stamped(drawing: Drawing, shown: Mapping[str, Configuration]) -> Drawing:
    """The drawing with the stamps of its runs in a line at the top and in its description.

    Args:
        drawing: of runs that need not be stamped; without stamps it stays as it is.
        shown: the configurations that it shows, by label.
    """
    words = in_words(shown)
    if not words:
        return drawing
    width = drawing.figure.get_figwidth()
    with house_style():
        text = wrapped(words, 0.97 * width)
        top = _room_above(drawing.figure, LINE * (text.count("\n") + 1))
        drawing.figure.suptitle(text, fontsize=POINTS, x=0.01, ha="left", **top)
    return replace(drawing, description=f"{words} {drawing.description}")


def _room_above(figure: Figure, inches: float) -> dict[str, float]:
    """Make room above everything else; say where it is, unless a layout engine does.

    Axes without a layout engine stay as high over the lower edge as they are.
    """
    before = figure.get_figheight()
    figure.set_figheight(before + inches)
    if figure.get_layout_engine() is not None:
        return {}
    for axes in figure.axes:
        x, y, width, height = axes.get_position().bounds
        share = before / (before + inches)
        axes.set_position((x, y * share, width, height * share))
    return {"y": 1 - 0.04 / (before + inches)}


def in_words(shown: Mapping[str, Configuration]) -> str:
    """The stamps, first those of all, then others with whose they are; "" where there are none."""
    labels: dict[str, list[str]] = {}
    for label, config in shown.items():
        for stamp in config.stamps:
            labels.setdefault(plain(stamp), []).append(label)
    common = ", ".join(stamp for stamp, whose in labels.items() if len(whose) == len(shown))
    others = [f"{s} ({', '.join(who)})" for s, who in labels.items() if len(who) < len(shown)]
    said = ", ".join(filter(None, [common, *others]))
    return f"Stamps: {said}." if said else ""


def shown_of(results: Results, labels: Iterable[str]) -> dict[str, Configuration]:
    """The configurations that a figure shows under these labels."""
    shown = set(labels)
    return {label: config for label, config in labelled(results).items() if label in shown}
