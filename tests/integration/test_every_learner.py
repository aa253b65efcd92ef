"""Every learner that does not search runs on Omniglot by its name alone; one table has all."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.plugin.catalog import load_catalog
from metabench.results.reading import read_runs

CATALOG = load_catalog()
LEARNERS = sorted(
    name
    for name, spec in CATALOG.learners.items()
    if "classification" in spec.kinds and not spec.one_task and not spec.searches
)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["5w1s", pytest.param("20w5s", marks=pytest.mark.exhaustive)])
def test_every_learner_runs_by_its_name_alone(tmp_path: Path, setting: str) -> None:
    command = ["run", "--learner", ",".join(LEARNERS), "--suite", "omniglot", "--setting", setting]
    command += ["--data", "synthetic", "--budget", "smoke", "--out", str(tmp_path)]
    command += ["--set", "budget.meta_steps=2", "--set", "protocol.episodes=4"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = read_runs(tmp_path)
    assert not found.problems
    assert sorted(run.record.spec.learner.name for run in found.runs) == LEARNERS
    assert all(len(run.episodes.score) == 4 for run in found.runs)
    table = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert table.exit_code == 0
    assert all(name in table.output for name in LEARNERS)
