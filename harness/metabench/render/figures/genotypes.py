"""How common each architecture is, by source: what a search found for its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metabench.errors import DataError
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench.render.figures.drawing import (
    LINE,
    Drawing,
    Width,
    house_style,
    legend_below,
    new_figure,
    plain_axis,
    text_width,
    wrapped,
)
from metabench.render.figures.palette import HATCHES, styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.results.search_files import Architecture, architectures, tasks_in_words
from metabench.text import counted as n_of
from metabench.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
SHOWN = 10
"""Bars of a configuration; the rest is one bar."""
BARS = 0.4
"""Share of the bars of the width; the rest is text."""
SPELLED_OUT = 48
"""Letters that may name the edges where two architectures differ; longer ones are counted."""


def draw(results: Results, *, width: Width = Width.double) -> Drawing:
    """Count the architectures of every configuration that searches, seeds together.

    Args:
        results: where the runs are.
        width: of the figure.

    Raises:
        DataError: when no run holds architectures.
    """
    found, seeds, notes = {}, {}, []
    for label, config in labelled(results).items():
        if counted := architectures(config):
            found[label], seeds[label] = counted, len(config.runs)
        elif config.spec.strategy is not None:
            notes.append(f"{label} is left out: it has no genotypes.jsonl.")
    if not found:
        raise DataError(
            "No run in this folder has architectures.",
            hint="Learners that search, such as mnas, write them to genotypes.jsonl.",
        )
    with house_style():
        figure = figure_of(found, seeds, width=width)
    said = [
        f"{label}: {in_words(counted, seeds[label])}; the most common one has "
        f"{_share(counted[:1], counted)} of the tasks"
        for label, counted in found.items()
    ]
    drawing = Drawing(
        name="genotypes",
        figure=figure,
        title="How common each architecture is",
        description=f"{'. '.join(said)}.",
        notes=tuple(notes),
    )
    return stamped(drawing, shown_of(results, found))


def in_words(counted: Sequence[Architecture], n_seeds: int) -> str:
    """How many architectures and tasks there are; a task is counted once with each seed."""
    n_tasks = sum(one.count for one in counted)
    return f"{n_of(len(counted), 'architecture')} in {tasks_in_words(n_tasks, n_seeds)}"


def difference(first: Genotype, other: Genotype) -> str:
    """What sets an architecture apart from the first, in a few words."""
    mine, theirs = (
        Counter((cell, edge) for cell, edges in genotype.cells for edge in edges)
        for genotype in (first, other)
    )
    new, old = ((a - b).elements() for a, b in ((theirs, mine), (mine, theirs)))
    several = len(other.cells) > 1
    here, there = (
        [_edge(cell, edge, name_cell=several) for cell, edge in sorted(some, key=str)]
        for some in (new, old)
    )
    text = f"{', '.join(here) or 'nothing'} for {', '.join(there) or 'nothing'}"
    if len(text) > SPELLED_OUT:
        return f"{len(here)} of {theirs.total()} edges differ"
    return text


def _edge(cell: str, edge: Edge, *, name_cell: bool) -> str:
    where = f"{plain(cell)} " if name_cell else ""
    return f"{where}{edge.source} to {edge.target} {plain(edge.primitive)}"


def figure_of(
    found: Mapping[str, Sequence[Architecture]], seeds: Mapping[str, int], *, width: Width
) -> Figure:
    """One panel per configuration, one bar per architecture, parts of a bar by source.

    What sets an architecture apart stands beside its bar, which is as high as that has lines.
    """
    from matplotlib.patches import Patch

    sources = sorted({s for counted in found.values() for one in counted for s in one.by_source})
    looks: dict[str, dict[str, Any]] = {
        name: {"facecolor": style.color, "hatch": HATCHES[i % len(HATCHES)], "edgecolor": "white"}
        for i, (name, style) in enumerate(styles(sources).items())
    }
    bars = {label: _bars(counted) for label, counted in found.items()}
    left = 0.2 + max(text_width(name) for some in bars.values() for name in _names(some))
    wide = BARS * (width.inches - left)
    room = width.inches - left - wide - 0.2
    texts = {
        label: [
            wrapped(f"{_share(bar, counted)}{_about(row, bar, counted)}", room)
            for row, bar in enumerate(bars[label])
        ]
        for label, counted in found.items()
    }
    titles = {
        label: wrapped(f"{label}: {in_words(counted, seeds[label])}", width.inches - 0.2)
        for label, counted in found.items()
    }
    bodies = {label: LINE * float(_rows(some).sum()) for label, some in texts.items()}
    heads = {label: LINE * (title.count("\n") + 1.8) for label, title in titles.items()}
    figure = new_figure(width, sum(bodies.values()) + sum(heads.values()) + 0.4, placed=True)
    if len(sources) > 1:
        handles = [Patch(**look, linewidth=0) for look in looks.values()]
        legend_below(figure, handles, [plain(name) for name in sources])
    height = top = figure.get_figheight()
    axes = None
    for label, counted in found.items():
        top -= heads[label] + bodies[label]
        place = (left / width.inches, top / height, wide / width.inches, bodies[label] / height)
        axes = figure.add_axes(place, sharex=axes)
        _draw_bars(axes, counted, texts[label], looks)
        axes.set_title(titles[label], loc="left", x=(0.1 - left) / wide, pad=4)
        axes.tick_params(labelbottom=False)
    assert axes is not None
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("tasks in %")
    axes.set_xlim(left=0)
    plain_axis(axes, axis="x", inches=wide)
    return figure


def _bars(counted: Sequence[Architecture]) -> list[list[Architecture]]:
    """The most common architectures, and the others together."""
    bars = [[one] for one in counted[:SHOWN]]
    return [*bars, list(counted[SHOWN:])] if len(counted) > SHOWN else bars


def _rows(texts: Sequence[str]) -> Array:
    """The heights of bars in lines of text."""
    return np.array([text.count("\n") + 1.3 for text in texts])


def _draw_bars(
    axes: Axes,
    counted: Sequence[Architecture],
    texts: Sequence[str],
    looks: Mapping[str, Mapping[str, Any]],
) -> None:
    bars = _bars(counted)
    total = sum(one.count for one in counted)
    rows = _rows(texts)
    middle = np.cumsum(rows) - rows / 2
    left = np.zeros(len(bars))
    for source, look in looks.items():
        width = [100 * sum(one.by_source.get(source, 0) for one in bar) / total for bar in bars]
        axes.barh(middle, width, left=left, height=0.75 * rows, linewidth=0, **look)
        left += width
    place = axes.get_yaxis_transform()
    for y, text in zip(middle, texts, strict=True):
        axes.text(1.03, y, text, va="center", transform=place)
    axes.set_yticks(middle, _names(bars))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows.sum(), 0)


def _names(bars: Sequence[Sequence[Architecture]]) -> list[str]:
    last = f"{len(bars[-1]):,} others" if len(bars[-1]) > 1 else ""
    return [str(row) for row in range(1, len(bars))] + [last or str(len(bars))]


def _share(bar: Sequence[Architecture], counted: Sequence[Architecture]) -> str:
    return f"{sum(one.count for one in bar) / sum(one.count for one in counted):.1%}"


def _about(row: int, bar: Sequence[Architecture], counted: Sequence[Architecture]) -> str:
    """Size of an architecture, and how it differs from the most common one."""
    if len(bar) > 1:
        return ""
    sizes = bar[0].n_params
    text = ""
    if sizes is not None:
        text = f", {sizes[0]:,}" + (f" to {sizes[1]:,}" if sizes[1] > sizes[0] else "") + " weights"
    return f"{text}; against 1: {difference(counted[0].genotype, bar[0].genotype)}" if row else text
