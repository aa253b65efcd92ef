"""Sizes of the networks that searches gave to tasks (MetaNAS, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metabench.errors import DataError
from metabench.render.figures.drawing import (
    LINE,
    Drawing,
    Width,
    house_style,
    legend_below,
    new_figure,
    plain_axis,
    wrapped,
)
from metabench.render.figures.palette import HATCHES, styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.labels import labelled
from metabench.results.reading import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Sizes = dict[int, NDArray[np.float64]]
"""Weights of the network of each task, by seed."""
BINS = 41
HEIGHT = 1.0
"""Inches of a panel without its title."""


def draw(results: Results, *, width: Width = Width.double) -> Drawing:
    """Count the weights of the tasks' networks for every configuration that searches.

    Args:
        results: where the runs are.
        width: of the figure.

    Raises:
        DataError: when no run searches and tells the size of its networks.
    """
    found: dict[str, Sizes] = {}
    notes = []
    for label, config in labelled(results).items():
        sizes = {run.record.spec.seed: run.episodes.n_params for run in config.runs}
        if config.spec.strategy is None:
            continue
        if any(np.isnan(some).any() for some in sizes.values()):
            notes.append(f"{label} is left out: the sizes of its networks are not recorded.")
        else:
            found[label] = sizes
    if not found:
        raise DataError(
            "No run in this folder has sizes of searched networks.",
            hint="Learners that search, such as mnas, record them.",
        )
    with house_style():
        figure = figure_of(found, width=width)
    said = [f"{label}: {in_words(sizes)}" for label, sizes in found.items()]
    drawing = Drawing(
        name="sizes",
        figure=figure,
        title="Sizes of the tasks' networks",
        description=f"{'. '.join(said)}.",
        notes=tuple(notes),
    )
    return stamped(drawing, shown_of(results, found))


def in_words(sizes: Sizes) -> str:
    """Mean, and range where there is one."""
    every = np.concatenate(list(sizes.values()))
    low, high = every.min(), every.max()
    spread = f" on average ({low:,.0f} to {high:,.0f})" if low < high else ""
    return f"{every.mean():,.0f} weights{spread}"


def figure_of(found: Mapping[str, Sizes], *, width: Width) -> Figure:
    """One histogram per configuration, all on one axis; seeds differ in color and pattern."""
    from matplotlib.patches import Patch

    seeds = sorted({seed for sizes in found.values() for seed in sizes})
    looks: dict[int, dict[str, Any]] = {
        seed: {"facecolor": style.color, "hatch": HATCHES[i % len(HATCHES)], "edgecolor": "white"}
        for i, (seed, style) in enumerate(zip(seeds, styles(map(str, seeds)).values(), strict=True))
    }
    values = np.concatenate([some for sizes in found.values() for some in sizes.values()])
    margin = max(0.05 * np.ptp(values), 0.02 * values.max(), 1.0)
    edges = np.linspace(values.min() - margin, values.max() + margin, BINS + 1)
    inches = width.inches - 0.6
    titles = [wrapped(f"{label}: {in_words(sizes)}", inches) for label, sizes in found.items()]
    n_lines = sum(title.count("\n") + 1 for title in titles)
    figure = new_figure(width, HEIGHT * len(found) + LINE * n_lines + 0.4)
    grid = figure.subplots(len(found), 1, squeeze=False, sharex=True).ravel()
    for axes, title, sizes in zip(grid, titles, found.values(), strict=True):
        _draw_histogram(axes, sizes, edges, looks)
        axes.set_title(title, loc="left")
        plain_axis(axes, axis="y", inches=HEIGHT)
    grid[-1].set_xlabel("weights of the network of a task")
    plain_axis(grid[-1], axis="x", inches=inches)
    if len(seeds) > 1:
        handles = [Patch(**look, linewidth=0) for look in looks.values()]
        legend_below(figure, handles, [f"seed {seed}" for seed in seeds])
    return figure


def _draw_histogram(
    axes: Axes, sizes: Sizes, edges: NDArray[np.float64], looks: Mapping[int, Mapping[str, Any]]
) -> None:
    """Shares of tasks, the seeds on top of each other."""
    n, bottom = sum(map(len, sizes.values())), np.zeros(len(edges) - 1)
    for seed, values in sizes.items():
        height = 100 * np.histogram(values, edges)[0] / n
        axes.bar(
            edges[:-1], height, np.diff(edges), bottom, align="edge", linewidth=0, **looks[seed]
        )
        bottom += height
    axes.set_ylabel("tasks in %")
