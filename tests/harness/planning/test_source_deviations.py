"""For which runs a deviation from a source holds."""

from typing import Any

import pytest

from metabench import SourceDeviation
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import RunRequest, plan, plan_all
from metabench.planning.runspec import RunSpec
from metabench.planning.source_deviations import holds, strange_conditions
from metabench.planning.suite import Suite, load_suite
from metabench.plugin.catalog import Catalog


def deviation(**changes: Any) -> SourceDeviation:
    values = {"source": "a", "here": "b", "why": "c", "where": "d"}
    return SourceDeviation.model_validate({**values, **changes})


def spec_of(catalog: Catalog, learner: str, *sets: str, **asked: Any) -> RunSpec:
    values = {"suite": "toy-regression", "changes": parse_changes(sets), **asked}
    return plan(RunRequest(learners=(learner,), **values), catalog)[0].spec


@pytest.mark.parametrize(
    ("when", "held"),
    [
        ({}, True),
        ({"learner.inner_lr": 0.001}, True),
        ({"learner.inner_lr": 0.002}, False),
        ({"learner.inner_lr": [0.002, 0.001]}, True),
        ({"learner.path_dropout": 0}, False),
        ({"network.norm": "none"}, True),
        ({"network.norm": "batch"}, False),
        ({"network": "toy-cell", "network.norm": "none"}, True),
        ({"network": "mlp", "network.norm": "none"}, False),
        ({"strategy": "darts"}, True),
        ({"strategy": ["gumbel", None]}, False),
        ({"data.family": "line"}, True),  # of one source
        ({"data.family": "cubic"}, False),
        ({"protocol.shots": 10, "protocol.ways": 1}, True),
        ({"protocol.shots": 10, "protocol.ways": 5}, False),
        ({"budget.meta_batch": 25}, True),
        ({"suite": "toy-regression", "setting": "10-shot", "task": "regression"}, True),
        ({"task": "classification"}, False),
        ({"budget": "paper"}, False),
        # What a record lacks is younger than it, and was not switched on.
        ({"learner.younger": 0}, True),
        ({"learner.younger": [20, None]}, True),
        ({"learner.younger": False}, True),
        ({"learner.younger": "mean"}, True),
        ({"learner.younger": 20}, False),
        ({"learner.younger": True}, False),
        ({"learner.younger": 0, "task": "classification"}, False),
    ],
)
def test_every_condition_must_hold(catalog: Catalog, when: dict[str, Any], held: bool) -> None:
    assert holds(deviation(when=when), spec_of(catalog, "mnas")) is held


def test_a_run_without_network_has_none_of_its_name(catalog: Catalog) -> None:
    spec = spec_of(catalog, "support-mean")
    assert holds(deviation(when={"network": "mlp"}), spec) is False
    assert holds(deviation(when={"strategy": [None]}), spec) is True


def test_learners_that_are_not_named_are_not_concerned(catalog: Catalog) -> None:
    spec = spec_of(catalog, "maml")
    assert holds(deviation(learners=["mnas", "maml"]), spec) is True
    assert holds(deviation(learners=["mnas"]), spec) is False


def test_a_condition_on_what_no_run_has_is_named() -> None:
    found = [
        deviation(when={"learner.inner_rl": 1, "network.norm": 1, "protocol.shots": 1}),
        deviation(when={"protocol.shotz": 1, "budget": "lite", "budget.steps": 1}),
    ]
    said = strange_conditions(found, {"learner": ["inner_lr"]})
    assert [sentence.split(".")[0] for sentence in said] == [
        "Unknown learner parameter 'inner_rl' of a deviation's `when`",
        "Unknown protocol parameter 'shotz' of a deviation's `when`",
        "Unknown budget parameter 'steps' of a deviation's `when`",
    ]
    assert "inner_lr" in said[0]


def suite(catalog: Catalog, name: str) -> Suite:
    return load_suite(catalog.suite(name))


@pytest.mark.parametrize("learner", ["mnas", "mnas-shared", "mnas-nm"])
def test_the_toy_cell_without_batch_norm_is_another_network(catalog: Catalog, learner: str) -> None:
    other = [one for one in suite(catalog, "toy-regression").deviations if not one.comparable]
    (cell,) = other
    assert holds(cell, spec_of(catalog, learner))
    assert not holds(cell, spec_of(catalog, learner, "network.norm=batch"))
    assert not holds(cell, spec_of(catalog, "maml"))


@pytest.mark.parametrize(
    ("learner", "said", "cleared"),
    [
        ("bmaml", "250 times less", "learner.inner_lr=0.05"),
        ("mtnet", "bounded by 10", "learner.inner_clip=null"),
        ("mumomaml", "U(-a, a)", "network.init=truncated"),
        ("mnas", "it is their mean", "learner.penalty_reduction=sum"),
        ("mnas", "without training anew", "learner.retrain_fraction=0.3"),
        ("mnas-nm", "together with the controller", "learner.tuned=controller"),
        ("maml", "is skipped", "learner.skip_above=null"),
        ("mnas", "best meta-validation score", "protocol.selection=last"),
        ("bmaml", "which are not learned", "learner.learn_precisions=true"),
        ("maml", "it is a variance", "data.x_variance=4"),
        ("maml", "drawn like the support points", "data.query_x=uniform"),
    ],
)
def test_a_deviation_ends_with_the_parameter_that_it_is_about(
    catalog: Catalog, learner: str, said: str, cleared: str
) -> None:
    known = (*catalog.learner(learner).deviations, *suite(catalog, "toy-regression").deviations)
    spec = spec_of(catalog, learner)
    (found,) = [one for one in known if said in str(one) and holds(one, spec)]
    assert not holds(found, spec_of(catalog, learner, cleared))


@pytest.mark.parametrize("learner", ["support-mean", "nearest-neighbor", "gaussian-process"])
def test_what_is_not_trained_deviates_in_its_data_alone(catalog: Catalog, learner: str) -> None:
    spec = spec_of(catalog, learner, budget="paper")
    held = [one for one in suite(catalog, "toy-regression").deviations if holds(one, spec)]
    assert held
    for one in held:
        assert any(name.startswith("data.") for name in one.when), one


def test_every_built_in_deviation_of_a_suite_concerns_some_run_of_it(catalog: Catalog) -> None:
    n, opened = 0, dict[str, Any]()
    for name in catalog.suites:
        found = suite(catalog, name)
        asked = {
            "suite": name,
            "budget": "paper",
            "data": "synthetic",
            "settings": (*found.settings,),
        }
        specs: dict[str, list[RunSpec]] = {}
        for one in found.deviations:
            learner = (*one.learners, *found.learners)[0]
            if learner not in specs:
                request = RunRequest(learners=(learner,), **asked)
                runs = plan_all([request], catalog, suites={name: found}, opened=opened)
                specs[learner] = [run.spec for run in runs]
            assert any(holds(one, spec) for spec in specs[learner]), one
            n += 1
    assert n > 10


def test_every_built_in_deviation_names_parameters_of_its_learners(catalog: Catalog) -> None:
    tables = {"network": catalog.search_spaces, "strategy": catalog.nas_strategies}
    for name, spec in catalog.learners.items():
        fields = spec.params_model(searched=True).model_fields
        for one in spec.deviations:
            of_parts = {
                kind: {
                    field
                    for part, found in table.items()
                    if part in one.when.get(kind, (part,))
                    for field in found.params_model().model_fields
                }
                for kind, table in tables.items()
            }
            assert strange_conditions([one], {"learner": fields, **of_parts}, tables) == [], name
