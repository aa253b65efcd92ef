"""``metabench reproduce``, and the price that ``metabench run --dry-run`` prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app

SHORT = ("--budget", "smoke", "--limit", "2", "--set", "budget.meta_steps=2")
TABLE = ("reproduce", "m-nas/table-1", "--row", "maml", *SHORT)


def test_one_command_makes_a_row_and_prints_table_and_claims(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "R"))
    done = CliRunner().invoke(app, [*TABLE, *out, "--yes"])
    assert done.exit_code == 0, done.output
    assert "m-nas/table-1, Wang et al. (AAAI 2020, Table 1): 1 run." in done.stderr
    assert "The time of 1 run is not known." in done.stderr
    assert "Runs: 1 done." in done.stderr
    assert "MAML" in done.stdout
    assert "2.210" in done.stdout
    assert "m-nas-" in done.stdout, "the claims"
    # A finished table is shown without a question.
    again = CliRunner().invoke(app, [*TABLE, *out])
    assert again.exit_code == 0, again.output
    assert "Of 1 run, 1 is done in" in again.stderr
    assert again.stdout == done.stdout


def test_nothing_is_run_without_an_answer(tmp_path: Path) -> None:
    asked = CliRunner().invoke(app, [*TABLE, "--out", str(tmp_path / "R")])
    assert asked.exit_code == 2
    assert "Nothing was run, because nobody can answer here." in asked.stderr
    assert "Add --yes to run it." in asked.stderr
    assert not (tmp_path / "R").exists()


def test_a_dry_run_prints_the_commands_and_the_price(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*TABLE, "--out", str(tmp_path / "R"), "--dry-run"])
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    assert line.startswith("metabench run --learner maml --suite toy-regression")
    assert "maml toy-regression@10-shot budget.meta_steps=2" in done.stderr
    assert not (tmp_path / "R").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["m-nas/tabel-1"], 2, ["Unknown reference 'm-nas/tabel-1'.", "m-nas/table-1"]),
        (["m-nas/table-1:mnaz"], 2, ["Unknown row 'mnaz' of m-nas/table-1.", "mnas"]),
        (["m-nas/table-1", "--budget", "smok"], 2, ["Unknown budget", "Did you mean smoke?"]),
        (
            ["m-nas/table-1", "--set", "learner.inner_lr=0.1,0.2"],
            2,
            ["--set learner.inner_lr has several values", "metabench run"],
        ),
        (
            ["metanas/table-1", "--row", "metanas", "--yes"],
            3,
            ["The data of all runs is missing.", "metabench data fetch omniglot"],
        ),
    ],
)
def test_what_cannot_be_done_is_said_with_a_hint(
    tmp_path: Path, data_root: Path, words: list[str], code: int, said: list[str]
) -> None:
    result = CliRunner().invoke(app, ["reproduce", *words, "--out", str(tmp_path / "R")])
    assert result.exit_code == code
    for sentence in said:
        assert sentence in result.stderr
    assert not (tmp_path / "R").exists()


def test_a_dry_run_of_runs_needs_no_data(tmp_path: Path, data_root: Path) -> None:
    words = ["run", "--learner", "maml", "--suite", "omniglot", "--out", str(tmp_path / "R")]
    done = CliRunner().invoke(app, [*words, "--dry-run"])
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    assert line.startswith("data is missing   metabench run --learner maml --suite omniglot")
    assert "Missing data of 1 run: omniglot has not been prepared" in done.stderr
    assert not (tmp_path / "R").exists()
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 3
