"""What all commands refuse, and how Ctrl-C ends them."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app

BASE = ["run", "--learner", "maml", "--suite", "toy-regression", "--dry-run", "--no-probe"]
TUNE = ["tune", "--learner", "maml", "--suite", "toy-regression"]


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ([*BASE, "--learner", "reptile"], "--learner is given 2 times.", "--learner A,B."),
        ([*BASE, "--setting=a", "--setting=b"], "--setting is given 2 times.", "--setting A,B."),
        (["report", "--learner", "a", "--learner", "b"], "--learner is given 2", "--learner A,B."),
        ([*BASE, "--out", ""], "--out is empty.", "leave it out"),
        ([*BASE, "--time-limit", ""], "--time-limit is empty.", "leave it out"),
        (["compare", "", "b"], "is empty.", "Give it a value."),
        (["show", ""], "name is empty.", "Give it a value."),
        ([*TUNE, "--time-limit", "0s"], "--time-limit 0s leaves no time.", "above 0"),
        (["compare", "a", "b", "--difference", "-1"], "--difference -1 is not above 0.", "size"),
        (["compare", "a", "b", "--difference", "0"], "--difference 0 is not above 0.", "size"),
        (["compare", ".", "..", "R"], ". and .. are folders, so nothing is looked up in R.", "two"),
        (["export", ".", "R"], ". is a folder, so nothing is looked up in R.", "Name one"),
        (
            [*BASE[:-2], "--no-probe"],
            "--no-probe goes with --dry-run, which is not given.",
            "add --dry-run",
        ),
        (
            ["reproduce", "m-nas/table-1", "--dry-run", "--yes"],
            "--yes answers a question that --dry-run does not ask.",
            "Leave out --yes",
        ),
        (
            [*TUNE, "--set", "learner.inner_lr=0.1,0.2", "--sampler-seed", "1", "--dry-run"],
            "The sampler's seed 1 changes nothing: a grid draws no values.",
            "--sampler random or tpe",
        ),
    ],
)
def test_a_list_is_given_once_and_no_option_is_empty(
    words: list[str], said: str, hint: str
) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert hint in result.stderr


def test_options_that_may_be_given_several_times_stay() -> None:
    sets = ["--set", "learner.inner_lr=0.1", "--set", "learner.inner_steps=2"]
    result = CliRunner().invoke(app, [*BASE, *sets, "--jobs", "2", "--jobs", "1"])
    assert result.exit_code == 0, result.output


INTERRUPTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from importlib.abc import MetaPathFinder
class Interrupt(MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "NAME":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["metabench", "doctor"]
from metabench.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["metabench.cli", "metabench.running.diagnosis"])
def test_ctrl_c_ends_quietly_also_while_modules_are_loaded(name: str) -> None:
    script = INTERRUPTING.replace("NAME", name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_ctrl_c_has_the_same_exit_code() -> None:
    script = """
import os, signal, sys
import metabench.cli
from metabench.__main__ import main
def interrupted():
    raise KeyboardInterrupt
metabench.cli.app = interrupted
try:
    main()
finally:
    os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_the_next_command_quotes_the_folder(tmp_path: Path) -> None:
    out = str(tmp_path / "my results")
    words = ["run", "--learner", "support-mean", "--suite", "toy-regression", "--budget", "smoke"]
    done = CliRunner().invoke(app, [*words, "--limit", "2", "--device", "cpu", "--out", out])
    assert done.exit_code == 0, done.stderr
    assert f"Print the table with: metabench report '{out}'" in done.stderr


def test_a_home_folder_is_understood_where_the_shell_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder called ``~`` would be removed with the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(app, [*BASE, "--out=~/results"])
    assert done.stdout.endswith(f" --out {tmp_path}/results\n")
    other = CliRunner().invoke(app, [*BASE, "--out=results/~"])
    assert other.stdout.endswith(" --out 'results/~'\n")


def test_a_dry_run_prints_the_folder_and_refuses_what_the_run_would(tmp_path: Path) -> None:
    out = tmp_path / "my results"
    result = CliRunner().invoke(app, [*BASE, "--out", str(out)])
    assert result.stdout.endswith(f" --out '{out}'\n")
    assert "--out" not in CliRunner().invoke(app, BASE).stdout
    for words, said in (
        (["--threads", "100000"], "is more than the"),
        (["--set", "executor.jbos=2"], "jbos"),
    ):
        refused = CliRunner().invoke(app, [*BASE, "--out", str(out), *words])
        assert refused.exit_code == 2, refused.output
        assert said in refused.stderr
    assert not out.exists()


