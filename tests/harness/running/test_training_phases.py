"""Phases of meta-training: who gets which batches, and what the record says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.harness.running.test_loops import CPU, Killed, kill_at, never, quiet
from torch import Tensor

from metabench.errors import DataError, PluginError, UsageError
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import Adapted, EpisodeShape, Labelled, TaskBatch
from metabench.plugin.contracts.learner import LearnerContext
from metabench.plugin.contracts.phase import Phase, first_steps
from metabench.plugin.specs import LearnerSpec
from metabench.results.configurations import configurations
from metabench.results.reading import read_runs
from metabench.running.loops import Control
from metabench.running.run import RunExecution
from metabench.values import Frozen

THREE = (
    Phase(name="classify", share=0.5, tasks=0, examples=8, selects=False),
    Phase(name="both", share=0.3, examples=5),
    Phase(name="adapt", share=0.2, tasks=1, shape=EpisodeShape(4, 2, 1)),
)


class NoParams(Frozen):
    """No parameters."""


class Recorder:
    """A learner that remembers its batches; its state is what they were."""

    seen: Tensor

    def __init__(self, context: LearnerContext) -> None:
        self.classes = context.train_classes
        self.outputs = context.shape.ways
        self.seen = torch.zeros(0, 7, dtype=torch.float64)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        labelled = tasks.labelled
        ids = torch.zeros(0) if labelled is None else labelled.y
        row = [
            {"classify": 0, "both": 1, "adapt": 2}[tasks.phase],
            len(tasks),
            tasks.support.x.shape[1],
            ids.numel(),
            float(ids.max()) if ids.numel() else -1,
            float(tasks.support.x.double().sum()),
            0 if labelled is None else float(labelled.x.double().sum()),
        ]
        self.seen = torch.cat([self.seen, torch.tensor([row], dtype=torch.float64)])
        return {"loss": 1.0}

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        return Adapted(predict=lambda x: torch.zeros(*x.shape[:2], self.outputs))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


def spec(phases: Sequence[Phase] = THREE, **changes: Any) -> LearnerSpec:
    own = LearnerSpec(
        name="recorder",
        version=1,
        summary="Remembers its batches.",
        params=NoParams,
        factory=Recorder,
        phases=lambda params, shape: phases,
        needs_space=False,
    )
    return replace(own, **changes)


def planned(
    catalog: Catalog, learner: LearnerSpec, suite: str = "omniglot", **changes: dict[str, object]
) -> tuple[PlannedRun, Catalog]:
    able = replace(catalog, learners={**catalog.learners, learner.name: learner})
    changes.setdefault("budget", {"meta_steps": 10, "meta_batch": 3})
    request = RunRequest(
        learners=(learner.name,), suite=suite, budget="smoke", data="synthetic", changes=changes
    )
    return plan(request, able)[0], able


def run(made: PlannedRun, catalog: Catalog, out: Path, emit: Any = quiet) -> RunExecution:
    control = Control(emit=emit, stopped=never, checkpoint_seconds=0.0)
    return RunExecution(made, catalog, out=out, device=CPU, control=control)


def seen(execution: RunExecution) -> Tensor:
    from metabench.running import checkpoint

    found: Tensor = checkpoint.load(execution.store.weights)["learner"]["seen"]
    return found


@pytest.mark.parametrize("meta_steps", [0, 1, 2, 10, 1001])
def test_phases_cover_all_meta_steps(meta_steps: int) -> None:
    starts = first_steps(THREE, meta_steps)
    assert (starts[0], starts[-1]) == (0, meta_steps)
    assert starts == sorted(starts)


def test_each_phase_gets_what_it_asks_for(catalog: Catalog, tmp_path: Path) -> None:
    made, able = planned(catalog, spec())
    whole = run(made, able, tmp_path)
    record = whole()
    rows = seen(whole)
    assert rows[:, 0].tolist() == [0] * 5 + [1] * 3 + [2] * 2
    assert rows[:, 1].tolist() == [0] * 5 + [3] * 3 + [1] * 2
    shape = made.spec.protocol.train_shape()
    assert rows[:, 2].tolist() == [0] * 5 + [shape.n_support] * 3 + [4 * 2] * 2
    assert rows[:, 3].tolist() == [8] * 5 + [5] * 3 + [0] * 2
    assert rows[:8, 4].max() > 5  # ids of all classes, not labels of a task
    assert len(rows[:8, 6].unique()) == 8  # no batch comes twice
    assert [str(phase) for phase in record.phases] == [
        "classify 5 x 8 labelled examples",
        "both 3 x 3 + 5 labelled examples",
        "adapt 2 x 1",
    ]
    (config,) = configurations(read_runs(tmp_path).runs)
    assert config.training_length == ", then ".join(map(str, record.phases))


@pytest.mark.parametrize("killed_at", [2, 5, 7, 9])
def test_a_run_resumes_in_each_phase(catalog: Catalog, tmp_path: Path, killed_at: int) -> None:
    made, able = planned(catalog, spec())
    whole = run(made, able, tmp_path / "whole")
    whole()
    with pytest.raises(Killed):
        run(made, able, tmp_path / "cut", emit=kill_at("meta-train", killed_at))()
    resumed = run(made, able, tmp_path / "cut")
    resumed()
    assert torch.equal(seen(whole), seen(resumed))


def test_a_phase_without_selection_is_not_validated(catalog: Catalog, tmp_path: Path) -> None:
    made, able = planned(
        catalog,
        spec(),
        protocol={"selection": "meta-val", "val_episodes": 4},
        budget={"meta_steps": 10, "meta_batch": 3, "val_every": 1},
    )
    execution = run(made, able, tmp_path)
    execution()
    lines = (execution.store.folder / "metrics.jsonl").read_text().splitlines()
    assert sum("val_score" in line for line in lines) == 5  # of steps 6 to 10


@pytest.mark.parametrize(
    ("phases", "reason"),
    [
        ((), "at least one"),
        ((Phase(name="a", share=0.5), Phase(name="a", share=0.5)), "names must differ"),
        ((Phase(name="a", share=0.5),), "add up to 1"),
        ((Phase(name="a", share=1.0, tasks=0),), "neither tasks nor examples"),
        ((Phase(name="a", share=1.0, examples=-1),), "fewer than 0"),
        ((Phase(name="A b/../c", share=1.0),), r"name .A b/\.\./c. is not allowed"),
        ((Phase(name="a", share=1.0, examples=2.5),), "not whole"),  # type: ignore[arg-type]
        ((Phase(name="a", share=1.0, examples=10**9),), "more than 100,000"),
        ((Phase(name="a", share=1.0, shape=EpisodeShape(0, 1, 1)),), "without classes"),
        ((Phase(name="a", share="1"),), "TypeError"),  # type: ignore[arg-type]
        (None, "cannot be used: TypeError"),
    ],
)
def test_phases_that_contradict_themselves_are_refused(
    catalog: Catalog, phases: Sequence[Phase], reason: str
) -> None:
    with pytest.raises(PluginError, match=reason):
        planned(catalog, spec(phases))


def test_a_phase_without_a_single_meta_step_is_refused(catalog: Catalog) -> None:
    short = (Phase(name="a", share=0.001, tasks=0, examples=4), Phase(name="b", share=0.999))
    with pytest.raises(UsageError, match=r"Phase a of learner recorder takes 0\.001 of 10"):
        planned(catalog, spec(short))


def test_the_classes_of_training_episodes_are_a_training_condition(
    catalog: Catalog, tmp_path: Path
) -> None:
    made, able = planned(catalog, spec())
    run(made, able, tmp_path)()
    (config,) = configurations(read_runs(tmp_path).runs)
    assert made.spec.protocol.ways != 4
    assert config.training_conditions["classes per training episode"] == "4"


def test_a_training_without_episodes_says_so(catalog: Catalog, tmp_path: Path) -> None:
    alone = (Phase(name="classify", share=1.0, tasks=0, examples=8),)
    made, able = planned(catalog, spec(alone))
    run(made, able, tmp_path)()
    (config,) = configurations(read_runs(tmp_path).runs)
    assert config.training_conditions["support + query examples per class"] == "none"


def test_labelled_examples_need_classes(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="labelled examples of classes, and suite toy-regression"):
        planned(catalog, spec(), suite="toy-regression")


def test_episodes_of_a_phase_must_fit_the_data(catalog: Catalog) -> None:
    large = (Phase(name="a", share=1.0, shape=EpisodeShape(5, 1, 1000)),)
    with pytest.raises(DataError, match="1,000 queries"):
        planned(catalog, spec(large))
