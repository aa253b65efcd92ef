"""What ``metabench tune`` says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from metabench.cli import app

BASE = ["tune", "--learner", "support-mean,maml", "--suite", "toy-regression"]
SHORT = ["--budget", "smoke", "--set", "budget.meta_steps=1", "--set", "protocol.val_episodes=2"]
RATES = ["--set", "learner[maml].inner_lr=0.001,0.01"]


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, [*BASE, *words])


def test_a_dry_run_prints_the_trials_and_makes_none(tmp_path: Path) -> None:
    shown = invoke(*RATES, "--dry-run", "--out", str(tmp_path / "T"))
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "toy-regression@10-shot@support-mean  trial 1",
        "toy-regression@10-shot@maml  trial 1  learner[maml].inner_lr=0.001",
        "toy-regression@10-shot@maml  trial 2  learner[maml].inner_lr=0.01",
    ]
    assert not (tmp_path / "T").exists()


def test_the_command_prints_the_choice_and_how_to_run_it(tmp_path: Path) -> None:
    out = tmp_path / "T"
    done = invoke(*SHORT, *RATES, "--out", str(out))
    assert done.exit_code == 0, done.stderr
    record = json.loads((out / "tuning.json").read_text())
    of_mean, of_maml = record["studies"]
    chosen = of_maml["trials"][of_maml["chosen"] - 1]["values"]
    ((path, value),) = chosen.items()
    assert f"Chosen: trial {of_maml['chosen']}, {path}={value}." in done.stdout
    plan = out / "chosen" / "toy-regression@10-shot@maml.yaml"
    assert f"metabench run {plan}" in done.stdout
    assert "No meta-test episode was drawn." in done.stdout
    assert "tuned" in plan.read_text()
    untuned = out / of_mean["plan"]
    assert "tuned" not in untuned.read_text()

    status = CliRunner().invoke(app, ["status", str(out)])
    assert status.exit_code == 0, status.output
    assert "100 %" in status.stdout
    assert "no command is at work" not in status.stdout.lower()
    report = CliRunner().invoke(app, ["report", str(out)])
    assert report.exit_code == 3
    assert "trials are judged on meta-validation only and are in no table." in report.stderr
    assert f"Test the chosen values: metabench run {out / 'chosen'}" in report.stderr
    assert "not tested" not in report.stderr


def test_a_plan_file_says_alone_what_to_tune(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    first = invoke(*RATES, "--save-plan", str(file), "--dry-run")
    again = CliRunner().invoke(app, ["tune", str(file), "--dry-run"])
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert again.stdout == first.stdout
    refused = CliRunner().invoke(app, ["tune", str(file), "--trials", "3"])
    assert refused.exit_code == 2
    assert "--trials and a plan file both say what to run." in refused.stderr


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ([], "There is nothing to tune", "--set learner.inner_lr=0.001,0.01"),
        (
            ["--set", "learner[maml].inner_lr=0.1..0.2", "--sampler", "grid"],
            "A grid needs values, but learner[maml].inner_lr has the range 0.1..0.2.",
            "--sampler random or tpe",
        ),
    ],
)
def test_what_cannot_be_tuned_is_one_sentence_and_a_hint(
    tmp_path: Path, words: list[str], said: str, hint: str
) -> None:
    refused = invoke(*words, "--out", str(tmp_path))
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert hint in refused.stderr


def test_help_explains_ranges() -> None:
    text = " ".join(CliRunner().invoke(app, ["tune", "--help"]).stdout.split())
    assert "--sampler-seed" in text
    assert "1e-4..1e-1:log" in text
    assert "--learner" in text
