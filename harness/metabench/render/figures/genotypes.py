"""How common each architecture is, by source: what a search found for its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.errors import DataError
from metabench.plugin.contracts.genotype import Edge, Genotype
from metabench.render.figures.drawing import Drawing, house_style, legend_below, new_figure
from metabench.render.figures.palette import HATCHES, styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.results.search_files import Architecture, architectures
from metabench.text import counted as n_of
from metabench.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 10
"""Bars of a configuration; the rest is one bar."""
SPELLED_OUT = 48
"""Letters that may name the edges where two architectures differ; longer ones are counted."""


def draw(results: Results) -> Drawing:
    """Count the architectures of every configuration that searches, seeds together.

    Raises:
        DataError: when no run holds architectures.
    """
    found = {
        label: counted
        for label, config in labelled(results).items()
        if (counted := architectures(config))
    }
    if not found:
        raise DataError(
            "No run in this folder has architectures.",
            hint="Learners that search, such as mnas, write them to genotypes.jsonl.",
        )
    with house_style():
        figure = figure_of(found)
    said = [
        f"{label}: {in_words(counted)}; the most common one has {_share(counted[:1], counted)} of "
        "the tasks"
        for label, counted in found.items()
    ]
    drawing = Drawing(
        name="genotypes",
        figure=figure,
        title="How common each architecture is",
        description=f"{'. '.join(said)}.",
    )
    return stamped(drawing, shown_of(results, found))


def in_words(counted: Sequence[Architecture]) -> str:
    """How many architectures and tasks there are."""
    n_tasks = sum(one.count for one in counted)
    return f"{n_of(len(counted), 'architecture')} in {n_of(n_tasks, 'task')}"


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


def figure_of(found: Mapping[str, Sequence[Architecture]]) -> Figure:
    """One panel per configuration, one bar per architecture, parts of a bar by source."""
    from matplotlib.patches import Patch

    sources = sorted({s for counted in found.values() for one in counted for s in one.by_source})
    looks: dict[str, dict[str, Any]] = {
        name: {"facecolor": style.color, "hatch": HATCHES[i % len(HATCHES)], "edgecolor": "white"}
        for i, (name, style) in enumerate(styles(sources).items())
    }
    n_bars = [min(len(counted), SHOWN + 1) for counted in found.values()]
    figure = new_figure(7.6, 0.2 * sum(n_bars) + 0.55 * len(found) + 0.6)
    grid = figure.subplots(
        len(found), 1, squeeze=False, sharex=True, height_ratios=[n + 1 for n in n_bars]
    ).ravel()
    for axes, (label, counted) in zip(grid, found.items(), strict=True):
        _draw_bars(axes, counted, looks)
        axes.set_title(f"{label}: {in_words(counted)}", loc="left")
    grid[-1].set_xlabel("tasks in %")
    grid[0].set_xlim(left=0)
    if len(sources) > 1:
        handles = [Patch(**look, linewidth=0) for look in looks.values()]
        legend_below(figure, handles, [plain(name) for name in sources])
    return figure


def _draw_bars(
    axes: Axes, counted: Sequence[Architecture], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    bars = [[one] for one in counted[:SHOWN]]
    if rest := list(counted[SHOWN:]):
        bars.append(rest)
    total = sum(one.count for one in counted)
    left = np.zeros(len(bars))
    for source, look in looks.items():
        width = [100 * sum(one.by_source.get(source, 0) for one in bar) / total for bar in bars]
        axes.barh(range(len(bars)), width, left=left, height=0.75, linewidth=0, **look)
        left += width
    for row, bar in enumerate(bars):
        text = f"{_share(bar, counted)}{_about(row, bar, counted)}"
        place = axes.get_yaxis_transform()
        axes.text(1.02, row, text, va="center", fontsize=7, transform=place)
    axes.set_yticks(range(len(bars)), _names(bars))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(bars) - 0.4, -0.6)


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
