"""Episodes of images: a row for each class, and what every learner takes the query images for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metabench.errors import MetabenchError
from metabench.render.figures.drawing import (
    LINE,
    Drawing,
    Width,
    house_style,
    legend_below,
    line_style,
    new_figure,
    wrapped,
)
from metabench.render.figures.palette import Style, learner_styles
from metabench.render.figures.same_episodes import runs_of_episode, seeds_shown
from metabench.render.figures.stamps import shown_of, stamped
from metabench.results.figure_data import command_again
from metabench.results.reading import FinishedRun, Results
from metabench.text import counted, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from metabench.plugin.catalog import Catalog
    from metabench.running.single_episodes import ImageEpisode

MOST_CLASSES, MOST_SUPPORT, MOST_QUERIES = 20, 5, 5
"""What is shown of an episode."""
MOST_INCHES, GAP, MARGIN = 0.42, 0.06, 0.08
"""Inches of an image at most, between images, and around all."""
RIGHT = "\u2713"


@dataclass(frozen=True, slots=True)
class Answers:
    """What is drawn.

    Attributes:
        episodes: one of each source.
        by_label: of each learner, the class that it takes each query image for, for each of the
            episodes ``[ways, queries]``.
        learners: the learner of each label.
    """

    episodes: Sequence[ImageEpisode]
    by_label: Mapping[str, Sequence[NDArray[np.int64]]]
    learners: Mapping[str, str]


def draw(
    results: Results, *, catalog: Catalog, episode: int = 0, width: Width = Width.double
) -> Drawing:
    """Show an episode of images of each source with the answers of every learner.

    Args:
        results: where the runs are.
        catalog: where plugins are found.
        episode: which meta-test episode of each source.
        width: of the figure.

    Raises:
        DataError: when no run is on images, or the data is missing.
        UsageError: when the runs are on different episodes, or there is no such episode.
    """
    answers, notes = collect(results, catalog=catalog, episode=episode)
    with house_style():
        figure = figure_of(answers, width=width)
    sources = ", ".join(plain(one.source) for one in answers.episodes)
    drawing = Drawing(
        name="images",
        figure=figure,
        title=f"Meta-test episode {episode} of each source",
        description=f"One block for each of {sources}: a row for each class, support images at the "
        "left and query images at the right. Below a query image stands what each learner takes it "
        f"for: a check mark for its class, or the number of another. {_in_words(answers)}",
        notes=(*notes, *seeds_shown(results, answers.by_label)),
    )
    return stamped(drawing, shown_of(results, answers.by_label))


def collect(results: Results, *, catalog: Catalog, episode: int = 0) -> tuple[Answers, list[str]]:
    """Draw the episodes again and ask the restored learners; name those that cannot be."""
    import torch

    from metabench.running.single_episodes import MetaTest
    from metabench.running.trained_learner import restore

    runs = runs_of_episode(results, episode, task="classification")
    first = next(iter(runs.values())).record
    n_sources = len(first.spec.sources)
    indices = range(episode * n_sources, (episode + 1) * n_sources)
    meta_test = MetaTest(first, catalog)
    episodes = [meta_test.images(index) for index in indices]
    by_label: dict[str, Sequence[NDArray[np.int64]]] = {}
    notes = []
    for label, run in runs.items():
        try:
            restored = restore(run.folder, catalog, device=torch.device("cpu"))
            found = restored.answers(indices)
        except MetabenchError as error:
            notes.append(_left_out(label, run, error))
            continue
        by_label[label] = [
            own.reshape(one.query.shape[:2]) for own, one in zip(found, episodes, strict=True)
        ]
    learners = {label: plain(runs[label].record.spec.learner.name) for label in by_label}
    return Answers(episodes, by_label, learners), notes


def _left_out(label: str, run: FinishedRun, error: MetabenchError) -> str:
    return (
        f"{label} has no answers in the figure: {error.message} `{command_again(run.record)}` "
        "makes a run that keeps its checkpoint."
    )


def _in_words(answers: Answers) -> str:
    """How many query images of all episodes each learner takes for the right class."""
    said = []
    for label, found in answers.by_label.items():
        right = sum(int((own == np.arange(len(own))[:, None]).sum()) for own in found)
        said.append(f"{label} has {right} of {sum(own.size for own in found)} right.")
    return " ".join(said)


def figure_of(answers: Answers, *, width: Width) -> Figure:
    """Draw one episode below the other; the legend says which line of answers is whose."""
    from matplotlib.lines import Line2D

    style = learner_styles(answers.learners)
    blocks = [_Block.of(one, width, n_learners=len(style)) for one in answers.episodes]
    figure = new_figure(width, sum(one.height for one in blocks), placed=True)
    if style:
        handles = [Line2D([], [], **line_style(look)) for look in style.values()]
        names = [f"{label} (line {n})" for n, label in enumerate(style, 1)]
        legend_below(figure, handles, names if len(style) > 1 else list(style))
    height = top = figure.get_figheight()
    for number, block in enumerate(blocks):
        top -= block.height
        axes = figure.add_axes((0, top / height, 1, block.height / height))
        axes.set_axis_off()
        _draw_images(axes, block)
        _draw_answers(
            axes, block, {label: found[number] for label, found in answers.by_label.items()}, style
        )
    return figure


@dataclass(frozen=True, slots=True)
class _Block:
    """An episode with its measures in inches.

    Attributes:
        support: the images that are shown, ``[ways, shots, height, width, channels]``.
        query: likewise.
        title: of the block.
        names: of the classes, in lines.
        width: of the block.
        first: where the images begin.
        side: of an image.
        rows: the heights of the rows.
    """

    support: NDArray[np.uint8]
    query: NDArray[np.uint8]
    title: str
    names: tuple[str, ...]
    width: float
    first: float
    side: float
    rows: tuple[float, ...]

    @classmethod
    def of(cls, episode: ImageEpisode, width: Width, *, n_learners: int) -> _Block:
        """Measure an episode."""
        support = episode.support[:MOST_CLASSES, :MOST_SUPPORT]
        query = episode.query[:MOST_CLASSES, :MOST_QUERIES]
        first = 0.3 * width.inches
        n_images = support.shape[1] + query.shape[1]
        room = width.inches - first - MARGIN - GAP
        side = min(MOST_INCHES, room / n_images - GAP)
        numbered = enumerate(episode.classes[:MOST_CLASSES], 1)
        names = tuple(wrapped(f"{n}  {plain(name)}", first - 2 * MARGIN) for n, name in numbered)
        answers = n_learners * LINE + 0.04
        rows = tuple(max(side + answers, (name.count("\n") + 1.3) * LINE) for name in names)
        shots, queries = (
            _of(one.shape[1], whole.shape[1], what)
            for one, whole, what in (
                (support, episode.support, "support image"),
                (query, episode.query, "query image"),
            )
        )
        ways = len(episode.support)
        of = f"of {len(support)} of {ways} classes" if len(support) < ways else "of each class"
        title = wrapped(
            f"{plain(episode.source)}: {shots} and {queries} {of}",
            width.inches - 2 * MARGIN,
        )
        return cls(support, query, title, names, width.inches, first, side, rows)

    @property
    def head(self) -> float:
        """The height of the title."""
        return (self.title.count("\n") + 1.5) * LINE

    @property
    def height(self) -> float:
        """Of the whole block."""
        return self.head + sum(self.rows) + MARGIN

    def row(self, number: int) -> float:
        """Where a row begins."""
        return self.head + sum(self.rows[:number])

    def column(self, number: int) -> float:
        """Where a column of images begins."""
        gap = GAP if number >= self.support.shape[1] else 0.0
        return self.first + number * (self.side + GAP) + gap


def _of(n: int, whole: int, what: str) -> str:
    """How many there are, or how many of them are shown.

    >>> _of(1, 1, "query image"), _of(5, 15, "query image")
    ('1 query image', '5 of 15 query images')
    """
    return counted(n, what) if n == whole else f"{n} of {counted(whole, what)}"


def _draw_images(axes: Axes, block: _Block) -> None:
    axes.text(MARGIN, LINE / 4, block.title, va="top")
    for row, name in enumerate(block.names):
        top = block.row(row)
        axes.text(MARGIN, top, name, va="top")
        for column, pixels in enumerate([*block.support[row], *block.query[row]]):
            left = block.column(column)
            shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            place = (left, left + block.side, top + block.side, top)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=place, aspect="auto")
    axes.set_xlim(0, block.width)  # which each image has changed
    axes.set_ylim(block.height, 0)


def _draw_answers(
    axes: Axes,
    block: _Block,
    answers: Mapping[str, NDArray[np.int64]],
    style: Mapping[str, Style],
) -> None:
    """Below each query image a line for each learner."""
    ways, n_queries = block.query.shape[:2]
    for row in range(ways):
        for column in range(n_queries):
            x = block.column(block.support.shape[1] + column) + block.side / 2
            for line, (label, found) in enumerate(answers.items()):
                said = int(found[row, column])
                axes.text(
                    x,
                    block.row(row) + block.side + (line + 0.5) * LINE + 0.02,
                    RIGHT if said == row else str(said + 1),
                    color=style[label].color,
                    ha="center",
                    va="center",
                )
