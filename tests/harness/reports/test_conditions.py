"""What rows trained under: equal conditions are said once, differing ones per learner."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from result_factory import make_spec, write_run

from metabench.planning.runspec import Choice
from metabench.plugin.contracts.conditions import TrainingConditions
from metabench.render import Format, render
from metabench.reports.build import build_report
from metabench.reports.tables import Report, Table
from metabench.results.configurations import configurations
from metabench.results.reading import read_runs

ADAM = TrainingConditions(inner_optimizer="SGD", outer_optimizer="Adam", regularization="none")
MEAN = TrainingConditions(inner_optimizer="SGD", outer_optimizer="mean of the tasks' weights")


@pytest.fixture
def report(tmp_path: Path) -> Report:
    for seed, skipped in enumerate((2, 5)):
        write_run(
            tmp_path,
            make_spec("maml", seed=seed),
            conditions=ADAM,
            train_shots=1,
            train_queries=15,
            skipped_steps=skipped,
        )
    write_run(tmp_path, make_spec("reptile"), conditions=MEAN, train_shots=1, train_queries=15)
    return build_report(read_runs(tmp_path))


def caption(report: Report) -> str:
    (table,) = report.tables
    assert isinstance(table, Table)
    return table.caption


def test_equal_conditions_are_said_once(report: Report) -> None:
    said = (
        "Training conditions of all trained rows: inner optimizer: SGD; support + query examples "
        "per class: 1 + 15."
    )
    assert said in caption(report)


def test_a_regression_has_points_and_no_classes(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec(metric="mse"), train_shots=10, train_queries=10)
    (config,) = configurations(read_runs(tmp_path).runs)
    assert config.training_conditions == {"support + query points": "10 + 10"}


def test_differing_conditions_are_said_per_learner(report: Report) -> None:
    said = (
        "Training conditions that differ: outer optimizer (maml Adam, reptile mean of the tasks' "
        "weights); regularization (maml none, reptile not stated)."
    )
    assert said in caption(report)


def test_a_trained_row_without_recorded_conditions_is_not_said_to_have_the_others(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, make_spec("maml"), conditions=ADAM)
    write_run(tmp_path, make_spec("reptile"))
    said = caption(build_report(read_runs(tmp_path)))
    assert "Training conditions of maml: inner optimizer: SGD" in said
    assert "Training conditions not recorded: reptile." in said


def test_skipped_meta_steps_are_counted_over_seeds(report: Report) -> None:
    assert "Meta-steps skipped because of a runaway gradient: maml 7 of 20." in caption(report)


@pytest.mark.parametrize(
    ("skipped", "warned"),
    [({"maml": 5}, False), ({"maml": 5, "reptile": 5}, False), ({"maml": 5, "reptile": 2}, True)],
)
def test_a_warning_of_skipped_meta_steps_is_about_rows_that_differ(
    tmp_path: Path, skipped: dict[str, int], warned: bool
) -> None:
    for learner, n in skipped.items():
        write_run(tmp_path, make_spec(learner), conditions=ADAM, skipped_steps=n)
    (table,) = build_report(read_runs(tmp_path)).tables
    assert "maml 5 of 10" in table.caption
    assert ("rows differ in skipped meta-steps" in table.warnings) == warned


def test_rows_of_one_learner_are_told_apart_where_they_differ(tmp_path: Path) -> None:
    for rate, skipped in ((0.1, 2), (0.2, 5)):
        spec = make_spec("maml", params={"inner_lr": rate})
        write_run(tmp_path, spec, conditions=ADAM, skipped_steps=skipped)
    write_run(tmp_path, make_spec("reptile"), conditions=MEAN, skipped_steps=0)
    said = caption(build_report(read_runs(tmp_path)))
    assert (
        "Meta-steps skipped because of a runaway gradient: maml (inner_lr=0.1) 2 of 10, "
        "maml (inner_lr=0.2) 5 of 10."
    ) in said
    assert "outer optimizer (maml Adam, reptile mean of the tasks' weights)" in said


def test_rows_of_one_learner_on_several_networks_are_told_apart_by_these(tmp_path: Path) -> None:
    for network, weights in (("mlp", 100), ("mlp(norm=batch)", 300)):
        space = Choice(name="mlp", version=1, params={"norm": network})
        spec = make_spec("maml", space=space)
        write_run(tmp_path, spec, backend=network, n_params=weights)
    write_run(tmp_path, make_spec("reptile"), backend="mlp", n_params=100)
    assert (
        "The numbers of weights differ by up to 3.0 times: maml on mlp 100, "
        "maml on mlp(norm=batch) 300, reptile 100."
    ) in caption(build_report(read_runs(tmp_path)))


def test_a_table_without_skipped_steps_says_nothing_of_them(tmp_path: Path) -> None:
    write_run(tmp_path, make_spec("maml"), conditions=ADAM, skipped_steps=0)
    assert "skipped" not in caption(build_report(read_runs(tmp_path)))


def test_a_learner_that_is_not_trained_has_no_training_conditions(tmp_path: Path) -> None:
    spec = make_spec("nearest-neighbor")
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"meta_steps": 0})})
    write_run(tmp_path, spec, train_shots=1, train_queries=15)
    assert "Training conditions" not in caption(build_report(read_runs(tmp_path)))


def test_csv_and_json_have_them_per_row(report: Report) -> None:
    rows = {row["learner"]: row for row in csv.DictReader(io.StringIO(render(report, Format.csv)))}
    assert rows["maml"]["skipped_steps"] == "7"
    assert rows["reptile"]["skipped_steps"] == ""
    assert "outer optimizer: Adam" in rows["maml"]["training"]
    assert rows["maml"]["meta_steps"] == "10"
    maml, _ = json.loads(render(report, Format.json))["tables"][0]["rows"]
    assert maml["skipped_steps"] == 7
    assert maml["training"]["outer optimizer"] == "Adam"
    assert maml["steps_at_test"] == 5
