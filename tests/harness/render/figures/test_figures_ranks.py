"""Critical-difference diagrams: what is ranked, what is joined, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from result_factory import PROVENANCE, make_spec, write_run

from metabench.errors import DataError
from metabench.planning.runspec import Training
from metabench.render.figures import ranks
from metabench.render.figures.drawing import to_svg
from metabench.results.reading import read_runs

N = 40


def write(
    folder: Path, learner: str, scores: np.ndarray, *, budget: str = "lite", seed: int = 0
) -> None:
    spec = make_spec(learner, episodes=len(scores) // 2, budget=budget, metric="mse", seed=seed)
    write_run(folder, spec, [float(score) for score in scores])


def three(folder: Path) -> None:
    """The first is the best on every episode; the others take turns."""
    turns = np.arange(N) % 2
    write(folder, "maml", np.full(N, 0.1))
    write(folder, "hsml", 0.2 + 0.1 * turns)
    write(folder, "mnas", 0.3 - 0.1 * turns)


def test_ranks_are_averages_over_episodes_and_turns_are_not_told_apart(tmp_path: Path) -> None:
    three(tmp_path)
    drawing = ranks.draw(read_runs(tmp_path))
    (axes,) = drawing.figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert {"maml  1.00", "hsml  2.50", "2.50  mnas"} <= set(texts)
    # sqrt(k (k + 1) / (6 n)) with q(0.05, 3) = 2.343 (Demšar 2006, table 5)
    assert f"CD {2.343 * np.sqrt(3 * 4 / (6 * N)):.3f}" in texts
    assert "not distinguishable: hsml and mnas" in drawing.description
    assert f"ranks within {N} episodes, each of one trained network" in axes.get_title()
    assert f"n = {N} episodes" in drawing.description
    assert "blocks" not in drawing.description
    assert (
        "one trained network; it holds for these networks, not for newly trained ones"
        in drawing.description
    )


def test_seeds_are_counted_as_networks_and_not_as_episodes(tmp_path: Path) -> None:
    three(tmp_path)
    write(tmp_path, "maml", np.full(N, 0.1), seed=1)
    drawing = ranks.draw(read_runs(tmp_path))
    assert "1 to 2 trained networks, averaged per episode" in drawing.description
    assert f"n = {N} episodes" in drawing.description


def test_the_title_stays_on_the_figure(tmp_path: Path) -> None:
    three(tmp_path)
    write(tmp_path, "a-learner-with-a-very-long-name", np.full(N, 0.4))
    figure = ranks.draw(read_runs(tmp_path)).figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    place = figure.axes[0].title.get_window_extent(canvas.get_renderer())
    assert place.x0 >= 0
    assert place.x1 <= figure.bbox.x1


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    three(tmp_path)
    assert to_svg(ranks.draw(read_runs(tmp_path))) == to_svg(ranks.draw(read_runs(tmp_path)))


def test_learners_of_other_budgets_are_not_ranked_together(tmp_path: Path) -> None:
    three(tmp_path)
    write(tmp_path, "reptile", np.full(N, 0.05), budget="paper")
    drawing = ranks.draw(read_runs(tmp_path))
    assert "reptile" not in drawing.description
    assert any("at least 3 learners; there are 1" in note for note in drawing.notes)


def test_two_learners_are_refused_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "maml", np.full(N, 0.1))
    write(tmp_path, "hsml", np.full(N, 0.2))
    with pytest.raises(DataError, match="Ranks need at least 3 learners; there are 2"):
        ranks.draw(read_runs(tmp_path))


def test_what_ran_under_other_conditions_has_a_diagram_of_its_own(tmp_path: Path) -> None:
    """Equal in suite, setting and budget, but on other data."""
    for data, order in (("a", ("maml", "hsml", "mnas")), ("b", ("mnas", "hsml", "maml"))):
        for level, learner in enumerate(order, start=1):
            spec = make_spec(learner, episodes=N // 2, metric="mse", data_fingerprint=16 * data)
            write_run(tmp_path, spec, [0.1 * level] * N)
    drawing = ranks.draw(read_runs(tmp_path))
    assert len(drawing.figure.axes) == 2
    for data, best in (("a", "maml"), ("b", "mnas")):
        title = f"multidataset @ 5w1s, budget lite, data_fingerprint {16 * data}: {best}"
        assert title in drawing.description


def test_a_length_that_a_user_set_is_ranked_with_no_other(tmp_path: Path) -> None:
    three(tmp_path)
    longer = PROVENANCE.model_copy(update={"changes": {"budget": {"meta_steps": 99}}})
    spec = make_spec(
        "protonet",
        episodes=N // 2,
        metric="mse",
        training=Training(meta_steps=99, meta_batch=4),
    )
    write_run(tmp_path, spec, [0.0] * N, provenance=longer)
    drawing = ranks.draw(read_runs(tmp_path))
    assert "protonet" not in drawing.description
    (note,) = drawing.notes
    assert "Ranks need at least 3 learners; there are 1." in note
