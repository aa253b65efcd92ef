"""Figures from results: one file each; this table is where a new one is added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.render.figures.drawing import Drawing
    from metabench.results.reading import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRequest:
    """What a figure may be made from.

    Attributes:
        results: the runs of a folder.
        catalog: opens the plugins, for figures that need a trained learner.
        episode: which meta-test episode of each source, for figures of single tasks.
    """

    results: Results
    catalog: Callable[[], Catalog]
    episode: int = 0


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A kind of figure.

    Attributes:
        summary: what it shows.
        make: draws it.
        of_episode: whether it is of a single episode.
        of_scores: whether it shows the episodes' scores, of any of their metrics.
    """

    summary: str
    make: Callable[[FigureRequest], Drawing]
    of_episode: bool = False
    of_scores: bool = False


def _fits(request: FigureRequest) -> Drawing:
    from metabench.render.figures import fits

    return fits.draw(request.results, catalog=request.catalog(), episode=request.episode)


def _cell(request: FigureRequest) -> Drawing:
    from metabench.render.figures import cell

    return cell.draw(request.results)


def _curves(request: FigureRequest) -> Drawing:
    from metabench.render.figures import curves

    return curves.draw(request.results)


def _genotypes(request: FigureRequest) -> Drawing:
    from metabench.render.figures import genotypes

    return genotypes.draw(request.results)


def _sizes(request: FigureRequest) -> Drawing:
    from metabench.render.figures import sizes

    return sizes.draw(request.results)


def _embeddings(request: FigureRequest) -> Drawing:
    from metabench.render.figures import embeddings

    return embeddings.draw(request.results)


def _ranks(request: FigureRequest) -> Drawing:
    from metabench.render.figures import ranks

    return ranks.draw(request.results)


def _annealing(request: FigureRequest) -> Drawing:
    from metabench.render.figures import annealing

    return annealing.draw(request.results, catalog=request.catalog(), episode=request.episode)


FIGURES = {
    "fits": FigureKind("regression tasks with the fit of each learner", _fits, of_episode=True),
    "cell": FigureKind("the most common searched cell of each learner", _cell),
    "curves": FigureKind("training curves, and the metric after each inner step", _curves),
    "ranks": FigureKind(
        "average ranks of learners with their critical difference", _ranks, of_scores=True
    ),
    "genotypes": FigureKind("how common each searched architecture is, by source", _genotypes),
    "sizes": FigureKind("sizes of the networks that a search found for its tasks", _sizes),
    "embeddings": FigureKind("task embeddings in the plane (t-SNE), by source", _embeddings),
    "annealing": FigureKind(
        "weights of operations during adaptation to a task", _annealing, of_episode=True
    ),
}
