"""Curves: one quantity in a panel, runaway losses cut off and marked, and a choice of metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_layout import check_layout
from result_factory import make_spec, write_run

from metabench.errors import UsageError
from metabench.planning.runspec import RunSpec
from metabench.render.figures import curves
from metabench.render.figures.drawing import Drawing, Width, log_ticks
from metabench.results.comparable_curves import training_curves
from metabench.results.reading import read_runs


def write(out: Path, spec: RunSpec, **scalars: Any) -> Path:
    """A run that logged these scalars, each a list."""
    folder = write_run(out, spec)
    points = [
        {"step": 10 * i, **dict(zip(scalars, values, strict=True))}
        for i, values in enumerate(zip(*scalars.values(), strict=True), start=1)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in points))
    return folder


def falling(n: int = 60, *, start: float = 8.0) -> list[float]:
    return [start / (1 + 0.2 * i) for i in range(n)]


def lines_of(drawing: Drawing, panel: int = 0) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata(), dtype=float) for line in drawing.figure.axes[panel].lines]


# One quantity in a panel -----------------------------------------------------------------------


def test_a_learners_own_loss_is_not_put_beside_that_of_others(tmp_path: Path) -> None:
    write(tmp_path, make_spec("proto"), loss=falling(), query_loss=falling(start=2))
    write(tmp_path, make_spec("reptile"), loss=falling())
    drawing = curves.draw(read_runs(tmp_path))
    assert [axes.get_title() for axes in drawing.figure.axes] == ["meta-training: query loss"]
    assert drawing.notes == (
        "reptile is not in the panels of training: it logs nothing that all learners have in "
        "common. --metric loss shows its own loss.",
    )
    own = curves.draw(read_runs(tmp_path), metric="loss")
    assert own.figure.axes[0].get_title() == "meta-training: each learner's own loss"
    assert "reptile" in own.description


def test_where_learners_have_nothing_in_common_their_own_loss_is_shown(tmp_path: Path) -> None:
    write(tmp_path, make_spec("reptile"), loss=falling())
    (axes,) = curves.draw(read_runs(tmp_path)).figure.axes
    assert axes.get_title() == "meta-training: each learner's own loss"


@pytest.mark.parametrize(
    ("learner", "reduction", "factor"),
    [("maml", "per_shot", 1 / 5), ("maml", "mean", 1.0), ("protonet", None, 1.0)],
)
def test_older_records_get_the_query_loss_where_it_is_their_loss(
    tmp_path: Path, learner: str, reduction: str | None, factor: float
) -> None:
    params = {} if reduction is None else {"reduction": reduction}
    write(tmp_path, make_spec(learner, params=params), loss=falling())
    (run,) = read_runs(tmp_path).runs
    assert run.record.spec.protocol.train_shape().n_query == 5
    assert run.record.spec.protocol.train_shape().shots == 1
    found = training_curves(run)
    np.testing.assert_allclose(found["query_loss"].value, factor * np.array(falling()))


def test_accuracy_is_shown_in_percent(tmp_path: Path) -> None:
    write(tmp_path, make_spec("proto"), query_accuracy=np.linspace(0.2, 0.9, 60).tolist())
    drawing = curves.draw(read_runs(tmp_path))
    (axes,) = drawing.figure.axes
    assert axes.get_ylabel() == "accuracy in %"
    assert lines_of(drawing)[0].max() == pytest.approx(90)


# Runaway losses --------------------------------------------------------------------------------


def test_a_runaway_loss_is_cut_off_marked_and_told_of(tmp_path: Path) -> None:
    wild = falling()
    wild[30] = 1e17
    write(tmp_path, make_spec("maml", metric="mse", sources=("near",)), query_loss=wild)
    write(tmp_path, make_spec("mnas", metric="mse", sources=("near",)), query_loss=falling())
    drawing = curves.draw(read_runs(tmp_path))
    (axes,) = drawing.figure.axes
    assert axes.get_ylim()[1] < 10
    (mark,) = [line for line in axes.lines if line.get_marker() == "^"]
    assert np.asarray(mark.get_xdata()).tolist() == [310]
    (note,) = drawing.notes
    assert note.startswith("maml: 1 point is higher than the panel")
    assert "up to 1e+17" in note
    assert note in drawing.description
    assert "higher than shown" in [t.get_text() for t in drawing.figure.legends[0].get_texts()]
    for line in lines_of(drawing):
        assert np.nanmax(line) <= 8
    check_layout(drawing, Width.double)


def test_a_learner_that_stays_away_does_not_hide_the_others(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write(tmp_path, make_spec(name), query_loss=falling())
    write(tmp_path, make_spec("e"), query_loss=[9.0] + [1e6] * 59)
    drawing = curves.draw(read_runs(tmp_path))
    assert drawing.figure.axes[0].get_ylim()[1] < 12
    assert drawing.notes[0].startswith("e: 59 points are higher")


def test_without_a_runaway_nothing_is_cut(tmp_path: Path) -> None:
    write(tmp_path, make_spec("a"), query_loss=falling(), val_score=[5.0] * 60)
    drawing = curves.draw(read_runs(tmp_path))
    assert drawing.notes == ()
    assert max(np.nanmax(line) for line in lines_of(drawing)) == 8


def test_what_need_not_fall_is_never_cut(tmp_path: Path) -> None:
    rising = [0.001] * 50 + [0.9] * 10
    write(tmp_path, make_spec("a"), query_accuracy=rising, penalty=[1.0] * 59 + [1e6])
    assert curves.draw(read_runs(tmp_path)).notes == ()
    drawing = curves.draw(read_runs(tmp_path), metric="penalty")
    assert drawing.notes == ()
    assert lines_of(drawing)[0].max() == 1e6


# Choice and ticks ------------------------------------------------------------------------------


def test_another_metric_is_shown_alone_or_refused_with_what_there_is(tmp_path: Path) -> None:
    write(tmp_path, make_spec("a"), query_loss=falling(), penalty=falling())
    drawing = curves.draw(read_runs(tmp_path), metric="penalty")
    assert [axes.get_title() for axes in drawing.figure.axes] == ["meta-training: penalty"]
    with pytest.raises(UsageError, match=r"curve of 'nll'; there is penalty, query_loss\."):
        curves.draw(read_runs(tmp_path), metric="nll")


@pytest.mark.parametrize("width", list(Width))
def test_long_names_and_many_learners_fit(tmp_path: Path, width: Width) -> None:
    for i in range(11):
        name = f"a-learner-with-a-name-that-is-far-too-long-for-a-column-{i}" if i % 4 else f"l{i}"
        write(tmp_path, make_spec(name), query_loss=falling(), val_score=falling())
    check_layout(curves.draw(read_runs(tmp_path), width=width), width)


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (0.03, 40), (1e-9, 1e9), (7, 5e3)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(low: float, high: float) -> None:
    places = log_ticks(low, high, most=5)
    assert len(places) <= 5
    assert all(low <= place <= high for place in places)
    assert places == sorted(places)


# Values that are not known ---------------------------------------------------------------------


def write_adapted(out: Path, learner: str, *curve: float | None) -> Path:
    """A run of two sources whose episodes all have this curve over inner steps."""
    spec = make_spec(learner, metric="mse", sources=("near", "far"), episodes=3)
    folder = write_run(out, spec)
    path = folder / "episodes.jsonl"
    episodes = [json.loads(line) | {"curve": curve} for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in episodes))
    return folder


def test_a_curve_of_which_nothing_is_finite_is_told_of_and_hides_no_other(tmp_path: Path) -> None:
    write_adapted(tmp_path, "maml", 4.0, 2.0, 1.0)
    write_adapted(tmp_path, "reptile", None, None, None)
    write_adapted(tmp_path, "mnas", 4.0, None, 1.0)
    drawing = curves.draw(read_runs(tmp_path))
    panel = "in the panel 'meta-test: average over sources'."
    assert drawing.notes == (
        f"mnas: 1 point is not finite {panel}",
        f"reptile: 3 points are not finite {panel}",
    )
    assert not [line for line in drawing.figure.axes[0].lines if line.get_marker() == "^"]
    texts = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert texts == ["maml", "mnas", "reptile", "95 % interval over episodes"]


def test_a_seed_whose_curve_ends_early_shortens_no_other(tmp_path: Path) -> None:
    for seed, n in ((0, 60), (1, 20), (2, 0)):
        write(tmp_path, make_spec("maml", seed=seed), query_loss=falling()[:n])
    drawing = curves.draw(read_runs(tmp_path))
    assert drawing.notes == (
        "maml, meta-training: query loss: of the curves up to meta-step 600, that of seed 1 ends "
        "at 200, that of seed 2 is missing.",
    )
    (mean,) = [line for line in drawing.figure.axes[0].lines if line.get_linewidth() > 1]
    x, y = np.asarray(mean.get_xdata(), dtype=float), np.asarray(mean.get_ydata(), dtype=float)
    assert x[-1] == 600
    np.testing.assert_allclose(y[30:], curves.smooth(np.array(falling()))[30:])


def test_scores_of_meta_validation_are_shown_as_they_are(tmp_path: Path) -> None:
    scores = [0.1 * (i % 5) for i in range(20)]
    for seed in range(5):  # more than are drawn one by one
        write(tmp_path, make_spec("maml", seed=seed), val_score=scores)
    (shown,) = lines_of(curves.draw(read_runs(tmp_path)))
    np.testing.assert_allclose(shown, 100 * np.array(scores))
