"""Task embeddings in the plane by t-SNE (M-NAS, figure 6), with how far apart the sources are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import DataError
from metabench.render.figures.drawing import (
    LINE,
    Drawing,
    Width,
    house_style,
    legend_below,
    new_figure,
    wrapped,
)
from metabench.render.figures.palette import styles
from metabench.render.figures.same_episodes import seeds_shown
from metabench.render.figures.stamps import shown_of, stamped
from metabench.render.figures.tsne import Array, tsne
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.results.search_files import Embeddings, read_embeddings
from metabench.stats.search_measures import PROPORTIONS, wilson
from metabench.text import counted, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MOST_HEIGHT = 3.2
"""Inches of a panel without its title."""
SHOWN = 500
"""Points of a panel on a page, as t-SNE's time grows with their square; the numbers are of all."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The tasks of one run: all embeddings with their measures, and places of the first ones."""

    embeddings: Embeddings
    places: Array

    def __str__(self) -> str:
        """What is measured, of the embeddings themselves and not of the picture."""
        found = self.embeddings.measures
        if not found:
            return "not measured: there is one source, or too few tasks per source"
        share = found["embedding_probe"]
        low, high = wilson(share, found[PROPORTIONS["embedding_probe"]])
        chance = 1 / len(set(self.embeddings.sources))
        return (
            f"silhouette {found['embedding_silhouette']:.2f}, linear probe {share:.1%}, 95 % "
            f"interval over tasks [{low:.1%}, {high:.1%}], chance {chance:.0%}"
        )


def draw(results: Results, *, width: Width = Width.double, whole: bool = False) -> Drawing:
    """Place the tasks of the first seed of every learner that embeds them.

    Args:
        results: where the runs are.
        width: of the figure.
        whole: whether all tasks are shown, not at most :data:`SHOWN` of each learner.

    Raises:
        DataError: when no run holds embeddings.
    """
    panels, notes = {}, []
    for label, config in labelled(results).items():
        run = config.runs[0]
        found = read_embeddings(run.folder, run.episodes)
        if found is None:
            continue
        if len(found.x) < 2:
            notes.append(f"{label} is left out: it has one task embedding, and t-SNE needs two.")
            continue
        if (lost := len(run.episodes) - len(found.x)) > 0:
            of = f"{lost:,} of {counted(len(run.episodes), 'task')}"
            notes.append(f"{label}: {of} have no recorded, finite embedding, and are not shown.")
        panels[label] = Panel(found, tsne(found.x[: None if whole else SHOWN]))
    if not panels:
        raise DataError(
            f"No run in this folder has task embeddings. {' '.join(notes)}".strip(),
            hint="Learners that embed tasks, such as mnas, write them to embeddings.jsonl.",
        )
    with house_style():
        figure = figure_of(panels, width=width)
    said = [
        f"{label}, {len(panel.embeddings.x):,} tasks: {panel}" for label, panel in panels.items()
    ]
    most = "" if whole else f", at most the first {SHOWN}"
    drawing = Drawing(
        name="embeddings",
        figure=figure,
        title="Task embeddings by source",
        description=f"t-SNE of task embeddings, with one point per meta-test episode{most}. "
        f"{'. '.join(said)}. Silhouette and linear probe are computed from all embeddings, before "
        "t-SNE.",
        notes=(*notes, *seeds_shown(results, panels)),
    )
    return stamped(drawing, shown_of(results, panels))


def figure_of(panels: Mapping[str, Panel], *, width: Width) -> Figure:
    """One panel per learner, two beside each other; sources differ in color and marker."""
    from matplotlib.lines import Line2D

    names = sorted({s for panel in panels.values() for s in panel.embeddings.sources})
    style = styles(names)
    columns = min(width.columns, len(panels))
    rows = -(-len(panels) // columns)
    inches = width.inches / columns - 0.2
    titles = [wrapped(f"{label}\n{panel}", inches) for label, panel in panels.items()]
    n_lines = max(title.count("\n") + 1 for title in titles)
    figure = new_figure(width, rows * (min(inches, MOST_HEIGHT) + LINE * n_lines + 0.1))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, title, panel in zip(grid, titles, panels.values(), strict=False):
        source = np.array(panel.embeddings.sources[: len(panel.places)], dtype=object)
        for name, look in style.items():
            x, y = panel.places[source == name].T
            axes.plot(x, y, ls="", marker=look.marker, ms=3, color=look.color, mew=0, alpha=0.75)
        axes.set_title(title, loc="left")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
        axes.set_aspect("equal", adjustable="datalim")
    for axes in grid[len(panels) :]:
        axes.remove()
    handles = [Line2D([], [], ls="", marker=s.marker, ms=5, color=s.color) for s in style.values()]
    legend_below(figure, handles, [plain(name) for name in names])
    return figure
