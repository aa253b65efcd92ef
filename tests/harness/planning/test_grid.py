"""Grids of runs, from commands and plan files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.planning.grid import Grid, by_learner, grid_of, read_grid, write_grid
from metabench.planning.plan import PlannedRun
from metabench.plugin.catalog import Catalog


def planned(catalog: Catalog, **fields: Any) -> list[PlannedRun]:
    values = {"learners": ("maml",), "suites": ("toy-regression",), "budget": "smoke"}
    return grid_of(**{**values, **fields}).plan(catalog)


def names(runs: list[PlannedRun]) -> list[tuple[str, str, str]]:
    return [(run.spec.suite, run.spec.learner.name, run.spec.setting) for run in runs]


def test_a_grid_has_each_suite_learner_setting_and_seed(catalog: Catalog) -> None:
    runs = planned(
        catalog,
        learners=("maml", "reptile"),
        suites=("toy-regression", "omniglot"),
        seeds=(0, 1),
        data="synthetic",
    )
    assert names(runs)[::2] == [
        ("toy-regression", "maml", "10-shot"),
        ("toy-regression", "reptile", "10-shot"),
        ("omniglot", "maml", "5w1s"),
        ("omniglot", "reptile", "5w1s"),
    ]
    assert [run.spec.seed for run in runs] == [0, 1] * 4
    assert runs[0].label == "maml 10-shot toy-regression seed 0"


def test_each_suite_runs_the_settings_that_it_has(catalog: Catalog) -> None:
    runs = planned(
        catalog,
        suites=("toy-regression", "omniglot"),
        settings=("5-shot", "10-shot", "20w1s"),
        data="synthetic",
    )
    assert names(runs) == [
        ("toy-regression", "maml", "5-shot"),
        ("toy-regression", "maml", "10-shot"),
        ("omniglot", "maml", "20w1s"),
    ]


def test_a_suite_without_any_of_the_settings_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="toy-regression has none of the settings 20w1s") as caught:
        planned(catalog, suites=("toy-regression", "omniglot"), settings=("20w1s",))
    assert "10-shot" in caught.value.hint
    with pytest.raises(UsageError, match="'20w2s'"):
        planned(catalog, suites=("omniglot",), settings=("20w2s",))


def test_a_learner_brings_its_network_and_strategy(catalog: Catalog) -> None:
    (run,) = planned(catalog, learners=("metanas",))  # the suite names none for it
    assert run.spec.space is not None
    assert run.spec.strategy is not None
    assert (run.spec.space.name, run.spec.strategy.name) == ("toy-cell", "soft-pruning")
    (fixed,) = planned(catalog)
    assert fixed.spec.space is not None
    assert fixed.spec.space.name == "mlp"


def test_what_a_suite_names_wins_over_what_a_learner_brings(
    catalog: Catalog, tmp_path: Path
) -> None:
    file = tmp_path / "lines.yaml"
    file.write_text(
        "{name: lines, version: 1, task: regression, metric: mse, space: mlp, "
        "sources: [{name: line, dataset: toy-regression, params: {family: line}}], "
        "backends: {mnas: {space: toy-cell, strategy: gumbel}}, settings: {10-shot: {}}, "
        "protocol: {ways: 1, shots: 10, queries: 10}, "
        "budgets: {smoke: {meta_steps: 2, meta_batch: 2}}}"
    )
    runs = planned(catalog, learners=("mnas", "tnas"), suites=(str(file),))
    assert [run.spec.strategy and run.spec.strategy.name for run in runs] == ["gumbel", "darts"]


def test_a_network_for_one_learner(catalog: Catalog) -> None:
    runs = planned(
        catalog, learners=("maml", "mnas", "reptile"), network=("mlp", "mnas=toy-cell:gumbel")
    )
    found = [(run.spec.space and run.spec.space.name, run.spec.strategy) for run in runs]
    assert found[0] == ("mlp", None) == found[2]
    assert found[1][0] == "toy-cell"
    assert runs[1].spec.strategy is not None
    assert runs[1].spec.strategy.name == "gumbel"
    assert "--network toy-cell:gumbel" in runs[1].command


def test_a_command_of_one_run_makes_the_same_run(catalog: Catalog) -> None:
    for run in planned(
        catalog,
        learners=("maml", "mnas"),
        network=("mnas=toy-cell",),
        strategy=("mnas=gumbel",),
        sets=("learner[maml].inner_lr=0.1,0.2",),
    ):
        words = run.command.split()
        value = {words[i]: words[i + 1] for i in range(2, len(words), 2)}
        (again,) = planned(
            catalog,
            learners=(value["--learner"],),
            network=tuple(filter(None, [value.get("--network")])),
            strategy=tuple(filter(None, [value.get("--strategy")])),
            sets=tuple(filter(None, [value.get("--set")])),
        )
        assert again.spec.run_id == run.spec.run_id


def test_a_sweep_makes_runs_of_each_combination(catalog: Catalog) -> None:
    sets = ("learner[maml].inner_lr=0.1,0.2", "budget.meta_batch=2,3", "learner.outer_lr=0.01")
    runs = planned(catalog, learners=("maml", "reptile"), sets=sets[:2])
    found = [
        (r.spec.learner.name, r.spec.learner.params["inner_lr"], r.spec.training.meta_batch)
        for r in runs
    ]
    rate = found[-1][1]
    assert found == [
        ("maml", 0.1, 2),
        ("maml", 0.1, 3),
        ("maml", 0.2, 2),
        ("maml", 0.2, 3),
        ("reptile", rate, 2),  # once, although two values of maml are swept
        ("reptile", rate, 3),
    ]
    assert runs[1].label == "maml 10-shot inner_lr=0.1 meta_batch=3 seed 0"
    assert runs[4].label == "reptile 10-shot meta_batch=2 seed 0"
    assert len({run.spec.run_id for run in runs}) == len(runs)


def test_a_value_that_a_learners_own_hides_is_not_in_the_name_of_its_run(catalog: Catalog) -> None:
    sets = ("learner.inner_lr=0.1,0.2", "learner[maml].inner_lr=0.5")
    runs = planned(catalog, learners=("maml", "reptile"), sets=sets)
    found = {run.label: run.spec.learner.params["inner_lr"] for run in runs}
    assert found == {
        "maml 10-shot seed 0": 0.5,
        "reptile 10-shot inner_lr=0.1 seed 0": 0.1,
        "reptile 10-shot inner_lr=0.2 seed 0": 0.2,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sets": ("learner.inner_lr=0.1,0.1",)}, "names the value 0.1 twice"),
        ({"network": ("mlp", "conv4")}, "--network takes one name, but gets 'conv4' as well"),
        ({"network": ("reptle=mlp",)}, "A network is given for reptle, which is no learner"),
        ({"network": ("mlp:",), "learners": ("malm",)}, "learner 'malm'"),
        ({"network": ("toy-cell:darts",), "strategy": ("gumbel",)}, "name two strategies"),
        ({"network": ("mlp:darts",)}, "Network mlp is fixed, so --strategy"),
        (
            {"sets": tuple(f"learner.p{i}={','.join(map(str, range(50)))}" for i in range(4))},
            "runs",
        ),
    ],
)
def test_grids_that_cannot_be_read(catalog: Catalog, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned(catalog, **fields)


def test_all_that_does_not_fit_is_named_at_once(catalog: Catalog) -> None:
    with pytest.raises(UsageError) as caught:
        planned(catalog, learners=("maml", "protonet", "mnas"), network=("mnas=mlp",))
    assert caught.value.message.startswith("2 things do not fit, so nothing was run:")
    assert "Learner protonet is for classification" in caught.value.message
    assert "Learner mnas searches, but network mlp is fixed" in caught.value.message


def test_a_plan_file_says_what_the_command_says(catalog: Catalog, tmp_path: Path) -> None:
    grid = grid_of(
        learners=("maml", "mnas"),
        suites=("toy-regression",),
        budget="smoke",
        network=("mnas=toy-cell:gumbel",),
        seeds=(0, 1),
        sets=("learner[maml].inner_lr=0.1,0.2", "data.x_variance=2"),
    )
    file = tmp_path / "plan.yaml"
    write_grid(grid, file)
    again = read_grid(file)
    assert (again, again.digest) == (grid, grid.digest)
    own, read = grid.plan(catalog), again.plan(catalog, of_file=True)
    assert [run.spec.run_id for run in read] == [run.spec.run_id for run in own]
    assert {run.plan for run in read} == {grid.digest}
    assert {run.plan for run in own} == {""}
    write_grid(grid, file)  # the same plan once more
    with pytest.raises(UsageError, match="exists and is another plan"):
        write_grid(grid.model_copy(update={"seeds": (3,)}), file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learners: [maml]", "suites is required"),
        ("learners: [maml]\nsuites: [toy-regression]\nseed: 1", "unknown field 'seed'"),
        ("learners: [maml]\nsuites: [toy-regression]\nseeds: 1.5", "seeds are whole numbers"),
        ("learners: [maml]\nsuites: [toy-regression]\nseeds: [-1]", "seeds go from 0"),
        ("learners: [maml]\nsuites: [toy-regression]\nsweep: {learner.a: [1]}", "is no sweep"),
        (
            "learners: [maml]\nsuites: [toy-regression]\nset: {learner.a: 1}\n"
            "sweep: {learner.a: [1, 2]}",
            "learner.a stands in set and in sweep",
        ),
        (
            "learners: [maml]\nsuites: [toy-regression]\nset: {network.hidden: 1, space.hidden: 2}",
            "network.hidden and space.hidden are one parameter",
        ),
        (
            "learners: [maml]\nsuites: [toy-regression]\nset: {network.hidden: 1}\n"
            "sweep: {space.hidden: [1, 2]}",
            "network.hidden and space.hidden are one parameter",
        ),
        ("- maml", "does not describe a plan"),
        ("learners: 3\nsuites: [toy-regression]", "learners=3 is not valid: .* a list"),
    ],
)
def test_plan_files_that_cannot_be_read(
    catalog: Catalog, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_grid(file).plan(catalog)


def test_seeds_of_a_plan_file_may_be_text() -> None:
    fields = {"learners": ["maml"], "suites": ["toy-regression"], "seeds": "0..2,5"}
    assert Grid.model_validate(fields).seeds == (0, 1, 2, 5)


def test_one_name_of_a_plan_file_needs_no_list(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    one = "learners: maml\nsuites: toy-regression\nsettings: 10-shot\nmetrics: nll\n"
    file.write_text(one)
    grid = read_grid(file)
    assert (grid.learners, grid.suites) == (("maml",), ("toy-regression",))
    assert (grid.settings, grid.metrics) == (("10-shot",), ("nll",))
    listed = Grid(
        learners=("maml",), suites=("toy-regression",), settings=("10-shot",), metrics=("nll",)
    )
    assert grid.digest == listed.digest


def test_by_learner_refuses_empty_names() -> None:
    with pytest.raises(UsageError, match="names nothing"):
        by_learner(["maml="], option="--network")


def test_a_folder_of_plan_files_names_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_grid(tmp_path)
    assert caught.value.hint == "Name a plan file."
    write_grid(grid_of(learners=("maml",), suites=("toy-regression",)), tmp_path / "a.yaml")
    with pytest.raises(UsageError, match="is a folder, not a plan file") as caught:
        read_grid(tmp_path)
    assert caught.value.hint == f"Name a plan file. YAML files in it: {tmp_path / 'a.yaml'}."
