"""The searched cells (M-NAS, figure 4): the most common architecture of each learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metabench.errors import DataError
from metabench.plugin.contracts.genotype import Genotype
from metabench.render.figures.cell_layout import CellLayout, LabelledEdge, lay_out
from metabench.render.figures.drawing import (
    LINE,
    Drawing,
    Width,
    house_style,
    line_style,
    new_figure,
    text_width,
    wrapped,
)
from metabench.render.figures.palette import FAINT, INK, SHADE, Style, styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.results.search_files import architectures, tasks_in_words
from metabench.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER = 0.075
"""Inches of a letter's width, more than most letters have."""
MARGIN, END = 5.0, 7.0
"""Letters beside the first node, and beside the last one, where the output leaves."""
BELOW = 4.0
"""Lines below the nodes."""


@dataclass(frozen=True, slots=True)
class Found:
    """The architectures that a learner gave its tasks.

    Attributes:
        genotype: the most common one.
        count: how many tasks have it.
        n_tasks: how many there are.
        n_different: how many architectures there are.
        n_seeds: in how many runs; a task is counted once in each.
    """

    genotype: Genotype
    count: int
    n_tasks: int
    n_different: int
    n_seeds: int = 1

    def __str__(self) -> str:
        """How common it is, and how much the others share."""
        tasks = tasks_in_words(self.n_tasks, self.n_seeds)
        share = f"{self.count:,} of {tasks} ({self.count / self.n_tasks:.1%})"
        others = self.n_different - 1
        if others == 0:
            return share
        left = f"{(self.n_tasks - self.count) / self.n_tasks:.1%}"
        return f"{share}; {others:,} other{'s share' if others > 1 else ' has'} {left}"


def draw(results: Results, *, width: Width = Width.double) -> Drawing:
    """Draw the most common cells of every configuration that searches.

    Args:
        results: where the runs are.
        width: of the figure.

    Raises:
        DataError: when no run holds architectures.
    """
    found, notes = collect(results)
    if not found:
        raise DataError(
            f"No run in this folder has architectures to draw. {' '.join(notes)}".strip(),
            hint="Learners that search, such as mnas, write them to genotypes.jsonl.",
        )
    with house_style():
        figure = figure_of(found, width=width)
    said = [f"{label}: {one}; {_in_words(one.genotype)}" for label, one in found.items()]
    drawing = Drawing(
        name="cell",
        figure=figure,
        title="The most common cells",
        description=f"{'. '.join(said)}.",
        notes=tuple(notes),
    )
    return stamped(drawing, shown_of(results, found))


def collect(results: Results) -> tuple[dict[str, Found], list[str]]:
    """Count the architectures of every configuration, seeds together."""
    found, notes = {}, []
    for label, config in labelled(results).items():
        counted = architectures(config)
        if not counted:
            if config.spec.strategy is not None:
                notes.append(f"{label} is left out: it has no genotypes.jsonl.")
            continue
        first, n_tasks = counted[0], sum(one.count for one in counted)
        if not any(edges for _, edges in first.genotype.cells):
            notes.append(f"{label} is left out: its most common architecture has no edge.")
            continue
        found[label] = Found(first.genotype, first.count, n_tasks, len(counted), len(config.runs))
    return found, notes


def edges_of(genotype: Genotype) -> dict[str, list[LabelledEdge]]:
    """The kept edges of each cell."""
    return {
        name: [LabelledEdge(edge.source, edge.target, plain(edge.primitive)) for edge in edges]
        for name, edges in genotype.cells
    }


