"""Weights of operations while a learner adapts to one task (MetaNAS, figure 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import DataError, MetabenchError, UsageError
from metabench.render.figures.drawing import (
    LINE,
    POINTS,
    Drawing,
    Width,
    house_style,
    legend_below,
    line_style,
    new_figure,
    plain_axis,
    wrapped,
)
from metabench.render.figures.palette import FAINT, INK, Style, styles
from metabench.render.figures.same_episodes import seeds_shown
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.figure_data import (
    MixturePanel,
    MixturePath,
    command_again,
    read_mixtures,
)
from metabench.results.labels import labelled
from metabench.results.reading import FinishedRun, Results
from metabench.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from metabench.plugin.catalog import Catalog

COLUMNS = {Width.single: 2, Width.double: 4}
HEIGHT = 1.0
"""Inches of a panel without its title."""


@dataclass(frozen=True, slots=True)
class Place:
    """An edge, or the pairs of inputs of a node where ``source`` is None; of any cell if "" is."""

    cell: str
    source: int | None
    target: int

    def holds(self, panel: MixturePanel) -> bool:
        """Whether a panel is of it."""
        ends = (panel.source, panel.target) == (self.source, self.target)
        return ends and self.cell in ("", panel.cell)


def parse_places(text: str) -> tuple[Place, ...]:
    """Read edges and nodes, separated by commas.

    Raises:
        UsageError: when one is neither.

    >>> parse_places("normal:0-2, 3")
    (Place(cell='normal', source=0, target=2), Place(cell='', source=None, target=3))
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(?:(.+):)?(?:(\d+)-)?(\d+)", part.strip())
        if match is None:
            raise UsageError(
                f"{part.strip()!r} is no edge.",
                hint="Write an edge as 0-2, of one cell as normal:0-2, and the pairs of inputs of "
                "a node as normal:2; separate several by commas.",
            )
        source = None if match[2] is None else int(match[2])
        found.append(Place(match[1] or "", source, int(match[3])))
    return tuple(found)


def draw(
    results: Results,
    *,
    catalog: Catalog,
    episode: int = 0,
    places: Sequence[Place] = (),
    width: Width = Width.double,
) -> Drawing:
    """Show how every learner that can show its mixture adapts to one episode of its first source.

    Args:
        results: where the runs are.
        catalog: where plugins are found, for runs that did not keep this episode's path.
        episode: which meta-test episode.
        places: the edges and nodes to show; all of them if none is named.
        width: of the figure.

    Raises:
        DataError: when no run kept a path or can be restored and shows a mixture that changes.
        UsageError: when there is no such episode or edge.
    """
    found, notes = collect(results, catalog=catalog, episode=episode)
    if places:
        found, notes = _chosen(found, places, notes)
    with house_style():
        figure = figure_of(found, width=width)
    shown = shown_of(results, found)
    sources = dict.fromkeys(plain(config.spec.sources[0].source) for config in shown.values())
    said = [
        f"{label}, {path.steps[-1]} steps, at the end: "
        + "; ".join(f"{panel.title} {_winner(panel)}" for panel in path.panels)
        for label, path in found.items()
    ]
    drawing = Drawing(
        name="annealing",
        figure=figure,
        title=f"Weights of operations during adaptation to meta-test episode {episode} of "
        f"{', '.join(sources)}",
        description=f"One panel per edge, one line per operation. {'. '.join(said)}.",
        notes=(*notes, *seeds_shown(results, found)),
    )
    return stamped(drawing, shown)


def collect(
    results: Results, *, catalog: Catalog, episode: int = 0
) -> tuple[dict[str, MixturePath], list[str]]:
    """Read what runs of first seeds kept, or restore them; name those that are left out."""
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
            found[label] = _path_of(config.runs[0], catalog, index=episode * len(spec.sources))
        except MetabenchError as error:
            notes.append(f"{label} is left out: {error.in_full}")
    if not found:
        raise DataError(
            "No learner in this folder can show how its mixture of operations changes. "
            f"{' '.join(notes)}".strip(),
            hint="This figure needs a run of metanas, or of maml on a searched network.",
        )
    return found, notes


def _path_of(run: FinishedRun, catalog: Catalog, *, index: int) -> MixturePath:
    """The path that a run kept of an episode; else that of its restored learner.

    Raises:
        DataError: when there is neither.
    """
    kept = read_mixtures(run.folder)
    if index in kept:
        return kept[index]
    import torch

    from metabench.running.figure_data import path_at
    from metabench.running.trained_learner import restore

    # As many threads as in the run, whose last digits depend on it.
    torch.set_num_threads(run.record.provenance.threads)
    try:
        restored = restore(run.folder, catalog, device=torch.device("cpu"))
    except MetabenchError as error:
        has = "only that of the first episode" if kept else "no mixtures.jsonl"
        raise DataError(
            f"its record has {has}, and it cannot be restored: {error.message}",
            hint=f"`{command_again(run.record)}` makes a run that keeps its checkpoint.",
        ) from error
    return path_at(restored, index)


