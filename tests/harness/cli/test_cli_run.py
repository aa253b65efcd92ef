"""Options of ``metabench run`` that take one name."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.planning.grid import read_grid

BASE = ["run", "--learner", "maml", "--suite", "toy-regression", "--dry-run"]


@pytest.mark.parametrize(
    ("option", "value", "said", "hint"),
    [
        (
            "--budget",
            "smoke,lite",
            "--budget takes one name, but 'smoke,lite' is a list.",
            "Give one command for each budget.",
        ),
        (
            "--network",
            "mlp,toy-cell",
            "--network takes one name, but gets 'toy-cell' as well.",
            "--network maml=NAME",
        ),
        (
            "--strategy",
            "darts,fixed",
            "--strategy takes one name, but gets 'fixed' as well.",
            "--strategy maml=NAME",
        ),
    ],
)
def test_an_option_that_takes_one_name_refuses_a_list(
    option: str, value: str, said: str, hint: str
) -> None:
    result = CliRunner().invoke(app, [*BASE, option, value])
    assert result.exit_code == 2
    assert said in result.stderr
    assert hint in result.stderr


def test_a_plan_file_repeats_a_command(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    sweep = ["--set", "learner.inner_lr=0.1,0.2", "--save-plan", str(file)]
    first = CliRunner().invoke(app, [*BASE, *sweep])
    again = CliRunner().invoke(app, ["run", str(file), "--dry-run"])
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert len(first.stdout.splitlines()) == 2
    assert again.stdout == first.stdout


def test_the_record_has_the_digest_of_its_plan_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("{learners: [support-mean], suites: [toy-regression], budget: smoke, limit: 2}")
    done = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "R")])
    assert done.exit_code == 0, done.stderr
    (record,) = (tmp_path / "R").rglob("run.json")
    digest = json.loads(record.read_text())["provenance"]["plan"]
    assert digest == read_grid(file).digest


@pytest.mark.parametrize("option", [["--seed", "1"], ["--learner", "maml"], ["--set", "a.b=1"]])
def test_a_plan_file_says_alone_what_to_run(tmp_path: Path, option: list[str]) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("{learners: [maml], suites: [toy-regression]}")
    result = CliRunner().invoke(app, ["run", str(file), "--dry-run", *option])
    assert result.exit_code == 2
    assert f"{option[0]} and a plan file both say what to run." in result.stderr


def test_what_is_missing_without_a_plan_file_is_named() -> None:
    result = CliRunner().invoke(app, ["run", "--learner", "maml"])
    assert result.exit_code == 2
    assert "--suite is missing." in result.stderr
    result = CliRunner().invoke(app, ["run", "no-plan.yaml"])
    assert result.exit_code == 2
    assert "There is no plan file no-plan.yaml." in result.stderr


def test_shards_make_each_run_once_and_say_what_they_leave() -> None:
    every = CliRunner().invoke(app, [*BASE, "--seed", "0..4"]).stdout.splitlines()
    found: list[str] = []
    for number in (1, 2):
        result = CliRunner().invoke(app, [*BASE, "--seed", "0..4", "--shard", f"{number}/2"])
        assert result.exit_code == 0
        own = result.stdout.splitlines()
        assert f"Shard {number}/2 makes {len(own)} of 5 runs." in result.stderr
        for seed in range(5):
            made = any(f"--seed {seed}" in line for line in own)
            assert (f"maml 10-shot seed {seed}" in result.stderr) is not made
        found += own
    assert sorted(found) == sorted(every)


def test_a_shard_without_a_run_is_no_error(tmp_path: Path) -> None:
    command = [*BASE[:-1], "--out", str(tmp_path / "R"), "--shard", "2/2"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "Shard 2/2 makes 0 of 1 run." in result.stderr
    assert not (tmp_path / "R").exists()


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (["--time-limit", "2"], "--time-limit '2' is not a time.", "90m, 2h or 1h30m"),
        (["--shard", "3/2"], "--shard '3/2' is not one of several shards.", "1/4"),
        (["--set", "executor.jbs=2"], "Unknown executor parameter 'jbs' of local.", "jobs"),
        (["--set", "executor.jobs=0"], "executor.jobs=0 is not valid for local", ">= 1"),
        (["--set", "executor.jobs=1,2"], "have one executor", "one value"),
        (["--set", "executor.jobs=2", "--jobs", "2"], "--jobs and --set executor.jobs", "Leave"),
        (["--threads", "100000"], "--threads 100000 is more than", "--jobs"),
    ],
)
def test_how_runs_are_made_is_checked(
    tmp_path: Path, options: list[str], said: str, hint: str
) -> None:
    result = CliRunner().invoke(app, [*BASE[:-1], "--out", str(tmp_path / "R"), *options])
    assert result.exit_code == 2
    assert said in result.stderr
    assert hint in result.stderr


def test_a_plan_file_takes_parameters_of_the_executor_beside_it_and_not_in_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("{learners: support-mean, suites: toy-regression, budget: smoke, limit: 2}")
    options = ["--set", "executor.jobs=1", "--dry-run"]
    assert CliRunner().invoke(app, ["run", str(file), *options]).exit_code == 0
    text = "{learners: support-mean, suites: toy-regression, set: {executor.jobs: 1}}"
    file.write_text(text)
    result = CliRunner().invoke(app, ["run", str(file), "--dry-run"])
    assert result.exit_code == 2
    assert "about how runs are made" in result.stderr


RUN = ["run", "--learner", "support-mean", "--suite", "toy-regression", "--budget", "smoke"]


@pytest.mark.slow
def test_runs_in_several_processes_reach_the_trackers(tmp_path: Path) -> None:
    options = ["--limit", "2", "--seed", "0..1", "--jobs", "2", "--tracker", "csv"]
    folder = ["--set", f"tracker[csv].folder={tmp_path / 'mine'}"]
    done = CliRunner().invoke(app, [*RUN, *options, *folder, "--out", str(tmp_path / "R")])
    assert done.exit_code == 0, done.stderr
    assert len(list((tmp_path / "mine").rglob("scores.csv"))) == 2
    for record in (tmp_path / "R").rglob("run.json"):
        assert "csv" not in record.read_text()


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (["--tracker", "cvs"], "Unknown tracker 'cvs'.", "Did you mean csv?"),
        (["--tracker", ","], "--tracker names nothing.", "separated by commas"),
        (
            ["--tracker", "csv", "--set", "tracker[csv].foldr=a"],
            "Unknown tracker[csv] parameter 'foldr' of csv.",
            "Did you mean folder?",
        ),
        (
            ["--set", "tracker[csv].folder=a"],
            "--set tracker[csv]... names a tracker that this command does not use.",
            "Add --tracker csv.",
        ),
    ],
)
def test_a_tracker_that_cannot_be_is_refused_before_any_run(
    tmp_path: Path, options: list[str], said: str, hint: str
) -> None:
    refused = CliRunner().invoke(app, [*RUN, *options, "--out", str(tmp_path / "R")])
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert hint in refused.stderr
    assert not list(tmp_path.rglob("run.json"))


def test_a_plan_file_takes_trackers_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("{learners: [support-mean], suites: [toy-regression], budget: smoke, limit: 2}")
    options = ["--tracker", "csv", "--set", f"tracker[csv].folder={tmp_path / 'mine'}"]
    done = CliRunner().invoke(app, ["run", str(file), *options, "--out", str(tmp_path / "R")])
    assert done.exit_code == 0, done.stderr
    assert len(list((tmp_path / "mine").rglob("scores.csv"))) == 1