def figure_of(found: Mapping[str, Found], *, width: Width) -> Figure:
    """One panel per cell of each configuration's most common architecture.

    They stand below each other, all in one scale and with one style per primitive.
    """
    panels = [
        (f"{label}, {plain(cell)}: {one}", edges)
        for label, one in found.items()
        for cell, edges in edges_of(one.genotype).items()
    ]
    labels = {edge.label for _, edges in panels for edge in edges}
    style = styles(sorted(labels))
    margin = max(MARGIN, max(text_width(label) for label in labels) / LETTER / 2)
    beside = margin + max(margin, END)
    widest = max(lay_out(edges).width for _, edges in panels) + beside
    columns = min(len(panels), width.columns)
    if widest * LETTER > width.inches / columns:
        columns = 1
    inches = width.inches / columns
    cells = [lay_out(edges, room=inches / LETTER - beside) for _, edges in panels]
    titles = [wrapped(title, inches - 0.1) for title, _ in panels]
    tops = [
        cell.height + 1.5 + 1.2 * (title.count("\n") + 1)
        for cell, title in zip(cells, titles, strict=True)
    ]
    rows = [max(tops[first : first + columns]) + BELOW for first in range(0, len(tops), columns)]
    figure = new_figure(width, sum(rows) * LINE, placed=True)
    for place, (title, cell) in enumerate(zip(titles, cells, strict=True)):
        row, column = divmod(place, columns)
        lower = 1 - sum(rows[: row + 1]) / sum(rows)
        axes = figure.add_axes((column / columns, lower, 1 / columns, rows[row] / sum(rows)))
        axes.set_axis_off()
        axes.set_xlim(-margin, inches / LETTER - margin)
        axes.set_ylim(-BELOW, rows[row] - BELOW)
        axes.set_title(title, loc="left", x=0.05 / inches, y=1, va="top", pad=-4)
        _draw_cell(axes, cell, style)
    return figure


def _draw_cell(axes: Axes, cell: CellLayout, style: Mapping[str, Style]) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Outline

    for arc in cell.arcs:
        look = style[arc.edge.label]
        # A cubic curve rises to three quarters of the height of its inner points.
        peak = arc.top * 4 / 3
        points = [(arc.start, 0.7), (arc.start, peak), (arc.end, peak), (arc.end, 0.8)]
        codes = [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4]
        arrow = FancyArrowPatch(
            path=Outline(points, codes),
            arrowstyle="-|>",
            mutation_scale=7,
            lw=1.2,
            shrinkA=0,
            shrinkB=0,
            **line_style(look),
        )
        axes.add_patch(arrow)
    for arc in cell.arcs:
        axes.text(
            arc.middle,
            arc.top,
            arc.edge.label,
            ha="center",
            va="center",
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    for node, place in cell.nodes.items():
        is_input = node in cell.inputs
        box = {
            "boxstyle": "square,pad=0.35" if is_input else "circle,pad=0.3",
            "facecolor": "white" if is_input else SHADE,
            "edgecolor": INK,
            "linewidth": 0.8,
        }
        axes.text(place, 0, str(node), ha="center", va="center", bbox=box)
        if is_input:
            axes.text(place, -1.9, "in", ha="center", va="center", color=FAINT)
    _draw_output(axes, [place for node, place in cell.nodes.items() if node not in cell.inputs])


def _draw_output(axes: Axes, places: Sequence[float]) -> None:
    """A bracket under the nodes whose outputs leave the cell."""
    if not places:
        return
    first, last = min(places), max(places)
    for place in places:
        axes.plot([place, place], [-1.1, -1.9], color=FAINT, lw=0.8)
    axes.plot([first, last], [-1.9, -1.9], color=FAINT, lw=0.8)
    line = {"arrowstyle": "-|>", "color": FAINT, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(last + 3, -1.9), xytext=(last, -1.9), arrowprops=line)
    axes.text(last + 3.3, -1.9, "out", color=FAINT, va="center", ha="left")


def _in_words(genotype: Genotype) -> str:
    return "; ".join(
        f"{plain(name)}: "
        + ", ".join(f"{edge.source} to {edge.target} {edge.label}" for edge in edges)
        for name, edges in edges_of(genotype).items()
    )
