"""Figures from results: one file each; this table is where a new one is added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.render.figures.drawing import Drawing, Width
    from metabench.results.reading import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRequest:
    """What a figure may be made from.

    Attributes:
        results: the runs of a folder.
        catalog: opens the plugins, for figures that may need a trained learner.
        width: of the figure; None is that of a page.
        whole: whether to show all points there are, though it takes longer.
        episode: which meta-test episode of each source, for figures of single tasks.
        metric: the only scalar or metric to show the curve of; None for what is common.
        edge: which edges to show, in the words of the user; "" for all.
    """

    results: Results
    catalog: Callable[[], Catalog]
    width: Width | None = None
    whole: bool = False
    episode: int = 0
    metric: str | None = None
    edge: str = ""

    def in_width(self) -> Width:
        """The width, chosen or not."""
        from metabench.render.figures.drawing import Width

        return self.width or Width.double


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A kind of figure.

    Attributes:
        summary: what it shows.
        make: draws it.
        of_episode: whether it is of a single episode.
        of_scores: whether it shows the episodes' scores, of any of their metrics.
        of_curves: whether it shows curves, of any that are recorded.
        of_edges: whether it shows edges of a network, of which some can be chosen.
    """

    summary: str
    make: Callable[[FigureRequest], Drawing]
    of_episode: bool = False
    of_scores: bool = False
    of_curves: bool = False
    of_edges: bool = False


def _fits(request: FigureRequest) -> Drawing:
    from metabench.render.figures import fits

    catalog, width = request.catalog(), request.in_width()
    return fits.draw(request.results, catalog=catalog, episode=request.episode, width=width)


def _images(request: FigureRequest) -> Drawing:
    from metabench.render.figures import images

    catalog, width = request.catalog(), request.in_width()
    return images.draw(request.results, catalog=catalog, episode=request.episode, width=width)


def _cell(request: FigureRequest) -> Drawing:
    from metabench.render.figures import cell

    return cell.draw(request.results, width=request.in_width())


def _curves(request: FigureRequest) -> Drawing:
    from metabench.render.figures import curves

    return curves.draw(request.results, width=request.in_width(), metric=request.metric)


def _genotypes(request: FigureRequest) -> Drawing:
    from metabench.render.figures import genotypes

    return genotypes.draw(request.results, width=request.in_width())


def _sizes(request: FigureRequest) -> Drawing:
    from metabench.render.figures import sizes

    return sizes.draw(request.results, width=request.in_width())


def _embeddings(request: FigureRequest) -> Drawing:
    from metabench.render.figures import embeddings

    return embeddings.draw(request.results, width=request.in_width(), whole=request.whole)


def _ranks(request: FigureRequest) -> Drawing:
    from metabench.render.figures import ranks

    return ranks.draw(request.results, width=request.in_width())


def _annealing(request: FigureRequest) -> Drawing:
    from metabench.render.figures import annealing

    return annealing.draw(
        request.results,
        catalog=request.catalog(),
        episode=request.episode,
        places=annealing.parse_places(request.edge) if request.edge else (),
        width=request.in_width(),
    )


FIGURES = {
    "fits": FigureKind("regression tasks with the fit of each learner", _fits, of_episode=True),
    "images": FigureKind(
        "episodes of images with the answers of each learner", _images, of_episode=True
    ),
    "cell": FigureKind("the most common searched cell of each learner", _cell),
    "curves": FigureKind(
        "training curves, and the metric after each inner step", _curves, of_curves=True
    ),
    "ranks": FigureKind(
        "average ranks of learners with their critical difference", _ranks, of_scores=True
    ),
    "genotypes": FigureKind("how common each searched architecture is, by source", _genotypes),
    "sizes": FigureKind("sizes of the networks that a search found for its tasks", _sizes),
    "embeddings": FigureKind("task embeddings in the plane (t-SNE), by source", _embeddings),
    "annealing": FigureKind(
        "weights of operations during adaptation to a task",
        _annealing,
        of_episode=True,
        of_edges=True,
    ),
}
