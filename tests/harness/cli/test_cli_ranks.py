"""``metabench run --ranks``: what is refused, and what torchrun changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.cli.ranks import count_ranks
from metabench.errors import UsageError
from metabench.running.ranks.torchrun import World

MAML = ["run", "--learner", "maml", "--suite", "toy-regression", "--budget", "smoke"]
WORLD = World(rank=0, local_rank=0, count=4)


def test_ranks_are_those_that_are_asked_for_or_that_torchrun_has_started() -> None:
    assert count_ranks(None, None, executor="local", jobs=None) == 1
    assert count_ranks(3, None, executor="local", jobs=1) == 3
    assert count_ranks(None, WORLD, executor="local", jobs=1) == 4
    assert count_ranks(4, WORLD, executor="local", jobs=1) == 4
    assert count_ranks(1, None, executor="ray", jobs=8) == 1


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="torchrun, which has started 4"):
        count_ranks(2, WORLD, executor="local", jobs=1)
    with pytest.raises(UsageError, match="--jobs 2 makes several runs"):
        count_ranks(2, None, executor="local", jobs=2)
    with pytest.raises(UsageError, match="--executor slurm makes several runs"):
        count_ranks(None, WORLD, executor="slurm", jobs=None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ranks", "2", "--jobs", "2"], "--jobs 2 makes several runs at a time"),
        (["--ranks", "200", "--dry-run"], "too few for --ranks 200"),
        (["--ranks", "2", "--engine", "compiled"], "--engine compiled records"),
    ],
)
def test_a_command_that_cannot_be_shared_says_so(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.running.engines.has_compiler", lambda: True)
    arguments = [*MAML, "--device", "cpu", "--out", str(tmp_path / "R"), *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "R" / "toy-regression@10-shot").exists()


def test_only_the_first_process_of_torchrun_lists_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    for rank, lists in (("0", True), ("1", False)):
        for name, value in {**said, "RANK": rank}.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, [*MAML, "--dry-run"])
        assert result.exit_code == 0
        assert ("metabench run --learner maml" in result.output) is lists


def test_tuning_starts_its_processes_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune = ["tune", *MAML[1:], "--set", "learner.inner_lr=0.1,0.2", "--out", str(tmp_path / "T")]
    refused = CliRunner().invoke(app, [*tune, "--ranks", "2", "--jobs", "2"])
    assert refused.exit_code == 2
    assert "--jobs 2 makes several runs at a time" in refused.stderr
    for name, value in {"RUN_ID": "none", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}" if name == "RUN_ID" else name, value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused = CliRunner().invoke(app, tune)
    assert refused.exit_code == 2
    assert "metabench tune does not run in the 2 processes that torchrun has started." in (
        refused.stderr
    )
    assert "--ranks 2" in refused.stderr
    assert not (tmp_path / "T").exists()
