"""Every kind of figure can be printed as it is, at the width of a column and of a page."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet
from committed_studies import runs_of
from figure_layout import check_layout

from metabench.plugin.catalog import Catalog
from metabench.render.figures import FIGURES, FigureRequest
from metabench.render.figures.drawing import Width

COMMITTED = {
    "curves": ("four-domains-search", "toy-guarded", "omniglot-lite"),
    "ranks": ("four-domains-search", "toy-guarded"),
    "cell": ("four-domains-search", "toy-guarded"),
    "genotypes": ("four-domains-search", "toy-guarded"),
    "sizes": ("four-domains-search", "toy-guarded"),
    "embeddings": ("four-domains-search",),
    "fits": ("toy-guarded",),
    "annealing": ("omniglot-search",),
}


def test_every_kind_is_drawn_from_committed_results() -> None:
    """But for images, which need the data; ``test_images.py`` draws them from generated ones."""
    assert COMMITTED.keys() == FIGURES.keys() - {"images"}


def cases() -> list[ParameterSet]:
    """Each kind from one study; the others are slow, and so is t-SNE."""
    return [
        pytest.param(kind, study, marks=pytest.mark.slow if place or kind == "embeddings" else ())
        for kind, studies in COMMITTED.items()
        for place, study in enumerate(studies)
    ]


@pytest.mark.parametrize("width", list(Width))
@pytest.mark.parametrize(("kind", "study"), cases())
def test_a_figure_is_printed_as_it_is(
    kind: str, study: str, width: Width, catalog: Catalog
) -> None:
    request = FigureRequest(results=runs_of(study), catalog=lambda: catalog, width=width)
    check_layout(FIGURES[kind].make(request), width)
