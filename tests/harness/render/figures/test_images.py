"""The figure of an episode of images: what it shows, and that it can be printed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from figure_layout import check_layout
from result_factory import make_spec, write_run

from metabench.errors import DataError, UsageError
from metabench.plugin.catalog import Catalog
from metabench.render.figures import images
from metabench.render.figures.drawing import Width, house_style
from metabench.render.figures.images import RIGHT, Answers
from metabench.results.reading import read_runs
from metabench.running.single_episodes import ImageEpisode


@pytest.mark.parametrize("width", list(Width))
def test_classes_images_and_answers_are_there(
    catalog: Catalog, image_runs: Path, width: Width
) -> None:
    results = read_runs(image_runs)
    drawing = images.draw(results, catalog=catalog, episode=21, width=width)
    check_layout(drawing, width)
    (axes,) = drawing.figure.axes
    assert len(axes.images) == 10
    (legend,) = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "maml (line 1)",
        "protonet (line 2)",
    ]
    title, *said = [text.get_text() for text in axes.texts]
    assert title.replace("\n", " ") == "omniglot: 1 support image and 1 query image of each class"
    names = [text for text in said if "synthetic/" in text]
    assert [text[0] for text in names] == ["1", "2", "3", "4", "5"]
    answers = [text for text in said if "synthetic/" not in text]
    assert len(answers) == 10  # of two learners to five queries
    expected = {run.record.spec.learner.name: run.episodes.score[21] for run in results.runs}
    for learner, place in (("maml", 0), ("protonet", 1)):
        of_learner = answers[place::2]
        assert of_learner.count(RIGHT) / 5 == pytest.approx(expected[learner])
        assert f"{learner} has {of_learner.count(RIGHT)} of 5 right." in drawing.description
    assert drawing.notes == ()


def test_without_a_checkpoint_the_images_stay_and_the_command_is_named(
    catalog: Catalog, image_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(image_runs, tmp_path / "R")
    for folder in (tmp_path / "R").rglob("checkpoints"):
        if "protonet" in str(folder):
            shutil.rmtree(folder)
    drawing = images.draw(read_runs(tmp_path / "R"), catalog=catalog)
    (note,) = drawing.notes
    assert note.startswith("protonet has no answers in the figure: No checkpoint is left in")
    assert "--out NEW` makes a run that keeps its checkpoint." in note
    (axes,) = drawing.figure.axes
    assert len(axes.images) == 10
    assert "maml has" in drawing.description
    assert "protonet has" not in drawing.description


def test_large_episodes_of_several_sources_fit() -> None:
    rng = np.random.default_rng(0)
    episodes = [
        ImageEpisode(
            index=0,
            source=source,
            key="k",
            classes=tuple(
                f"a class with a rather long name {i}, turned by 90 degrees" for i in range(5)
            ),
            support=rng.integers(0, 256, size=(5, 5, 84, 84, 3), dtype=np.uint8),
            query=rng.integers(0, 256, size=(5, 15, 84, 84, 3), dtype=np.uint8),
        )
        for source in ("birds", "textures")
    ]
    answers = Answers(
        episodes,
        {name: [rng.integers(0, 5, size=(5, 15))] * 2 for name in ("maml", "mnas", "reptile")},
        {name: name for name in ("maml", "mnas", "reptile")},
    )
    for width in Width:
        with house_style():
            figure = images.figure_of(answers, width=width)
        assert [len(axes.images) for axes in figure.axes] == [50, 50]
        assert "5 of 15 query images" in figure.axes[1].texts[0].get_text().replace("\n", " ")
        drawing = images.Drawing(name="images", figure=figure, title="t", description="d")
        check_layout(drawing, width)


def test_what_has_no_images_is_refused(catalog: Catalog, image_runs: Path, tmp_path: Path) -> None:
    write_run(tmp_path, make_spec(suite="toy", metric="mse", sources=("sine",)))
    with pytest.raises(DataError, match="on classification, so there are no images"):
        images.draw(read_runs(tmp_path), catalog=catalog)
    with pytest.raises(UsageError, match="no episode 30; each source has 30"):
        images.draw(read_runs(image_runs), catalog=catalog, episode=30)


def test_classes_that_are_not_shown_are_counted() -> None:
    pixels = np.zeros((25, 2, 8, 8, 1), dtype=np.uint8)
    names = tuple(map(str, range(25)))
    episode = ImageEpisode(
        index=0, source="letters", key="k", classes=names, support=pixels[:, :1], query=pixels
    )
    with house_style():
        figure = images.figure_of(Answers([episode], {}, {}), width=Width.double)
    (axes,) = figure.axes
    title = axes.texts[0].get_text().replace("\n", " ")
    assert title == "letters: 1 support image and 2 query images of 20 of 25 classes"
    assert len(axes.images) == 20 * 3
