"""Which runs have one training."""

from __future__ import annotations

import dataclasses

import pytest

from metabench.planning.plan import RunRequest, plan
from metabench.planning.runspec import RunSpec
from metabench.planning.training_identity import training_id
from metabench.plugin.catalog import Catalog


def spec(catalog: Catalog, learner: str = "maml", **changes: object) -> RunSpec:
    request = RunRequest(
        learners=(learner,), suite="toy-regression", budget="smoke", settings=("10-shot",),
        changes={"protocol": {"selection": "last", "train_shots": 10}},
    )  # fmt: skip
    scopes: dict[str, dict[str, object]] = {"protocol": {**request.changes["protocol"]}}
    for name, value in changes.items():
        scope, _, own = name.partition("__")
        if own:
            scopes.setdefault(scope, {})[own] = value
    fields = {name: value for name, value in changes.items() if "__" not in name}
    return plan(dataclasses.replace(request, changes=scopes, **fields), catalog)[0].spec


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": 3},
        {"settings": ("5-shot",)},
        {"protocol__steps_at_test": 2},
        {"protocol__curve_steps": 3},
        {"protocol__normalization": "inductive"},
        {"protocol__episode_seed": 7},
        {"protocol__shots": 4},
        {"learner": "reptile", "learner__test_steps": 3},
    ],
    ids=str,
)
def test_what_concerns_the_test_alone_is_no_part_of_it(
    catalog: Catalog, changes: dict[str, object]
) -> None:
    name = changes.get("learner", "maml")
    others = {key: value for key, value in changes.items() if key != "learner"}
    usual, other = spec(catalog, str(name)), spec(catalog, str(name), **others)
    assert usual.run_id != other.run_id
    assert training_id(usual, catalog) == training_id(other, catalog)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": (1,)},
        {"learner__inner_lr": 0.02},
        {"space__width": 8},
        {"budget__meta_steps": 3},
        {"protocol__train_shots": 5},
        {"protocol__selection": "meta-val"},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_what_decides_the_weights_is_part_of_it(
    catalog: Catalog, changes: dict[str, object]
) -> None:
    assert training_id(spec(catalog), catalog) != training_id(spec(catalog, **changes), catalog)


def test_shots_of_training_that_follow_those_of_the_test_are_part_of_it(catalog: Catalog) -> None:
    five, ten = (
        spec(catalog, protocol__train_shots=None, protocol__shots=shots) for shots in (5, 10)
    )
    assert training_id(five, catalog) != training_id(ten, catalog)
    assert training_id(ten, catalog) == training_id(spec(catalog), catalog)


def test_where_validation_selects_it_tests(catalog: Catalog) -> None:
    """Then only the number of meta-test episodes is free."""
    chosen = {"protocol__selection": "meta-val"}
    usual = training_id(spec(catalog, **chosen), catalog)
    assert training_id(spec(catalog, **chosen, limit=3), catalog) == usual
    for name, value in (("steps_at_test", 2), ("val_episodes", 3), ("episode_seed", 7)):
        other = spec(catalog, **chosen, **{f"protocol__{name}": value})
        assert training_id(other, catalog) != usual, name


def test_of_a_learner_that_declares_nothing_only_the_episodes_are_free(catalog: Catalog) -> None:
    silent = dataclasses.replace(catalog.learner("maml"), test_only=())
    able = dataclasses.replace(catalog, learners={**catalog.learners, "maml": silent})
    usual = training_id(spec(able), able)
    assert training_id(spec(able, limit=3), able) == usual
    assert training_id(spec(able, protocol__steps_at_test=2), able) != usual
