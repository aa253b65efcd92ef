"""The files of the CSV tracker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from full_disk import full_disk
from tracked_runs import run_facts, short_run

from metabench import CurvePoint, RunEnd, UsageError, load_results
from metabench.results.training_curve import read_training_curve
from metabench_plugins.trackers.to_csv import CsvParams, CsvTracker

POINTS = [CurvePoint(1, {"meta-train/loss": 2.0}), CurvePoint(2, {"meta-train/loss": 1.0})]


def test_a_run_as_tables(tmp_path: Path) -> None:
    (outcome,) = short_run(tmp_path, trackers=["csv"]).outcomes
    spec = outcome.job.planned.spec
    place = Path("toy-regression@10-shot", "maml", spec.run_id)
    parameters = pd.read_csv(tmp_path / "csv" / place / "parameters.csv", index_col="name")["value"]
    assert parameters["learner.inner_lr"] == "0.02"
    assert parameters["budget.meta_steps"] == "20"
    assert parameters["stamps"] == "smoke limit custom"
    assert parameters["run_id"] == spec.run_id
    curves = pd.read_csv(tmp_path / "csv" / place / "curves.csv")
    curve = read_training_curve(tmp_path / place / "metrics.jsonl")
    for name, full in (("loss", "meta-train/loss"), ("val_score", "meta-val/val_score")):
        own = curves[curves["name"] == full]
        assert list(zip(own["step"], own["value"], strict=True)) == curve.scalars[name]
    scores = pd.read_csv(tmp_path / "csv" / place / "scores.csv")
    of_sine = scores[(scores["source"] == "sine") & (scores["evaluation"] == "meta-test")]
    episodes = load_results(tmp_path)
    mean = episodes[episodes["source"] == "sine"]["score"].mean()
    assert of_sine["mean"].item() == pytest.approx(mean, rel=1e-14)
    assert of_sine["n"].item() == 4
    assert pd.read_csv(tmp_path / "csv" / place / "end.csv")["status"].item() == "done"


def test_files_that_are_gone_are_made_anew(tmp_path: Path) -> None:
    tracker = CsvTracker(CsvParams(folder=str(tmp_path / "mine")), tmp_path / "R")
    first = tracker.open(run_facts(tmp_path / "R"), key="")
    first.log(POINTS)
    first.end(RunEnd(status="interrupted", step=2))
    again = tracker.open(run_facts(tmp_path / "R"), key=first.key)
    again.log([CurvePoint(3, {"meta-train/loss": 0.5})])
    curves = Path(first.key, "curves.csv")
    assert again.resumed
    assert pd.read_csv(curves)["step"].tolist() == [1, 2, 3]
    curves.unlink()
    assert not tracker.open(run_facts(tmp_path / "R"), key=first.key).resumed
    assert Path(first.key).is_relative_to(tmp_path / "mine")


def test_a_run_that_begins_anew_has_not_ended(tmp_path: Path) -> None:
    """One that is killed while it is sent again would pass for whole, with half of its curves."""
    tracker, run = CsvTracker(CsvParams(), tmp_path / "R"), run_facts(tmp_path / "R")
    first = tracker.open(run, key="")
    first.end(RunEnd(status="done", step=2))
    assert tracker.has(run, key=first.key)
    Path(first.key, "curves.csv").unlink()
    tracker.open(run, key=first.key).log(POINTS)
    assert not tracker.has(run, key=first.key)
    assert not Path(first.key, "end.csv").exists()


def test_points_that_a_full_disk_cut_are_there_once_when_there_is_room(tmp_path: Path) -> None:
    tracker, run = CsvTracker(CsvParams(), tmp_path / "R"), run_facts(tmp_path / "R")
    many = [CurvePoint(step, {"meta-train/loss": 0.5}) for step in range(1000)]
    opened = tracker.open(run, key="")
    opened.log(POINTS)
    with full_disk(10_000), pytest.raises(UsageError, match=r"curves\.csv: File too large"):
        opened.log(many)
    tracker.open(run, key=opened.key).log(many)
    curves = Path(opened.key, "curves.csv")
    assert pd.read_csv(curves)["step"].tolist() == [1, 2, *range(1000)]


@pytest.mark.slow
def test_a_killed_command_goes_on_with_each_point_once(tmp_path: Path) -> None:
    words = ["--budget", "smoke", "--limit", "2", "--set", "budget.meta_steps=120"]
    words += ["--checkpoint-every", "0", "--tracker", "csv", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "metabench", "run", "--learner", "maml"]
    command += ["--suite", "toy-regression", *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not sum(file.read_text().count("\n") for file in tmp_path.rglob("curves.csv")) > 20:
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline, "no point came"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (file,) = tmp_path.rglob("curves.csv")
    before = file.read_text()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "resumes at meta-step" in again.stderr
    assert file.read_text().startswith(before)
    curves = pd.read_csv(file)
    assert not curves.duplicated(["step", "name"]).any()
    (metrics,) = tmp_path.rglob("metrics.jsonl")
    own = curves[curves["name"] == "meta-train/loss"]
    sent = list(zip(own["step"], own["value"], strict=True))
    assert sent == read_training_curve(metrics).scalars["loss"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    run = run_facts(tmp_path / "R")
    tracker = CsvTracker(CsvParams(), tmp_path / "R")
    folder = Path(tracker.open(run, key="").key)
    target = tmp_path / "mine"
    target.write_text("mine")
    (folder / "curves.csv").unlink()
    (folder / "curves.csv").symlink_to(target)
    with pytest.raises(UsageError, match=r"curves\.csv: it is a link"):
        tracker.open(run, key=str(folder)).log(POINTS)
    assert target.read_text() == "mine"