def test_a_run_is_no_results_folder(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    for out, where in ((tmp_path, "is"), (tmp_path / "checkpoints" / "R", "is in")):
        refused = CliRunner().invoke(app, [*BASE, "--out", str(out)])
        assert refused.exit_code == 2
        assert f"{out} {where} the folder of a run." in " ".join(refused.stderr.split())
        assert [*tmp_path.iterdir()] == [tmp_path / "run.json"]


@pytest.mark.parametrize(
    "below", ["toy@10-shot", "toy@10-shot/maml", "toy@10-shot/maml/new", "toy@5-shot"]
)
def test_a_results_folder_is_not_among_the_runs_of_another(tmp_path: Path, below: str) -> None:
    run = tmp_path / "R" / "toy@10-shot" / "maml" / "0123456789abcdef"
    run.mkdir(parents=True)
    assert CliRunner().invoke(app, [*BASE, "--out", str(tmp_path / "R" / below)]).exit_code == 0
    (run / "run.json").write_text("{}")
    refused = CliRunner().invoke(app, [*BASE, "--out", str(tmp_path / "R" / below)])
    assert refused.exit_code == 2
    said = " ".join(refused.stderr.split())
    assert f"{tmp_path / 'R' / below} is where the results folder {tmp_path / 'R'} has its" in said
    assert f"Give --out {tmp_path / 'R'}," in said
    for other in ("R", "R/further", "toy@10-shot"):
        assert CliRunner().invoke(app, [*BASE, "--out", str(tmp_path / other)]).exit_code == 0


def test_a_relative_folder_is_looked_for_where_the_command_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "run" / "checkpoints")
    refused = CliRunner().invoke(app, [*BASE, "--out", "R"])
    assert "R is in the folder of a run." in refused.stderr
    assert CliRunner().invoke(app, [*BASE, "--out", "../../R"]).exit_code == 0


def test_a_word_that_is_no_plan_file_gets_a_hint(tmp_path: Path) -> None:
    suite = tmp_path / "my suite.yaml"
    suite.write_text("{name: mine, protocol: {}}")
    for words, said, hint in (
        ([*BASE, "reptile"], "no plan file reptile", "--learner maml,reptile"),
        ([*TUNE, "reptile"], "no plan file reptile", "--learner maml,reptile"),
        (["run", str(suite)], "is a suite file", f"--suite '{suite}'"),
        (["run", str(tmp_path)], "is a folder", "Name a plan file."),
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert hint in result.stderr


def test_doctor_prints_no_empty_heading() -> None:
    lines = CliRunner().invoke(app, ["doctor"]).stdout.splitlines()
    headings = [i for i, line in enumerate(lines) if not line.startswith(" ")]
    assert headings
    for i in headings:
        assert lines[i + 1].startswith("  "), lines[i]
    for name in ("optuna", "mlflow", "wandb", "tensorboard", "submitit"):
        assert any(line.startswith(f"  {name}: ") for line in lines)


def test_export_names_what_was_typed(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "nonexist", str(tmp_path / "none")])
    assert result.exit_code != 0
    assert "nonexist is no folder" in result.stderr


def test_a_row_of_a_table_is_suggested_once() -> None:
    result = CliRunner().invoke(app, ["reproduce", "m-nas/table-1:mamll", "--dry-run"])
    assert result.exit_code == 2
    (hint,) = [line for line in result.stderr.splitlines() if "Did you mean" in line]
    named = hint.removeprefix("Did you mean ").removesuffix("?").casefold().split(" or ")
    assert "maml" in named
    assert len(named) == len(set(named))


def test_tune_names_an_unknown_scale_and_says_how_many_trials_a_grid_has() -> None:
    result = CliRunner().invoke(app, [*TUNE, "--set", "learner.inner_lr=1e-3..1e-1:lg"])
    assert result.exit_code == 2
    assert "unknown :lg" in result.stderr
    grid = [*TUNE, "--set", "learner.inner_lr=0.1,0.2", "--dry-run", "--trials"]
    said = CliRunner().invoke(app, [*grid, "5"])
    assert said.exit_code == 0, said.output
    assert "has 2 trials, fewer than --trials 5" in said.stderr
    assert "Note" not in CliRunner().invoke(app, [*grid, "2"]).stderr
