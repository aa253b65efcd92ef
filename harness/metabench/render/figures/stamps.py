"""Writes the stamps of a figure's runs on the figure itself."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace

from metabench.render.figures.drawing import Drawing, house_style
from metabench.results.configurations import Configuration
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.text import plain

LETTERS = 14
"""Letters of small print to an inch."""
LINE = 0.17
"""Inches of a line's height."""


def stamped(drawing: Drawing, shown: Mapping[str, Configuration]) -> Drawing:
    """The drawing with the stamps of its runs in a line at the top and in its description.

    Args:
        drawing: of runs that need not be stamped; without stamps it stays as it is.
        shown: the configurations that it shows, by label.
    """
    words = in_words(shown)
    if not words:
        return drawing
    width, height = drawing.figure.get_size_inches()
    lines = textwrap.wrap(words, max(20, int(width * LETTERS)))
    with house_style():
        drawing.figure.set_size_inches(width, height + LINE * len(lines))
        drawing.figure.suptitle("\n".join(lines), fontsize=8, x=0.01, ha="left")
    return replace(drawing, description=f"{words} {drawing.description}")


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
