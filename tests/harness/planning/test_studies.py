"""What a tuning tries: ranges, studies, and the values that samplers propose."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from metabench.errors import DataError, UsageError
from metabench.planning.grid import Grid, read_grid, read_plan, write_grid
from metabench.planning.ranges import Range, read_range
from metabench.planning.samplers import Sampler, Told
from metabench.planning.tuning import (
    Parameter,
    Planner,
    Study,
    TuningPlan,
    split_ranges,
    studies_of,
)
from metabench.plugin.catalog import Catalog

LR = "learner.inner_lr"
STEPS = "learner.inner_steps"
MAML = "learner[maml]"


def plan_of(**fields: Any) -> TuningPlan:
    usual = {"learners": ("maml",), "suites": ("toy-regression",), "budget": "smoke"}
    return TuningPlan.model_validate({**usual, **fields})


def studies(catalog: Catalog, plan: TuningPlan) -> list[Study]:
    return studies_of(plan, Planner(catalog, plan.suites_of(catalog), (), {}))


def sampler(catalog: Catalog, name: Any, seed: int = 0, **fields: Any) -> Sampler:
    (study,) = studies(catalog, plan_of(**fields))
    return Sampler(name, study, seed, smaller_is_better=True)


def test_a_logarithmic_range_has_equal_ratios() -> None:
    bounds = Range(1e-4, 1.0, log=True)
    values = [bounds.at(i / 4) for i in range(4)]
    assert values == [1e-4, 1e-3, 1e-2, 1e-1]
    assert bounds.at(math.nextafter(1, 0)) == 1.0


def test_each_whole_number_of_a_range_is_equally_likely() -> None:
    values = [Range(1, 4).at(i / 400) for i in range(400)]
    assert [values.count(value) for value in (1, 2, 3, 4)] == [100] * 4
    assert all(isinstance(value, int) for value in values)


@pytest.mark.parametrize("text", ["0.1", "a..b", "1..", "..2", "[1..2]", "1..2..3"])
def test_what_is_no_range_is_left_to_the_parameter(text: str) -> None:
    assert read_range(text, of=LR) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2..1", "is empty"),
        ("0..1:log", "no logarithm"),
        ("0.1..0.2:ln", "ends in an unknown :ln"),
        ("1..2:", "ends in an unknown :"),
    ],
)
def test_a_range_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_range(text, of=LR)


def test_a_range_beside_values_is_refused() -> None:
    with pytest.raises(UsageError, match="has a range and other values"):
        split_ranges([f"{LR}=0.1..0.2,0.5"])


def test_the_digest_leaves_out_the_number_of_trials_alone() -> None:
    plan = plan_of(ranges={LR: "0.001..0.1:log"}, trials=3)
    assert plan.digest == plan_of(ranges={LR: "0.001..0.1:log"}, trials=9).digest
    assert plan.digest != plan_of(ranges={LR: "0.001..0.1"}, trials=3).digest


def test_a_grid_that_was_not_tuned_keeps_its_digest() -> None:
    """As it was before plan files could say how values were chosen."""
    assert Grid(learners=("maml",), suites=("toy-regression",)).digest == "2f61470e3bf952e2"


def test_a_plan_file_of_a_tuning_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = plan_of(ranges={LR: "0.001..0.1:log"}, sweep={STEPS: [1, 5]}, sampler="random")
    write_grid(plan, tmp_path / "plan.yaml")
    assert read_plan(tmp_path / "plan.yaml", TuningPlan) == plan
    with pytest.raises(UsageError, match="unknown field 'ranges'"):
        read_grid(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "nothing to tune"),
        ({"sweep": {"protocol.shots": [1, 5]}}, "protocol.shots decides on which episodes"),
        ({"sweep": {"data.size": [1, 5]}}, "data.size decides on which episodes"),
        ({"sweep": {LR: [0.1, 0.2]}, "set": {LR: 0.1}}, "has one value and several"),
        ({"sweep": {LR: [0.1, 0.2]}, "ranges": {LR: "0.1..0.2"}}, "has values and a range"),
        ({"sweep": {LR: [0.1, -1]}}, "inner_lr=-1 is not valid"),
        ({"ranges": {LR: "0.1..1e9"}}, "inner_lr=1000000000.0 is not valid"),
        ({"ranges": {"learner[reptile].inner_lr": "0.1..0.2"}}, "no run of this command has"),
    ],
)
def test_what_cannot_be_tuned_is_said_in_a_sentence(
    catalog: Catalog, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        studies(catalog, plan_of(**fields))


def test_a_setting_without_meta_validation_is_refused(catalog: Catalog) -> None:
    asked = plan_of(
        suites=("omniglot",),
        data="synthetic",
        sweep={LR: [0.1, 0.2]},
        set={"data.split": "background-evaluation"},
    )
    with pytest.raises(DataError, match="omniglot has no classes in meta-val, and values are"):
        studies(catalog, asked)


def test_each_learner_and_setting_is_a_study_with_its_own_parameters(catalog: Catalog) -> None:
    plan = plan_of(
        learners=("maml", "reptile"),
        settings=("5-shot", "10-shot"),
        sweep={"learner[maml].inner_lr": [0.1, 0.2], STEPS: [1, 5]},
        set={"learner[reptile].inner_batch": 2},
    )
    found = {study.name: study for study in studies(catalog, plan)}
    assert sorted(found) == [
        "toy-regression@10-shot@maml",
        "toy-regression@10-shot@reptile",
        "toy-regression@5-shot@maml",
        "toy-regression@5-shot@reptile",
    ]
    maml, reptile = (found[f"toy-regression@5-shot@{name}"] for name in ("maml", "reptile"))
    assert [one.path for one in maml.parameters] == ["learner[maml].inner_lr", STEPS]
    assert [one.path for one in reptile.parameters] == [STEPS]
    assert "learner[reptile].inner_batch" not in maml.base.set


def test_a_grid_proposes_each_combination_once(catalog: Catalog) -> None:
    grid = sampler(catalog, "grid", sweep={LR: [0.1, 0.2]}, ranges={STEPS: "1..3"})
    found = grid.propose([], 100)
    assert [tuple(values.values()) for values in found] == [
        (lr, steps) for lr in (0.1, 0.2) for steps in (1, 2, 3)
    ]
    rest = grid.propose([Told(values, 1.0) for values in found[:4]], 100)
    assert rest == found[4:]


def test_a_grid_of_a_range_without_steps_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="A grid needs values"):
        sampler(catalog, "grid", ranges={LR: "0.1..0.2"}).check()


def test_random_draws_go_on_where_they_stopped(catalog: Catalog) -> None:
    draws = sampler(catalog, "random", ranges={LR: "1e-4..1e-1:log", STEPS: "1..5"})
    found = draws.propose([], 8)
    rest = draws.propose([Told(values, None) for values in found[:3]], 5)
    assert rest == found[3:]
    other = sampler(catalog, "random", 1, ranges={LR: "1e-4..1e-1:log", STEPS: "1..5"})
    assert other.propose([], 8) != found
    rates = [values[LR] for values in found]
    assert len(set(rates)) == 8
    assert min(rates) < 1e-3 < max(rates)


def test_random_draws_of_few_values_end_when_all_were_tried(catalog: Catalog) -> None:
    draws = sampler(catalog, "random", sweep={LR: [0.1, 0.2]}, ranges={STEPS: "1..2"})
    found = draws.propose([], 50)
    assert sorted(tuple(values.values()) for values in found) == [
        (0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)
    ]  # fmt: skip
    assert draws.propose([Told(values, 1.0) for values in found], 50) == []


def test_tpe_learns_from_the_trials_and_repeats_itself(catalog: Catalog) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    tpe = sampler(catalog, "tpe", ranges={LR: "1e-4..1.0:log"}, sweep={STEPS: [1, 2, 3]})

    def score(values: Any) -> float:
        return abs(math.log10(values[LR]) + 2) + abs(values[STEPS] - 2)

    told: list[Told] = []
    for _ in range(30):
        (values,) = tpe.propose(told, 1)
        assert (values,) == tuple(tpe.propose(told, 1))
        told.append(Told(values, None if len(told) == 3 else score(values)))
    assert len({tuple(one.values.values()) for one in told}) == 30
    early, late = told[:10], told[-10:]
    means = [sum(score(one.values) for one in part) / 10 for part in (late, early)]
    assert all(low < high for low, high in pairwise(means))


def test_a_value_of_one_learner_leaves_nothing_of_it_to_tune(catalog: Catalog) -> None:
    """Else its trials would be one run, and the choice among them would say a rate it has not."""
    plan = plan_of(
        learners=("maml", "anil"),
        set={"learner[maml].inner_lr": 0.5},
        sweep={LR: [0.1, 0.2], STEPS: [1, 2]},
    )
    maml, anil = studies(catalog, plan)
    assert [one.path for one in maml.parameters] == [STEPS]
    assert [one.path for one in anil.parameters] == [LR, STEPS]
    own = plan_of(learners=("maml", "anil"), sweep={LR: [0.1, 0.2], f"{MAML}.inner_lr": [3, 4]})
    maml, anil = studies(catalog, own)
    assert [one.path for one in maml.parameters] == [f"{MAML}.inner_lr"]
    assert [one.path for one in anil.parameters] == [LR]


@pytest.mark.parametrize(
    "fields",
    [
        {"set": {"space.hidden": 1}, "sweep": {"network.hidden": [2, 3]}},
        {"sweep": {"network.hidden": [2, 3], "space.hidden": [4, 5]}},
        {"ranges": {"network.hidden": "2..3"}, "set": {"space.hidden": 1}},
    ],
)
def test_one_parameter_under_two_names_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="hidden are one parameter"):
        plan_of(**fields).parameters()


def test_a_seed_that_stands_twice_in_a_plan_counts_once(catalog: Catalog) -> None:
    """A tuning would say that it rests on two runs."""
    (study,) = studies(catalog, plan_of(sweep={LR: [0.1, 0.2]}, seeds=[1, 0, 1]))
    assert study.base.seeds == (1, 0)


def test_a_long_range_of_whole_numbers_is_counted_and_not_written_out(catalog: Catalog) -> None:
    """As a tuple, these numbers would fill the memory of a machine."""
    long = Parameter("learner.n", Range(1, 10**15))
    assert long.listed is not None
    assert len(long.listed) == 10**15
    draws = sampler(catalog, "grid", ranges={"budget.meta_steps": "1..10000000"})
    with pytest.raises(UsageError, match="has 10,000,000 trials, more than 10,000"):
        draws.check()


def test_a_range_may_have_more_numbers_than_a_list_can(catalog: Catalog) -> None:
    fields: dict[str, Any] = {
        "learners": ("metanas",),
        "ranges": {"learner.prune_every": "1..100000000000000000000"},
    }
    many = sampler(catalog, "grid", **fields)
    assert many.study.size == 10**20
    with pytest.raises(UsageError, match="more than 10,000"):
        many.check()
    drawn = sampler(catalog, "random", **fields)
    drawn.check()
    (one,) = drawn.propose([], 1)
    assert 1 <= one["learner.prune_every"] <= 10**20


def test_two_suites_of_one_name_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    text = Path(str(catalog.suite("toy-regression"))).read_text()
    files = []
    for shots in (3, 4):
        file = tmp_path / f"{shots}.yaml"
        file.write_text(f"{text.replace('name: toy-regression', 'name: mine')}# {shots}\n")
        files.append(str(file))
    for grid in (Grid, TuningPlan):
        asked = grid(learners=("maml",), suites=(*files[:1], *files))
        with pytest.raises(UsageError, match=r"3\.yaml and .*4\.yaml are both suite mine\."):
            asked.suites_of(catalog)
        assert [*grid(learners=("maml",), suites=(files[0], files[0])).suites_of(catalog)]
