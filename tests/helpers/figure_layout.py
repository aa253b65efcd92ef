"""Measures figures as they are printed: where each text stands, and what covers what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from metabench.render.figures.drawing import Drawing, Width, house_style

SLACK = 1.0
"""Pixels, at 200 dots per inch, by which boxes may touch."""


@contextmanager
def recorded_texts() -> Iterator[list[Text]]:
    """The texts that are drawn meanwhile, tick labels and legends among them."""
    found: list[Text] = []
    original = Text.draw

    def draw(self: Text, renderer, *args, **kwargs):  # type: ignore[no-untyped-def]
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        return original(self, renderer, *args, **kwargs)

    Text.draw = draw  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Text.draw = original  # type: ignore[method-assign]


def drawn(figure: Figure) -> tuple[list[Text], list[Bbox]]:
    """The texts of a figure and their boxes in pixels, in the house style."""
    with house_style():
        figure.set_dpi(200)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # once for the layout
        with recorded_texts() as texts:
            canvas.draw()
        renderer = canvas.get_renderer()
        unique = list({id(text): text for text in texts}.values())
        return unique, [Text.get_window_extent(text, renderer) for text in unique]


def overlap(one: Bbox, other: Bbox) -> bool:
    """Whether boxes share more than their edges."""
    return (
        min(one.x1, other.x1) - max(one.x0, other.x0) > SLACK
        and min(one.y1, other.y1) - max(one.y0, other.y0) > SLACK
    )


def check_layout(drawing: Drawing, width: Width) -> None:
    """Fail if a figure cannot be printed as it is."""
    figure = drawing.figure
    assert round(figure.get_figwidth() * 25.4, 6) == {"single": 85, "double": 174}[width]
    texts, boxes = drawn(figure)
    assert texts
    assert {text.get_fontsize() for text in texts} == {8.0}
    for text, box in zip(texts, boxes, strict=True):
        inside = (
            box.x0 >= -SLACK
            and box.y0 >= -SLACK
            and box.x1 <= figure.bbox.x1 + SLACK
            and box.y1 <= figure.bbox.y1 + SLACK
        )
        assert inside, f"{text.get_text()!r} lies outside the picture: {box}"
    for (first, one), (second, other) in combinations(zip(texts, boxes, strict=True), 2):
        assert not overlap(one, other), f"{first.get_text()!r} covers {second.get_text()!r}"
    areas = [axes.get_window_extent() for axes in figure.axes]
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not any(overlap(box, area) for area in areas), "the legend covers a panel"
    for axes in figure.axes:
        for axis, low, high in ((axes.xaxis, *axes.get_xlim()), (axes.yaxis, *axes.get_ylim())):
            ticks = np.asarray(axis.get_ticklocs())
            shown = ((ticks >= min(low, high)) & (ticks <= max(low, high))).sum()
            named = axes.axison and axis.get_visible() and axis.get_label_text()
            assert not named or shown >= 2, f"{axis.get_label_text()!r} has {shown} ticks"
