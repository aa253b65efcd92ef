"""A figure of stamped runs says so, whatever its kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from result_factory import edit_json, make_spec, write_run
from search_factory import A, B, run_search, write_search

from metabench.plugin.catalog import Catalog
from metabench.render.figures import FIGURES, FigureRequest
from metabench.render.figures.drawing import Drawing, FileFormat, encode, house_style, to_svg
from metabench.render.figures.stamps import in_words
from metabench.results.labels import labelled
from metabench.results.reading import Results, read_runs

SAID = "Stamps: smoke, custom."
SAID_OF_IMAGES = "Stamps: smoke, limit, custom, synthetic."
NEED_CHECKPOINTS = ("fits", "annealing", "images")


@pytest.fixture(scope="module")
def searched(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MetaNAS on the toy cell, hardly trained: stamped smoke and custom."""
    return run_search(tmp_path_factory.mktemp("stamped"), catalog)


def write_stamped(out: Path, *, stamps: tuple[str, ...] = ("smoke", "custom")) -> Path:
    """Three searches with curves, architectures and embeddings, all with these stamps."""
    for i, learner in enumerate(("mnas", "mnas-nm", "metanas")):
        run = write_search(out, [A, B] * 20, learner=learner, embedded=40)
        edit_json(run / "run.json", stamps=stamps)
        points = [{"step": s, "loss": 100 / s} for s in range(1, 41)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in points))
        lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
        scores = (0.1 * (i + 1) + 0.001 * np.arange(40) % 0.05).tolist()
        texts = [json.dumps({**x, "score": s}) for x, s in zip(lines, scores, strict=True)]
        (run / "episodes.jsonl").write_text("".join(f"{text}\n" for text in texts))
    return out


def make(kind: str, folder: Path, catalog: Catalog) -> Drawing:
    return FIGURES[kind].make(FigureRequest(results=read_runs(folder), catalog=lambda: catalog))


@pytest.mark.parametrize("kind", FIGURES)
def test_every_kind_shows_the_stamps_above_everything_else(
    kind, catalog, searched, image_runs, tmp_path
):
    if kind == "images":
        folder, words = image_runs, SAID_OF_IMAGES
    else:
        folder, words = searched if kind in NEED_CHECKPOINTS else write_stamped(tmp_path), SAID
    drawing = make(kind, folder, catalog)
    assert drawing.description.startswith(words)
    assert to_svg(drawing, inline=True).count(words) == 2  # in the description and to be seen
    figure = drawing.figure
    with house_style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        said = next(text for text in figure.texts if text.get_text() == words)
        place = said.get_window_extent(renderer)
        others = [axes.get_tightbbox(renderer) for axes in figure.axes]
    assert place.x0 >= 0
    assert place.x1 <= figure.bbox.x1
    assert place.y1 <= figure.bbox.y1
    assert all(box is None or box.y1 <= place.y0 + 1 for box in others)


@pytest.mark.parametrize("kind", [kind for kind in FIGURES if kind not in NEED_CHECKPOINTS])
def test_without_stamps_nothing_is_added(kind, catalog, tmp_path):
    drawing = make(kind, write_stamped(tmp_path, stamps=()), catalog)
    assert "Stamped" not in to_svg(drawing, inline=True)


def test_the_other_formats_carry_the_stamps_too(catalog, tmp_path):
    drawing = make("curves", write_stamped(tmp_path), catalog)
    assert SAID.encode() in encode(drawing, FileFormat.png)
    assert encode(drawing, FileFormat.pdf)


def write_learners(folder: Path, **stamps: tuple[str, ...]) -> Results:
    for learner, of_learner in stamps.items():
        write_run(folder, make_spec(learner), stamps=of_learner)
    return read_runs(folder)


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ({"a": (), "b": ()}, ""),
        ({"a": ("lite",), "b": ("lite",)}, "Stamps: lite."),
        (
            {"a": ("lite",), "b": ("lite", "custom"), "c": ("lite", "custom")},
            "Stamps: lite, custom (b, c).",
        ),
        ({"a": (), "b": ("subset",)}, "Stamps: subset (b)."),
    ],
)
def test_common_stamps_stand_once_and_the_others_name_whose_they_are(tmp_path, stamps, expected):
    assert in_words(labelled(write_learners(tmp_path, **stamps))) == expected


def test_many_names_take_several_lines(catalog, tmp_path):
    for i in range(12):
        spec = make_spec(f"learner-with-a-long-name-{i}")
        run = write_run(tmp_path, spec, stamps=("lite",) if i else ())
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 2.0}\n')
    drawing = make("curves", tmp_path, catalog)
    (said,) = drawing.figure.texts
    assert len(said.get_text().splitlines()) > 2
    with house_style():
        canvas = FigureCanvasAgg(drawing.figure)
        canvas.draw()
        place = said.get_window_extent(canvas.get_renderer())
    assert place.x1 <= drawing.figure.bbox.x1


def test_a_hostile_stamp_is_text(catalog, tmp_path):
    drawing = make("curves", write_stamped(tmp_path, stamps=("<b>$x$\n",)), catalog)
    assert "&lt;b&gt;$x$" in to_svg(drawing, inline=True)
