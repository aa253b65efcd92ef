"""What plugins print reaches stderr: stdout has what a command was asked for, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from result_factory import make_spec, write_run
from typer.testing import CliRunner, Result

from metabench.cli import app

LOUD = """
import sys

print("printed at import")
sys.stdout.write("written at import\\n")

from metabench import LearnerSpec, hookimpl
from metabench_plugins.learners.maml import Maml, MamlParams


class Loud(Maml):
    def meta_step(self, tasks, *, progress, rng):
        print("printed in a meta-step", flush=True)
        return super().meta_step(tasks, progress=progress, rng=rng)


@hookimpl
def metabench_learners():
    print("printed in a hook")
    yield LearnerSpec(
        name="loud", version=1, summary="Prints.", params=MamlParams, factory=Loud
    )
"""
SHORT = (
    *("--suite", "toy-regression", "--budget", "smoke", "--device", "cpu", "--limit", "2"),
    *("--set", "budget.meta_steps=2", "--set", "budget.meta_batch=1", "--set", "network.width=4"),
)
RUN = ("run", "--learner", "loud", *SHORT, "--out", "R")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    Path("loud.py").write_text(LOUD)


def metabench(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--plugin", "loud.py"])


@pytest.mark.parametrize(
    "command",
    [("list", "learners", "--json"), ("status", "R", "--json"), ("report", "R", "--format", "csv")],
)
def test_what_is_asked_for_is_alone_on_stdout(command: tuple[str, ...]) -> None:
    write_run(Path("R"), make_spec("maml"))
    result = metabench(*command)
    assert result.exit_code == 0
    assert "printed" not in result.stdout
    if command[-1] == "--json":
        json.loads(result.stdout)
    if command[0] == "list":
        assert "printed at import\nwritten at import\nprinted in a hook" in result.stderr


def test_a_run_prints_no_less_and_no_more() -> None:
    result = metabench(*RUN)
    assert result.exit_code == 0
    assert "printed" not in result.stdout
    assert "printed at import\n" in result.stderr
    assert result.stderr.count("printed in a meta-step\n") == 2
    assert "Runs: 1 done." in result.output


@pytest.mark.slow
def test_runs_in_processes_of_their_own_print_there_too() -> None:
    """A process, since what others of its own print reaches no stream of this one."""
    command = [sys.executable, "-m", "metabench", *RUN, "--plugin", "loud.py"]
    command += ["--seed", "0,1", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "printed" not in done.stdout
    assert done.stderr.count("printed in a meta-step") == 4  # lines of two processes may mix


def test_what_is_printed_is_not_taken_for_what_was_measured() -> None:
    """The process that measures answers on its stdout."""
    result = metabench(*RUN, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "printed" not in result.stdout
    assert "could not be measured" not in result.output
    assert not isinstance(result.exception, ValueError)


def test_a_stderr_without_a_reader_stops_no_run() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "metabench", *RUN, "--plugin", "loud.py"]
    with os.fdopen(writing, "wb") as stderr:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, check=False)
    assert done.returncode == 0
    assert len([*Path("R").rglob("episodes.jsonl")]) == 1


def test_help_is_asked_for() -> None:
    result = metabench("run", "--help")
    assert result.exit_code == 0
    assert "--learner" in result.stdout
