"""What a run tells while it is made."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import RunEvent
from metabench.results.reading import read_runs
from metabench.running.loops import Control, Interrupted
from metabench.running.run import RunExecution


@pytest.fixture
def made(catalog: Catalog) -> PlannedRun:
    """A run of 40 meta-steps, validated after 20 and 40, with an evaluation of its own."""
    changes = {
        "budget": {"meta_steps": 40, "meta_batch": 2, "val_every": 20},
        "protocol": {"episodes": 8, "selection": "meta-val", "val_episodes": 2},
        "space": {"width": 8, "hidden": 2},
    }
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", changes=changes
    )
    return plan(request, catalog)[0]


def events_of(
    made: PlannedRun, catalog: Catalog, out: Path, *, stop_after: int | None = None
) -> list[RunEvent]:
    seen: list[RunEvent] = []

    def stopped() -> bool:
        return stop_after is not None and any(event.done >= stop_after for event in seen)

    control = Control(emit=seen.append, stopped=stopped)
    cpu = torch.device("cpu")
    run = RunExecution(made, catalog, out=out, device=cpu, control=control)
    if stop_after is None:
        run()
    else:
        with pytest.raises(Interrupted):
            run()
    return seen


def phases(events: list[RunEvent]) -> list[tuple[str, int, int]]:
    return [(e.phase, e.done, e.total) for e in events if e.kind == "phase-started"]


def test_events_carry_the_parameters_and_the_scores(
    made: PlannedRun, catalog: Catalog, tmp_path: Path
) -> None:
    events = events_of(made, catalog, tmp_path)
    assert events[0].kind == "run-started"
    assert events[-1].kind == "run-done"
    assert phases(events) == [("meta-train", 0, 40), ("meta-test", 0, 32), ("extrapolation", 0, 32)]
    logged = [e for e in events if e.kind == "progress" and e.phase == "meta-train"]
    assert [e.done for e in logged] == list(range(1, 41))
    validated = [e for e in events if e.phase == "meta-val"]
    assert [(e.kind, e.done, list(e.values)) for e in validated] == [
        ("progress", 20, ["val_score"]),
        ("progress", 40, ["val_score"]),
    ]
    facts = events[0].run
    assert facts is not None
    assert facts == events[-1].run
    assert facts.folder == tmp_path / "toy-regression@10-shot" / "maml" / made.spec.run_id
    assert facts.parameters["network.width"] == 8
    assert facts.parameters["budget.meta_steps"] == 40
    assert facts.stamps == ("smoke", "custom")
    (run,) = read_runs(tmp_path).runs
    means = {
        source: run.episodes.score[run.episodes.source == source].mean()
        for source in ("sine", "line", "quadratic", "harmonics")
    }
    scores = {score.name: score for score in events[-1].scores}
    assert {name: scores[f"meta-test/{name}/mse"].mean for name in means} == means
    assert scores["meta-test/sine/mse"].n == 8
    assert scores["extrapolation/average/mse"].half_width is not None
    assert pickle.loads(pickle.dumps(events[-1])) == events[-1]


def test_a_run_that_goes_on_says_where(made: PlannedRun, catalog: Catalog, tmp_path: Path) -> None:
    first = events_of(made, catalog, tmp_path, stop_after=10)
    assert phases(first) == [("meta-train", 0, 40)]
    again = events_of(made, catalog, tmp_path)
    assert phases(again)[0] == ("meta-train", 10, 40)
    assert phases(events_of(made, catalog, tmp_path)) == []


def test_each_phase_of_a_learner_is_named(catalog: Catalog, tmp_path: Path) -> None:
    changes = {
        "budget": {"meta_steps": 8, "meta_batch": 2},
        "protocol": {"episodes": 2, "selection": "last"},
    }
    request = RunRequest(
        learners=("leo",), suite="omniglot", budget="smoke", changes=changes, data="synthetic"
    )
    (made,) = plan(request, catalog)
    started = [e for e in events_of(made, catalog, tmp_path) if e.kind == "phase-started"]
    named = [(e.phase, e.text) for e in started if e.phase == "meta-train"]
    assert named == [("meta-train", "pre-train"), ("meta-train", "meta-train")]
