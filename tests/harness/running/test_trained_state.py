"""Training apart from the test: what is kept of it, and runs that are trained and not tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_loops import Killed, kill_at, planned, run

from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.learner import TrainingOnly
from metabench.plugin.specs import RunEvent
from metabench.results.overview import OverviewReader
from metabench.results.reading import read_runs
from metabench.results.training_curve import read_training_curve
from metabench.running import checkpoint
from metabench.running.checkpoint import without_training


def test_what_only_training_needs_is_dropped_at_any_depth() -> None:
    state = {
        "weights": {"a": 1},
        "adam": TrainingOnly(m=2),
        "networks": [["x", {"sgd": TrainingOnly()}]],
    }
    assert without_training(state) == {"weights": {"a": 1}, "networks": [["x", {}]]}


@pytest.mark.parametrize("selection", ["last", "meta-val"])
def test_a_finished_run_keeps_the_tested_weights_alone(
    catalog: Catalog, tmp_path: Path, selection: str
) -> None:
    made = planned(catalog, protocol={"episodes": 4, "val_episodes": 3, "selection": selection})
    events: list[int] = []
    cut = run(made, catalog, tmp_path, emit=kill_at("meta-train", 30))
    with pytest.raises(Killed):
        cut()
    unfinished = checkpoint.load(cut.store.checkpoint)
    assert unfinished["learner"].keys() == {"weights", "adam", "guard"}
    whole = run(made, catalog, tmp_path, emit=lambda event: events.append(event.done))
    record = whole()
    files = [path.name for path in whole.store.weights.parent.iterdir()]
    assert files == ["weights.safetensors"]
    kept = checkpoint.load(whole.store.weights)
    assert kept["learner"].keys() == {"weights"}
    assert kept["step"] == record.selected_step
    assert kept["score"] == record.val_score
    assert (record.val_score is None) == (selection == "last")


def test_a_run_can_be_trained_first_and_tested_later(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog, protocol={"episodes": 8, "val_episodes": 3, "selection": "meta-val"})
    whole = run(made, catalog, tmp_path / "whole")
    whole()
    first = run(replace(made, trial=True), catalog, tmp_path / "two")
    trained = first()
    assert trained.status == "trained"
    assert not first.store.episodes_of().exists()
    scores = [score for _, score in read_training_curve(first.store.folder / "metrics.jsonl").score]
    assert trained.val_score == pytest.approx(min(scores), rel=1e-5)
    (problem,) = read_runs(tmp_path / "two").problems
    assert problem.endswith("the run is trained but not tested, so it is not counted.")
    (state,) = OverviewReader(tmp_path / "two")().runs
    assert (state.state, state.steps, state.phase) == ("trained", 40, "meta-test")

    events: list[RunEvent] = []
    second = run(made, catalog, tmp_path / "two", emit=events.append)
    assert second().status == "done"
    assert all(event.phase != "meta-train" for event in events)
    for name in ("episodes.jsonl", "metrics.jsonl", "checkpoints/weights.safetensors"):
        assert (second.store.folder / name).read_bytes() == (whole.store.folder / name).read_bytes()
    again = run(replace(made, trial=True), catalog, tmp_path / "two")()
    assert again.status == "done"


def test_a_run_without_training_has_no_weights(catalog: Catalog, tmp_path: Path) -> None:
    made = planned(catalog, budget={"meta_steps": 0, "meta_batch": 1})
    whole = run(made, catalog, tmp_path)
    assert whole().status == "done"
    assert not whole.store.weights.exists()
