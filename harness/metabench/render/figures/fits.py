"""Fits of regression tasks (M-NAS, figure 3): one panel per family, every learner on one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import DataError, MetabenchError
from metabench.render.figures.drawing import (
    Drawing,
    Width,
    house_style,
    legend_below,
    line_style,
    new_figure,
    plain_axis,
    wrapped,
)
from metabench.render.figures.palette import FAINT, INK, SHADE, learner_styles
from metabench.render.figures.same_episodes import runs_of_episode, seeds_shown
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.figure_data import Fit, command_again, read_fits
from metabench.results.reading import FinishedRun, Results
from metabench.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from metabench.plugin.catalog import Catalog

LEAST_MARGIN = 1.5
"""Above and below a function, so that fits of a flat one can be seen as well."""
HEIGHT = 1.9
"""Inches of a panel."""


@dataclass(frozen=True, slots=True)
class Fits:
    """What is drawn.

    Attributes:
        panels: by source, by label, the fit of one task.
        learners: the learner of each label.
    """

    panels: Mapping[str, Mapping[str, Fit]]
    learners: Mapping[str, str]


def draw(
    results: Results, *, catalog: Catalog, episode: int = 0, width: Width = Width.double
) -> Drawing:
    """Show the fits of every learner to the same task of each family.

    Args:
        results: where the runs are.
        catalog: where plugins are found, for runs that did not keep the fits of this episode.
        episode: which meta-test episode of each source.
        width: of the figure.

    Raises:
        DataError: when no run is on regression, or none kept its fits or its checkpoint.
        UsageError: when the runs are on different episodes, or there is no such episode.
    """
    fits, notes = collect(results, catalog=catalog, episode=episode)
    with house_style():
        figure = figure_of(fits, width=width)
    drawing = Drawing(
        name="fits",
        figure=figure,
        title=f"Fits of meta-test episode {episode} of each source",
        description=f"One panel for each of {', '.join(fits.panels)}: support points, the true "
        f"function, and the fits of these learners after adaptation: {', '.join(fits.learners)}. "
        "The background is shaded outside the range of the support points.",
        notes=(*notes, *_out_of_sight(fits), *seeds_shown(results, fits.learners)),
    )
    return stamped(drawing, shown_of(results, fits.learners))


def collect(results: Results, *, catalog: Catalog, episode: int = 0) -> tuple[Fits, list[str]]:
    """Read what runs kept, or restore the learners; name those that are left out."""
    runs = runs_of_episode(results, episode, task="regression")
    panels: dict[str, dict[str, Fit]] = {}
    learners, notes = {}, []
    for label, run in runs.items():
        try:
            found = _fits_of(run, catalog, episode)
        except MetabenchError as error:
            notes.append(f"{label} is left out: {error.in_full}")
            continue
        learners[label] = plain(run.record.spec.learner.name)
        for fit in found:
            panels.setdefault(plain(fit.source), {})[label] = fit
    if not panels:
        raise DataError(f"No run in this folder has fits to draw. {' '.join(notes)}")
    return Fits(panels, learners), notes


def _fits_of(run: FinishedRun, catalog: Catalog, episode: int) -> Sequence[Fit]:
    """The fits that a run kept of an episode; else those of its restored learner.

    Raises:
        DataError: when there is neither.
    """
    n_sources = len(run.record.spec.sources)
    indices = range(episode * n_sources, (episode + 1) * n_sources)
    kept = read_fits(run.folder)
    if found := [kept[index] for index in indices if index in kept]:
        return found
    import torch

    from metabench.results.store import RunStore
    from metabench.running.figure_data import fits_at, restored_for_fits

    try:
        restored = restored_for_fits(RunStore(run.folder), catalog, device=torch.device("cpu"))
        return fits_at(restored, episode)
    except MetabenchError as error:
        has = f"those of episodes 0 to {max(kept) // n_sources}" if kept else "no fits.jsonl"
        raise DataError(
            f"its record has {has}, and it cannot be restored: {error.message}",
            hint=f"`{command_again(run.record)}` makes a run that keeps its checkpoint.",
        ) from error


def figure_of(fits: Fits, *, width: Width) -> Figure:
    """Draw the panels, two beside each other where the width allows."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    style = learner_styles(fits.learners)
    columns = min(width.columns, len(fits.panels))
    rows = -(-len(fits.panels) // columns)
    figure = new_figure(width, HEIGHT * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    inches = width.inches / columns - 0.8
    for axes, (source, by_label) in zip(grid, fits.panels.items(), strict=False):
        _draw_ground(axes, next(iter(by_label.values())))
        for label, fit in by_label.items():
            axes.plot(fit.x, fit.fit, **line_style(style[label]))
        axes.set_title(wrapped(source, inches))
        plain_axis(axes, axis="x", inches=inches)
        plain_axis(axes, axis="y", inches=HEIGHT - 0.7)
    for axes in grid[len(fits.panels) :]:
        axes.remove()
    handles = [
        Line2D([], [], color=INK, lw=0.8),
        Line2D([], [], color=INK, marker="o", ls="", ms=4, mfc="white"),
        Patch(facecolor=SHADE),
        *(Line2D([], [], **line_style(look)) for look in style.values()),
    ]
    legend_below(figure, handles, ["true function", "support", "outside the support", *style])
    return figure


def _draw_ground(axes: Axes, fit: Fit) -> None:
    """What does not depend on a learner, and the range that shows it well."""
    x = fit.x
    low, high = fit.support_x.min(), fit.support_x.max()
    for start, end in ((x[0], low), (high, x[-1])):
        axes.axvspan(start, end, facecolor=SHADE, edgecolor="none", zorder=0)
    for edge in (low, high):
        axes.axvline(edge, color=FAINT, lw=0.5, zorder=1)
    if fit.truth is not None:
        axes.plot(x, fit.truth, color=INK, lw=0.8, zorder=2)
    axes.plot(
        fit.support_x, fit.support_y, color=INK, marker="o", ls="", ms=4, mfc="white", zorder=5
    )
    axes.set_ylim(_range(fit))
    axes.set_xlim(x[0], x[-1])
    axes.set_xlabel("x")
    axes.set_ylabel("y")


def _range(fit: Fit) -> tuple[float, float]:
    """The values that a panel shows: those of the task with a margin, whatever learners predict."""
    known = fit.support_y if fit.truth is None else np.concatenate([fit.support_y, fit.truth])
    known = known[np.isfinite(known)]
    margin = max(0.3 * (known.max() - known.min()), LEAST_MARGIN)
    return float(known.min() - margin), float(known.max() + margin)


def _out_of_sight(fits: Fits) -> Iterator[str]:
    """The fits of which a panel shows nothing, one sentence each."""
    for source, by_label in fits.panels.items():
        low, high = _range(next(iter(by_label.values())))
        for label, one in by_label.items():
            if not ((one.fit >= low) & (one.fit <= high)).any():
                yield f"{label}: its fit of {source} is outside of the panel or not finite."
