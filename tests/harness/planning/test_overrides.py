"""What --set says, for all or for one, and what is said where it cannot be read."""

import shlex
from itertools import pairwise
from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.planning.overrides import Several, parse_changes, written
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("{cell: [[0, 2, skip], [1, 2, linear]}", "It opens 3 brackets and closes 2."),
        ("{cell: [[0, 2, skip]]", "It opens 1 brace and closes 0."),
        ("a: b: c", "Put the value in quotes if it contains brackets, braces, colons or commas."),
    ],
)
def test_a_value_that_is_not_yaml_gets_a_hint(value: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_changes([f"strategy.genotype={value}"])
    assert "has a value that is not valid YAML" in caught.value.message
    assert caught.value.hint == hint


def planned(catalog: Catalog, *sets: str, **changes: Any) -> list[PlannedRun]:
    values: dict[str, Any] = {"learners": ("maml", "reptile"), "suite": "toy-regression"}
    request = RunRequest(**{**values, **changes}, budget="smoke", changes=parse_changes(sets))
    return plan(request, catalog)


def test_a_scope_in_brackets_is_of_one_learner(catalog: Catalog) -> None:
    plain = planned(catalog)
    maml, reptile = planned(
        catalog,
        "learner[maml].order=first",
        "learner[maml].inner_lr=0.3",
        "learner.inner_lr=0.2",
        "budget[reptile].meta_steps=7",
    )
    assert maml.spec.learner.params == {
        **plain[0].spec.learner.params,
        "order": "first",
        "inner_lr": 0.3,
    }
    assert reptile.spec.learner.params == {**plain[1].spec.learner.params, "inner_lr": 0.2}
    assert maml.spec.training == plain[0].spec.training
    assert reptile.spec.training.meta_steps == 7
    assert maml.changes == {"learner": {"inner_lr": 0.3, "order": "first"}}
    assert reptile.changes == {"learner": {"inner_lr": 0.2}, "budget": {"meta_steps": 7}}
    assert (maml.stamps, reptile.stamps) == (("smoke",), ("smoke", "custom"))


def test_networks_and_strategies_of_one_name_are_set_alone(catalog: Catalog) -> None:
    maml, mnas = planned(
        catalog,
        "network[mlp].width=7",
        "space[toy-cell].width=5",
        "strategy[darts].init_std=0.5",
        learners=("maml", "mnas"),
    )
    assert maml.spec.space is not None
    assert maml.spec.space.params["width"] == 7
    assert mnas.spec.space is not None
    assert mnas.spec.space.params["width"] == 5
    assert mnas.spec.strategy is not None
    assert mnas.spec.strategy.params["init_std"] == 0.5
    assert mnas.changes == {"space": {"width": 5}, "strategy": {"init_std": 0.5}}


def test_the_command_of_each_run_repeats_what_applies_to_it(catalog: Catalog) -> None:
    sets = ("learner[maml].order=first", "network[mlp].width=7", "budget[reptile].meta_batch=3")
    for run in planned(catalog, *sets):
        words = shlex.split(run.command)
        again = [b for a, b in pairwise(words) if a == "--set"]
        assert "[" not in "".join(again)
        (same,) = planned(catalog, *again, learners=(run.spec.learner.name,))
        assert (same.spec.run_id, same.command) == (run.spec.run_id, run.command)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "learner[malm].order=first",
            "--set learner[malm]... names a learner that no run of this command has.",
            "Did you mean maml?",
        ),
        (
            "budget[mnas].meta_steps=3",
            "--set budget[mnas]... names a learner that no run of this command has.",
            "Known: maml, reptile.",
        ),
        (
            "space[conv4].filters=3",
            "--set network[conv4]... names a network that no run of this command has.",
            "Known: mlp.",
        ),
        (
            "strategy[darts].init_std=3",
            "--set strategy[darts]... names a strategy that no run of this command has.",
            "Known: none.",
        ),
        (
            "protocol[maml].queries=3",
            "--set 'protocol[maml].queries=3' is for one of several, but protocol is the same for "
            "all.",
            "Scopes that take a name in brackets: learner, network, strategy, budget.",
        ),
        (
            "learnr[maml].order=first",
            "Unknown scope of --set 'learnr'.",
            "Did you mean learner?",
        ),
        ("learner[maml.order=first", "is not of the form SCOPE.NAME=VALUE", "learner[maml]"),
        ("learner[].order=first", "is not of the form SCOPE.NAME=VALUE", "learner[maml]"),
        ("learner[maml].ordre=first", "Unknown learner parameter 'ordre' of maml.", "order"),
    ],
)
def test_a_wrong_scope_of_one_is_said(catalog: Catalog, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(catalog, text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_text_with_commas_is_written_as_one_value() -> None:
    assert parse_changes([f"data.path={written('a,b')}"]) == {"data": {"path": "a,b"}}
    assert parse_changes(["data.path=a,b"]) == {"data": {"path": Several(("a", "b"))}}
    assert parse_changes(["strategy.genotype={cell: [[0, 2, skip]]}"]) == {
        "strategy": {"genotype": {"cell": [[0, 2, "skip"]]}}
    }
