"""Colors, line styles and markers: readable to the color-blind and in black and white.

Plain values, so that a page can draw with them as well as matplotlib can. Colors are those of Okabe
and Ito (2008) without yellow, which vanishes on white.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

INK = "#222222"
FAINT = "#8a8a8a"
SHADE = "#ececec"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5B5B5B")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (9, 3))
"""Lengths of stroke and gap in line widths, as in SVG's ``stroke-dasharray``; () is solid."""
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oooo", "----", "++++")
"""Patterns of areas, as matplotlib writes them."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


@dataclass(frozen=True, slots=True)
class Style:
    """How one thing is drawn wherever it appears in a figure."""

    color: str
    dash: tuple[float, ...]
    marker: str


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name, in their order; neighbors differ in color, dash and marker.

    >>> found = styles(["maml", "mnas"])
    >>> found["maml"].color, found["mnas"].dash
    ('#0072B2', (5, 1.5))
    """
    return {
        name: Style(COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }
