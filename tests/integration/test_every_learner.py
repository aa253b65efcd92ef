"""Every learner runs on Omniglot by its name alone; one table has all."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.plugin.catalog import load_catalog
from metabench.results.reading import read_runs

CATALOG = load_catalog()
META_LEARNERS = {
    name: spec
    for name, spec in CATALOG.learners.items()
    if "classification" in spec.kinds and not spec.one_task
}
LEARNERS = sorted(name for name, spec in META_LEARNERS.items() if not spec.searches)
SEARCHING = sorted(name for name, spec in META_LEARNERS.items() if spec.searches)


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


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("learner", SEARCHING)
def test_every_learner_that_searches_runs_with_twenty_ways(tmp_path: Path, learner: str) -> None:
    """One task and one meta-step: of `metanas-maml` alone, a step takes 25 s of one core."""
    command = ["run", "--learner", learner, "--suite", "omniglot", "--setting", "20w5s"]
    command += ["--data", "synthetic", "--budget", "smoke", "--out", str(tmp_path)]
    for least in ("budget.meta_steps", "budget.meta_batch", "protocol.episodes"):
        command += ["--set", f"{least}=1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (run,) = read_runs(tmp_path).runs
    assert run.record.spec.learner.name == learner
    assert len(run.episodes.score) == 1
    assert 0 <= run.episodes.score[0] <= 1
