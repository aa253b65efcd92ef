"""What trackers are told of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from result_factory import make_spec, write_run

from metabench.planning.runspec import Choice, SourceChoice
from metabench.plugin.contracts.tracker import CurvePoint
from metabench.results.reading import read_record
from metabench.results.run_facts import facts_of, parameters_of, scores_of
from metabench.results.tracker_notes import points_after
from metabench.results.training_curve import TrainingCurve


def test_parameters_have_the_names_of_set() -> None:
    source = SourceChoice(source="birds", name="cub", version=2, params={"size": 84})
    spec = make_spec(
        params={"inner_lr": 0.1, "clip": None, "rates": [1, 2], "file": {"a": {"b": True}}},
        space=Choice(name="conv4", version=3, params={"filters": 32}),
        precision="bf16",
    ).model_copy(update={"sources": (source,)})
    found = parameters_of(spec)
    assert found["learner"] == "maml"
    assert found["learner.inner_lr"] == 0.1
    assert found["learner.clip"] is None
    assert found["learner.rates"] == "[1, 2]"
    assert found["learner.file"] == "{a: {b: true}}"
    assert (found["network"], found["network.filters"]) == ("conv4", 32)
    assert (found["source.birds"], found["source.birds.size"]) == ("cub", 84)
    assert (found["protocol.shots"], found["budget.meta_steps"]) == (1, 10)
    assert (found["seed"], found["precision"], found["budget"]) == (0, "bf16", "lite")
    assert found["version.source.birds"] == 2
    assert "strategy" not in found


def test_facts_and_scores_come_from_the_folder(tmp_path: Path) -> None:
    spec = make_spec(episodes=2)
    folder = write_run(tmp_path, spec, [0.25, 0.75, 0.5, 0.5], stamps=("lite", "subset"))
    record = read_record(folder)
    facts = facts_of(record, folder)
    assert facts.label == "maml 5w1s seed 0"
    assert facts.stamps == ("lite", "subset")
    assert facts.made_with["command"] == "metabench run"
    found = {score.name: score for score in scores_of(record, folder)}
    assert {name: score.mean for name, score in found.items()} == {
        "meta-test/bird/accuracy": 0.375,
        "meta-test/texture/accuracy": 0.625,
        "meta-test/average/accuracy": 0.5,
    }
    half_width = 1.96 * 0.125 / 2**0.5
    assert found["meta-test/bird/accuracy"].half_width == pytest.approx(half_width)
    assert list(found["meta-test/bird/accuracy"].values) == [
        "meta-test/bird/accuracy",
        "meta-test/bird/accuracy_half_width",
    ]


def test_what_is_not_finite_and_a_single_episode_have_no_number(tmp_path: Path) -> None:
    folder = write_run(tmp_path, make_spec(episodes=1), [0.25, 0.75])
    path = folder / "episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [line | {"metrics": {"nll": nll}} for line, nll in zip(lines, (1.0, None), strict=True)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = {score.name: score for score in scores_of(read_record(folder), folder)}
    assert set(found) == {
        "meta-test/bird/accuracy",
        "meta-test/texture/accuracy",
        "meta-test/average/accuracy",
        "meta-test/bird/nll",
    }
    assert {score.half_width for score in found.values()} == {None}
    assert found["meta-test/bird/nll"].values == {"meta-test/bird/nll": 1.0}


def test_points_that_a_tracker_lacks() -> None:
    curve = TrainingCurve(3, {"loss": [(1, 3.0), (2, 2.0), (3, 1.0)], "val_score": [(2, 0.5)]})
    assert points_after(curve, {"meta-train/loss": 2}) == [
        CurvePoint(2, {"meta-val/val_score": 0.5}),
        CurvePoint(3, {"meta-train/loss": 1.0}),
    ]
    assert points_after(curve, {"meta-train/loss": 3, "meta-val/val_score": 2}) == []
