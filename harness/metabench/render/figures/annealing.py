"""Weights of operations while a learner adapts to one task (MetaNAS, figure 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.errors import DataError, MetabenchError, UsageError
from metabench.plugin.contracts.architecture import INPUTS, CellChoices
from metabench.render.figures.drawing import (
    Drawing,
    house_style,
    legend_below,
    line_style,
    new_figure,
)
from metabench.render.figures.palette import FAINT, INK, Style, styles
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.labels import labelled
from metabench.results.reading import FinishedRun, Results
from metabench.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from metabench.plugin.catalog import Catalog

Array = NDArray[np.float64]
COLUMNS = 6
WIDTH, HEIGHT = 1.35, 1.05
"""Inches of a panel."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The weights of one edge, or of the pairs of inputs of one node.

    Attributes:
        title: which edge or node of which cell.
        names: of the operations, or of the pairs.
        weights: ``[1 + steps, names]``.
        of_inputs: whether it is of pairs.
    """

    title: str
    names: tuple[str, ...]
    weights: Array
    of_inputs: bool


def draw(results: Results, *, catalog: Catalog, episode: int = 0) -> Drawing:
    """Let every learner that can show its mixture adapt to one episode of its first source.

    Args:
        results: where the runs are.
        catalog: where plugins are found.
        episode: which meta-test episode.

    Raises:
        DataError: when no learner can be restored and shows a mixture that changes.
        UsageError: when there is no such episode.
    """
    found, notes = collect(results, catalog=catalog, episode=episode)
    with house_style():
        figure = figure_of(found)
    said = [
        f"{label}, {len(panels[0].weights) - 1} steps, at the end: "
        + "; ".join(f"{panel.title} {_winner(panel)}" for panel in panels)
        for label, panels in found.items()
    ]
    drawing = Drawing(
        name="annealing",
        figure=figure,
        title=f"Weights of operations during adaptation to meta-test episode {episode}",
        description=f"One panel per edge, one line per operation. {'. '.join(said)}.",
        notes=tuple(notes),
    )
    return stamped(drawing, shown_of(results, found))


def collect(
    results: Results, *, catalog: Catalog, episode: int = 0
) -> tuple[dict[str, list[Panel]], list[str]]:
    """Restore the learners of first seeds and let them adapt; name those that are left out."""
    found, notes = {}, []
    for label, config in labelled(results).items():
        spec = config.spec
        if spec.strategy is None:
            continue
        if not 0 <= episode < spec.protocol.episodes:
            raise UsageError(
                f"There is no episode {episode}; each source has {spec.protocol.episodes:,}.",
                hint=f"Choose one from 0 to {spec.protocol.episodes - 1}.",
            )
        try:
            found[label] = _panels(config.runs[0], catalog, index=episode * len(spec.sources))
        except MetabenchError as error:
            notes.append(f"{label} is left out: {error.message}")
    if not found:
        raise DataError(
            "No learner in this folder can show how its mixture of operations changes. "
            f"{' '.join(notes)}".strip(),
            hint="This figure needs a run of metanas, or of maml on a searched network, with its "
            "checkpoint; repeat a run's command with another --out to get one.",
        )
    return found, notes


def _panels(run: FinishedRun, catalog: Catalog, *, index: int) -> list[Panel]:
    import torch

    from metabench.running.trained_learner import restore

    # As many threads as in the run, whose last digits depend on it.
    torch.set_num_threads(run.record.provenance.threads)
    restored = restore(run.folder, catalog, device=torch.device("cpu"))
    assert restored.built.space is not None
    path = restored.trace(index)
    weights = {
        key: np.stack([mixture[key][0].double().cpu().numpy() for mixture in path])
        for key in path[0]
    }
    return [
        panel
        for cell, choices in restored.built.space.choices().items()
        for panel in (*_of_edges(cell, choices, weights), *_of_inputs(cell, choices, weights))
    ]


def _of_edges(cell: str, choices: CellChoices, weights: Mapping[str, Array]) -> list[Panel]:
    names = tuple(map(plain, choices.primitives))
    return [
        Panel(f"{plain(cell)} {source} to {target}", names, weights[cell][:, row], False)
        for row, (source, target) in enumerate(choices.edges)
    ]


def _of_inputs(cell: str, choices: CellChoices, weights: Mapping[str, Array]) -> list[Panel]:
    found, first = [], 0
    for node, pairs in choices.pairs().items() if cell + INPUTS in weights else ():
        names = tuple(" and ".join(str(choices.edges[e][0]) for e in pair) for pair in pairs)
        part = weights[cell + INPUTS][:, first : first + len(pairs)]
        first += len(pairs)
        found.append(Panel(f"{plain(cell)} into {node}", names, part, True))
    return found


def _winner(panel: Panel) -> str:
    best = int(panel.weights[-1].argmax())
    return f"{panel.names[best]} {panel.weights[-1, best]:.2f}"


def figure_of(found: Mapping[str, Sequence[Panel]]) -> Figure:
    """A block of small panels per learner, with one style per operation."""
    from matplotlib.lines import Line2D

    names = [name for ps in found.values() for p in ps if not p.of_inputs for name in p.names]
    style = styles(names)
    rows = [-(-len(panels) // COLUMNS) for panels in found.values()]
    figure = new_figure(WIDTH * COLUMNS, HEIGHT * sum(rows) + 0.3 * len(found) + 0.6)
    blocks = figure.subfigures(len(found), 1, squeeze=False, height_ratios=rows).ravel()
    for block, n_rows, (label, panels) in zip(blocks, rows, found.items(), strict=True):
        block.suptitle(label, fontsize=9, x=0.01, ha="left")
        grid = block.subplots(n_rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        for place, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
            _draw_panel(axes, panel, style)
            axes.tick_params(labelbottom=place >= len(panels) - COLUMNS)
        for axes in grid[len(panels) :]:
            axes.remove()
        block.supxlabel("steps", fontsize=8)
        block.supylabel("weight", fontsize=8)
    handles = [Line2D([], [], **line_style(look)) for look in style.values()]
    legend_below(figure, handles, list(style))
    return figure


def _draw_panel(axes: Axes, panel: Panel, style: Mapping[str, Style]) -> None:
    best = int(panel.weights[-1].argmax())
    steps = np.arange(len(panel.weights))
    for column, name in enumerate(panel.names):
        y = panel.weights[:, column]
        if panel.of_inputs:
            axes.plot(steps, y, color=INK if column == best else FAINT, lw=1.0)
        else:
            axes.plot(steps, y, **line_style(style[name]), lw=1.2)
    text = f"{panel.title}: {panel.names[best]}" if panel.of_inputs else panel.title
    axes.set_title(text, fontsize=6.5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 1])
    axes.tick_params(labelsize=6.5)
