"""What a learner returns in a run is held to its contract, and refused in one sentence."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance_specs import learner_spec

from metabench.errors import PluginError, UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import Adapted, Labelled, TaskBatch
from metabench.running import returned
from metabench_plugins.learners.maml import Maml

X = torch.zeros(2, 3, 1)
TASKS = TaskBatch(Labelled(X, X), Labelled(X, X), ("s",) * 2, ("a", "b"))


@pytest.mark.parametrize(
    ("logged", "said"),
    [
        (None, "meta_step returned a NoneType; it must be a mapping of numbers by name"),
        ({}, "meta_step returned []; 'loss' must be among them"),
        ({"loss": "low"}, "meta_step, as 'loss', returned a str; it must be a number"),
        ({"loss": torch.zeros(2)}, "meta_step, as 'loss', returned a Tensor; it must be a number"),
    ],
)
def test_what_is_no_scalar_is_refused(logged: Any, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        returned.scalars(logged, learner="mine")
    assert caught.value.message == f"Learner mine breaks its contract: {said}."


@pytest.mark.parametrize(
    ("adapted", "said"),
    [
        (lambda x: x, "adapt returned a function; it must be a metabench.Adapted."),
        (Adapted(torch.relu, n_params=[7]), "n_params has 1 rows for 2 tasks."),
        (
            Adapted(torch.relu, genotypes=7),  # type: ignore[arg-type]
            "adapt, as genotypes, returned a int; it must be a sequence with a row per task.",
        ),
        (
            Adapted(torch.relu, curve=[torch.relu] * 3),
            "its curve has 3 predictors; after 0 to 1 inner steps there are 2.",
        ),
    ],
)
def test_what_is_no_adaptation_is_refused(adapted: Any, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        returned.adaptation(adapted, TASKS, curve_steps=1, learner="mine")
    assert caught.value.message == f"Learner mine breaks its contract: {said}"


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (lambda x: x.tolist(), "its predictor returned a list; it must be a tensor"),
        # A mean over its elements would broadcast it, and give a score.
        (lambda x: x[:, :1], r"torch.float32 of shape \(2, 1, 1\); it must predict floating"),
        (lambda x: x.long(), r"it predicts torch.int64 of shape \(2, 3, 1\)"),
    ],
)
def test_what_is_no_prediction_is_refused(predict: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        returned.outputs(predict, TASKS, n_outputs=1, learner="mine")


class Narrow(Maml):
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        inner = super().adapt(support, rng=rng).predict
        return Adapted(predict=lambda x: inner(x)[:, :1])


class Choosy(Maml):
    def __init__(self, context: Any) -> None:
        raise UsageError("It takes two inputs.", hint="Choose another suite.")


class Broken(Maml):
    def __init__(self, context: Any) -> None:
        raise KeyError("n")


def _with(catalog: Catalog, factory: Any) -> Catalog:
    return dataclasses.replace(
        catalog, learners={"mine": learner_spec(factory, name="mine", test_only=())}
    )


REQUEST = RunRequest(
    learners=("mine",),
    suite="toy-regression",
    budget="smoke",
    limit=2,
    changes={"budget": {"meta_steps": 1, "meta_batch": 1}},
)


def test_a_prediction_that_a_metric_would_take_ends_a_run(catalog: Catalog, tmp_path: Path) -> None:
    from metabench.running.executors import Job, run_job

    (planned,) = plan(REQUEST, _with(catalog, Narrow))
    outcome = run_job(
        Job(planned, tmp_path, "cpu", 1),
        _with(catalog, Narrow),
        emit=lambda event: None,
        stopped=lambda: False,
    )
    assert outcome.status == "failed"
    assert outcome.text.startswith("Learner mine breaks its contract: it predicts torch.float32")


def test_a_learner_refuses_a_run_when_it_is_planned(catalog: Catalog) -> None:
    with pytest.raises(UsageError) as caught:
        plan(REQUEST, _with(catalog, Choosy))
    assert caught.value.in_full == "It takes two inputs. Choose another suite."


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (Broken, r"Learner mine.* cannot be built: KeyError: 'n' \(test_returned.py, line \d+\)."),
        (lambda context: None, r"it is a NoneType, which has no method meta_step, adapt, "),
    ],
)
def test_a_learner_that_cannot_be_built_is_told_when_planned(
    catalog: Catalog, factory: Any, said: str
) -> None:
    with pytest.raises(PluginError, match=said):
        plan(REQUEST, _with(catalog, factory))
