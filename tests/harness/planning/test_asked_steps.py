"""Inner steps at meta-test that are asked for in the protocol, of learners that take their own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.planning.compatibility import steps_at_test
from metabench.planning.evaluating import TrainedWeights, WeightsTest, plan_test
from metabench.planning.grid import grid_of
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import PlannedRun
from metabench.planning.tuning import Planner, TuningPlan, studies_of
from metabench.plugin.catalog import Catalog, load_catalog

OWN = {
    "reptile": {"test_steps"},
    "metanas": {"test_steps", "test_steps_arch"},
    "baseline++": {"test_steps"},
    "leo": {"latent_steps", "tuning_steps"},
}
WITHOUT = ("protonet", "nearest-centroid", "r2d2", "nil")
FOLLOWING = ("maml", "anil", "bmaml", "tnas")


def planned(catalog: Catalog, *learners: str, sets: tuple[str, ...] = ()) -> list[PlannedRun]:
    grid = grid_of(
        learners=learners, suites=("omniglot",), sets=sets, budget="smoke", data="synthetic"
    )
    return grid.plan(catalog)


def test_every_learner_takes_the_steps_or_says_why_not(catalog: Catalog) -> None:
    named = {*OWN, *WITHOUT, *FOLLOWING}
    for name in sorted(named):
        asked = ("protocol.steps_at_test=7",)
        if name in OWN:
            with pytest.raises(
                UsageError, match=re.escape(f"Learner {name} takes its own number")
            ) as caught:
                planned(catalog, name, sets=asked)
            found = re.findall(r"learner\[(.*?)\]\.(\w+)=N", caught.value.hint)
            assert {own for _, own in found} == OWN[name]
            assert {learner for learner, _ in found} == {name}
            continue
        (run,) = planned(catalog, name, sets=asked)
        notes = [note for note in run.notes if "steps_at_test" in note]
        assert len(notes) == (name in WITHOUT)
        assert steps_at_test(run.spec, catalog) == (0 if name in WITHOUT else 7)


def test_no_built_in_learner_with_steps_of_its_own_is_planned_without_a_word() -> None:
    catalog = load_catalog()
    with_own = [
        name
        for name, learner in catalog.learners.items()
        if learner.steps_at_test is not None and "classification" in learner.kinds
    ]
    assert {*OWN, *WITHOUT} <= {*with_own}
    for name in with_own:
        (usual,) = planned(catalog, name)
        if steps_at_test(usual.spec, catalog):
            with pytest.raises(UsageError, match="its own number of inner steps"):
                planned(catalog, name, sets=("protocol.steps_at_test=7",))
        else:
            (run,) = planned(catalog, name, sets=("protocol.steps_at_test=7",))
            assert any("takes no inner steps" in note for note in run.notes), name


def test_in_a_grid_the_own_number_is_said_beside_that_of_the_protocol(catalog: Catalog) -> None:
    asked = ("protocol.steps_at_test=7",)
    with pytest.raises(UsageError, match="Learner reptile takes its own number"):
        planned(catalog, "maml", "reptile", "protonet", sets=asked)
    usual = planned(catalog, "reptile")[0].spec
    own = ("learner[reptile].test_steps=9",)
    runs = planned(catalog, "maml", "reptile", "protonet", sets=(*asked, *own))
    assert [steps_at_test(run.spec, catalog) for run in runs] == [7, 9, 0]
    assert len({run.spec.protocol for run in runs}) == 1  # so that they are compared
    words = shlex.split(runs[1].command)
    again = tuple(words[i + 1] for i, word in enumerate(words) if word == "--set")
    assert planned(catalog, "reptile", sets=again)[0].spec.run_id == runs[1].spec.run_id
    # What a parameter is by default can be said too, and is then the same run.
    (said,) = planned(
        catalog, "reptile", sets=(f"learner.test_steps={usual.learner.params['test_steps']}",)
    )
    assert said.spec == usual


def test_a_curve_is_only_missed_where_there_are_no_steps(catalog: Catalog) -> None:
    for name in ("maml", "reptile", "protonet"):
        (run,) = planned(catalog, name, sets=("protocol.curve_steps=3",))
        assert any("curve_steps" in note for note in run.notes) == (name == "protonet")


def test_trained_weights_are_tested_with_the_steps_that_are_asked_for(catalog: Catalog) -> None:
    (run,) = planned(catalog, "reptile")
    weights = TrainedWeights(path=Path("weights"), spec=run.spec, digest="0")

    def tested(*sets: str) -> PlannedRun:
        changes: Any = parse_changes(sets)
        return plan_test(weights, WeightsTest(changes=changes), catalog)

    with pytest.raises(UsageError, match="Learner reptile takes its own number"):
        tested("protocol.steps_at_test=7")
    found = tested("protocol.steps_at_test=7", "learner.test_steps=9").spec
    assert steps_at_test(found, catalog) == 9


def test_a_tuned_number_is_said(catalog: Catalog) -> None:
    plan = TuningPlan(
        learners=("reptile",),
        suites=("toy-regression",),
        budget="smoke",
        set={"protocol.steps_at_test": 7},
        ranges={"learner.test_steps": "3..6"},
    )
    planner = Planner(catalog, plan.suites_of(catalog), (), {})
    (study,) = studies_of(plan, planner)
    (trial, *_) = planner.trial(study, 1, {"learner.test_steps": 4})
    assert steps_at_test(trial.spec, catalog) == 4