def _chosen(
    found: Mapping[str, MixturePath], places: Sequence[Place], notes: Iterable[str]
) -> tuple[dict[str, MixturePath], list[str]]:
    """The panels that are asked for, in that order; learners without any are left out."""
    chosen, told = {}, list(notes)
    for label, path in found.items():
        panels = [panel for panel in path.panels if any(one.holds(panel) for one in places)]
        if panels:
            chosen[label] = replace(path, panels=tuple(panels))
        else:
            told.append(f"{label} is left out: it has none of these edges.")
    if not chosen:
        known = sorted({panel.title for path in found.values() for panel in path.panels})
        raise UsageError("No learner here has such an edge.", hint=f"There is {', '.join(known)}.")
    return chosen, told


def _best(panel: MixturePanel) -> int | None:
    """The column of the largest weight at the end; None where no weight is finite."""
    last = panel.weights[-1]
    return int(np.nanargmax(last)) if np.isfinite(last).any() else None


def _winner(panel: MixturePanel) -> str:
    best = _best(panel)
    if best is None:
        return "has no finite weight"
    return f"{plain(panel.names[best])} {panel.weights[-1, best]:.2f}"


def figure_of(found: Mapping[str, MixturePath], *, width: Width) -> Figure:
    """A block of small panels per learner, with one style per operation.

    Blocks stand beside each other where one row holds them all.
    """
    from matplotlib.lines import Line2D

    edges = [panel for path in found.values() for panel in path.panels if panel.source is not None]
    style = styles(plain(name) for panel in edges for name in panel.names)
    most = COLUMNS[width]
    counts = [len(path.panels) for path in found.values()]
    beside = sum(counts) <= most
    columns = counts if beside else [min(most, max(counts))] * len(counts)
    rows = [-(-count // n) for count, n in zip(counts, columns, strict=True)]
    panel_width = width.inches / (sum(counts) if beside else columns[0]) - 0.25
    titles = {
        label: [wrapped(_title(panel), panel_width) for panel in path.panels]
        for label, path in found.items()
    }
    n_lines = max(text.count("\n") + 1 for texts in titles.values() for text in texts)
    height = (HEIGHT + LINE * n_lines) * (1 if beside else sum(rows))
    figure = new_figure(width, height + 0.4 * (1 if beside else len(found)))
    if beside:
        blocks = figure.subfigures(1, len(found), squeeze=False, width_ratios=counts).ravel()
    else:
        blocks = figure.subfigures(len(found), 1, squeeze=False, height_ratios=rows).ravel()
    for block, n_rows, n_columns, (label, path) in zip(
        blocks, rows, columns, found.items(), strict=True
    ):
        inches = panel_width * n_columns
        block.suptitle(wrapped(label, inches), fontsize=POINTS, x=0.01, ha="left")
        _draw_block(block, path, titles[label], (n_rows, n_columns), style, panel_width)
    handles = [Line2D([], [], **line_style(look)) for look in style.values()]
    if handles:
        legend_below(figure, handles, list(style))
    return figure


def _title(panel: MixturePanel) -> str:
    best = _best(panel)
    if panel.source is not None or best is None:
        return panel.title
    return f"{panel.title}: {panel.names[best]}"


def _draw_block(
    block: SubFigure,
    path: MixturePath,
    titles: Sequence[str],
    shape: tuple[int, int],
    style: Mapping[str, Style],
    inches: float,
) -> None:
    grid = block.subplots(*shape, sharex=True, sharey=True, squeeze=False).ravel()
    steps = np.array(path.steps)
    for place, (axes, panel, title) in enumerate(zip(grid, path.panels, titles, strict=False)):
        _draw_panel(axes, steps, panel, style)
        axes.set_title(title)
        axes.tick_params(labelbottom=place >= len(path.panels) - shape[1])
        plain_axis(axes, axis="x", inches=inches - 0.2)
    for axes in grid[len(path.panels) :]:
        axes.remove()
    block.supxlabel("steps", fontsize=POINTS)
    block.supylabel("weight", fontsize=POINTS)


def _draw_panel(
    axes: Axes, steps: np.ndarray, panel: MixturePanel, style: Mapping[str, Style]
) -> None:
    best = _best(panel)
    for column, name in enumerate(panel.names):
        y = panel.weights[:, column]
        if panel.source is None:
            axes.plot(steps, y, color=INK if column == best else FAINT, lw=1.0)
        else:
            axes.plot(steps, y, **line_style(style[plain(name)]), lw=1.2)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 1])
