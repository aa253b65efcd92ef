"""Fits of regression tasks (M-NAS, figure 3): one panel per family, every learner on one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.errors import DataError, MetabenchError, UsageError
from metabench.planning.runspec import RunSpec
from metabench.render.figures.drawing import (
    Drawing,
    house_style,
    legend_below,
    line_style,
    new_figure,
)
from metabench.render.figures.palette import FAINT, INK, SHADE, styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.labels import labelled
from metabench.results.reading import FinishedRun, Results
from metabench.sampling.grid import QueryGrid
from metabench.text import plain
from metabench.values import digest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from metabench.plugin.catalog import Catalog

Array = NDArray[np.float64]
POINTS = 201
LOW, HIGH = -5.0, 5.0
"""The range of M-NAS's figure; wider where a task has points outside it."""
LEAST_MARGIN = 1.5
"""Above and below a function, so that fits of a flat one can be seen as well."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One task.

    Attributes:
        source: where it was drawn from.
        key: of its episode.
        support_x: ``[shots]``.
        support_y: ``[shots]``.
        truth: the function at the points of the grid; None where it cannot be asked there.
        fits: by learner, its prediction at the points of the grid.
    """

    source: str
    key: str
    support_x: Array
    support_y: Array
    truth: Array | None
    fits: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Fits:
    """The panels, and the points at which all of their curves are known."""

    x: Array
    panels: tuple[Panel, ...]


def draw(results: Results, *, catalog: Catalog, episode: int = 0) -> Drawing:
    """Adapt every learner whose checkpoint is left to the same task of each family.

    Args:
        results: where the runs are.
        catalog: where plugins are found.
        episode: which meta-test episode of each source.

    Raises:
        DataError: when no run is on regression, or no checkpoint is left.
        UsageError: when the runs are on different episodes, or there is no such episode.
    """
    fits, notes = collect(results, catalog=catalog, episode=episode)
    with house_style():
        figure = figure_of(fits)
    learners = ", ".join(fits.panels[0].fits)
    sources = ", ".join(panel.source for panel in fits.panels)
    drawing = Drawing(
        name="fits",
        figure=figure,
        title=f"Fits of meta-test episode {episode} of each source",
        description=f"One panel for each of {sources}: support points, the true function, and the "
        f"fits of these learners after adaptation: {learners}. The background is shaded outside "
        "the range of the support points.",
        notes=tuple(notes),
    )
    return stamped(drawing, shown_of(results, fits.panels[0].fits))


def collect(results: Results, *, catalog: Catalog, episode: int = 0) -> tuple[Fits, list[str]]:
    """Restore the learners and let them predict; name those that are left out."""
    import torch

    from metabench.running.trained_learner import restore

    runs = _comparable(results)
    spec = next(iter(runs.values())).record.spec
    if not 0 <= episode < spec.protocol.episodes:
        raise UsageError(
            f"There is no episode {episode}; each source has {spec.protocol.episodes:,}.",
            hint=f"Choose one from 0 to {spec.protocol.episodes - 1}.",
        )
    indices = range(episode * len(spec.sources), (episode + 1) * len(spec.sources))
    restored, notes = {}, []
    for label, run in runs.items():
        try:
            restored[label] = restore(
                run.folder, catalog, device=torch.device("cpu"), normalization="inductive"
            )
        except MetabenchError as error:
            notes.append(f"{label} is left out: {error.message}")
    if not restored:
        raise DataError(
            f"No learner can be restored. {' '.join(notes)}",
            hint="The checkpoint is in the folder of its run; repeat a run's command with "
            "another --out to get one.",
        )
    tasks = next(iter(restored.values())).episodes(indices)
    support_x = tasks.support.x[..., 0].double().numpy()
    support_y = tasks.support.y[..., 0].double().numpy()
    low, high = min(LOW, support_x.min() - 0.2), max(HIGH, support_x.max() + 0.2)
    grid = QueryGrid(points=POINTS, low=low, high=high)
    predicted = {label: one.predict(indices, grid) for label, one in restored.items()}
    truth = next(iter(restored.values())).truth(indices, grid)
    panels = tuple(
        Panel(
            source=plain(tasks.sources[i]),
            key=tasks.keys[i],
            support_x=support_x[i],
            support_y=support_y[i],
            truth=None if truth is None else truth[i],
            fits={label: rows[i] for label, rows in predicted.items()},
        )
        for i in range(len(indices))
    )
    return Fits(np.linspace(grid.low, grid.high, grid.points), panels), notes


def _comparable(results: Results) -> dict[str, FinishedRun]:
    """The first seed of every configuration on regression, all on the same episodes."""
    found = {
        label: config.runs[0]
        for label, config in labelled(results).items()
        if config.spec.task == "regression"
    }
    if not found:
        raise DataError(
            "No finished run in this folder is on regression, so there are no fits to draw."
        )
    groups = {_episodes_of(run.record.spec): run.record.spec for run in found.values()}
    if len(groups) > 1:
        names = ", ".join(sorted({f"{spec.suite}@{spec.setting}" for spec in groups.values()}))
        raise UsageError(
            f"The runs in this folder have different episodes ({names}), but a figure shows one "
            "task per source.",
            hint="Name a folder whose runs have the same suite, setting and data.",
        )
    return found


def _episodes_of(spec: RunSpec) -> str:
    """Digest of what decides the meta-test episodes."""
    p = spec.protocol
    sources = [source.model_dump(mode="json") for source in spec.sources]
    shape = [p.ways, p.shots, p.queries, p.episode_seed]
    return digest([spec.suite, sources, spec.data_fingerprint, shape])


def figure_of(fits: Fits) -> Figure:
    """Draw the panels, two beside each other."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    labels = list(fits.panels[0].fits)
    style = styles(labels)
    columns = min(2, len(fits.panels))
    rows = -(-len(fits.panels) // columns)
    figure = new_figure(3.5 * columns, 2.3 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, fits.panels, strict=False):
        _draw_ground(axes, fits.x, panel)
        for label, y in panel.fits.items():
            axes.plot(fits.x, y, **line_style(style[label]))
    for axes in grid[len(fits.panels) :]:
        axes.remove()
    handles = [
        Line2D([], [], color=INK, lw=0.8),
        Line2D([], [], color=INK, marker="o", ls="", ms=4, mfc="white"),
        Patch(facecolor=SHADE),
        *(Line2D([], [], **line_style(look)) for look in style.values()),
    ]
    legend_below(figure, handles, ["true function", "support", "outside the support", *labels])
    return figure


def _draw_ground(axes: Axes, x: Array, panel: Panel) -> None:
    """What does not depend on a learner, and the range that shows it well."""
    low, high = panel.support_x.min(), panel.support_x.max()
    for start, end in ((x[0], low), (high, x[-1])):
        axes.axvspan(start, end, facecolor=SHADE, edgecolor="none", zorder=0)
    for edge in (low, high):
        axes.axvline(edge, color=FAINT, lw=0.5, zorder=1)
    known = panel.support_y
    if panel.truth is not None:
        axes.plot(x, panel.truth, color=INK, lw=0.8, zorder=2)
        known = np.concatenate([known, panel.truth])
    axes.plot(
        panel.support_x, panel.support_y, color=INK, marker="o", ls="", ms=4, mfc="white", zorder=5
    )
    margin = max(0.3 * (known.max() - known.min()), LEAST_MARGIN)
    axes.set_ylim(known.min() - margin, known.max() + margin)
    axes.set_xlim(x[0], x[-1])
    axes.set_title(panel.source)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
