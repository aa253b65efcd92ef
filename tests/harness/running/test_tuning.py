"""A tuning trains and validates, never tests; it goes on where it stopped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import metabench
from metabench.cli import app
from metabench.durable import locked
from metabench.planning.grid import read_grid
from metabench.plugin.specs import RunEvent
from metabench.results.reading import read_runs
from metabench.results.tunings import read_tuning
from metabench.results.validation_scores import META_VAL
from metabench.running.tuning import _tied
from metabench.sampling.sampler import EpisodeSampler

RATES = {"learner.inner_lr": [0.001, 0.01]}
SHORT = {
    "budget.meta_steps": 3,
    "budget.meta_batch": 2,
    "network.width": 4,
    "protocol.val_episodes": 3,
}
QUIET: Any = {"on_event": lambda event: None}


def tuned(out: Path, learner: str = "maml", **options: Any) -> metabench.Tuning:
    usual = {"budget": "smoke", "changes": SHORT, "sweep": RATES, "limit": 4, "out": out, **QUIET}
    return metabench.tune(learner, "toy-regression", **{**usual, **options})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The splits of which episodes are drawn."""
    splits: set[str] = set()
    draw = EpisodeSampler.batch

    def noting(self: EpisodeSampler, *args: Any) -> Any:
        splits.add(self._split)
        return draw(self, *args)

    monkeypatch.setattr(EpisodeSampler, "batch", noting)
    return splits


@pytest.mark.parametrize("selection", ["last", "meta-val"])
def test_no_meta_test_episode_is_drawn(tmp_path: Path, drawn: set[str], selection: str) -> None:
    tuning = tuned(tmp_path, changes={**SHORT, "protocol.selection": selection})
    assert drawn == {"meta-train", "meta-val"}
    assert not list(tmp_path.rglob("episodes.jsonl"))
    (study,) = tuning.studies
    assert [trial.status for trial in study.trials] == ["done", "done"]


def test_the_best_mean_on_meta_validation_is_chosen(tmp_path: Path) -> None:
    tuning = tuned(tmp_path, seeds=(0, 1))
    (study,) = tuning.studies
    assert study.episodes == 12
    for trial in study.trials:
        assert trial.score == pytest.approx(sum(trial.by_seed) / 2)
        assert trial.half_width is not None
        assert trial.half_width > 0
    best = min(study.trials, key=lambda trial: trial.score or 0)
    assert study.chosen == best.number
    assert tuning.chosen == {study.name: best.values}
    scores = (tmp_path / "trials").rglob(f"{META_VAL}.jsonl")
    assert [len(path.read_text().splitlines()) for path in scores] == [12] * 4


def test_the_same_call_does_nothing_twice_and_more_trials_go_on(
    tmp_path: Path, drawn: set[str]
) -> None:
    options: Any = {"sweep": {}, "ranges": {"learner.inner_lr": "1e-4..1e-2:log"}}
    first = tuned(tmp_path, trials=2, **options)
    drawn.clear()
    assert tuned(tmp_path, trials=2, **options).record == first.record
    assert not drawn
    (study,) = tuned(tmp_path, trials=3, **options).studies
    assert [trial.values for trial in study.trials[:2]] == [
        trial.values for trial in first.studies[0].trials
    ]
    assert len(study.ended) == 3
    with pytest.raises(metabench.UsageError, match="holds the trials of another tuning"):
        tuned(tmp_path)


def test_a_tuning_that_was_stopped_gives_what_one_that_was_not_gives(tmp_path: Path) -> None:
    def stopping(event: RunEvent) -> None:
        if event.kind == "run-done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "a", on_event=stopping)
    begun = read_tuning(tmp_path / "a")
    assert begun is not None
    assert [trial.status for trial in begun.studies[0].trials] == ["unjudged", "unjudged"]
    whole, cut = tuned(tmp_path / "b"), tuned(tmp_path / "a")
    assert cut.studies == whole.studies


def test_a_second_process_is_kept_off(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock"), pytest.raises(metabench.MetabenchError, match="Another proc"):
        tuned(tmp_path)
    assert read_tuning(tmp_path) is None


def test_the_record_names_the_code_and_what_was_asked(tmp_path: Path) -> None:
    record = tuned(tmp_path).record
    assert read_tuning(tmp_path) == record
    assert {"harness", "learner maml"} <= record.provenance.code.keys()
    assert record.plan.sweep == RATES


def test_a_trial_that_fails_is_recorded_and_not_chosen(tmp_path: Path) -> None:
    unbounded = {"learner.inner_clip": None, "learner.max_norm": None}
    tuning = tuned(
        tmp_path,
        changes={**SHORT, **unbounded},
        sweep={"learner.inner_lr": [100.0, 0.001]},
    )
    (study,) = tuning.studies
    bad, good = study.trials
    assert (bad.status, bad.score) == ("failed", None)
    assert "diverged" in bad.error
    assert study.chosen == good.number
    assert "failed" in str(tuning)


def test_the_chosen_values_are_run_from_the_training_of_their_trial(tmp_path: Path) -> None:
    tuning = tuned(tmp_path / "T")
    (plan,) = tuning.plans
    runner = CliRunner()
    fresh = runner.invoke(app, ["run", str(plan), "--out", str(tmp_path / "fresh")])
    assert fresh.exit_code == 0, fresh.stderr
    (before,) = read_runs(tmp_path / "fresh").runs
    assert before.record.provenance.tuned == read_grid(plan).tuned
    words = ["tune", "--learner", "maml", "--suite", "toy-regression", "--budget", "smoke"]
    words += [word for name, value in SHORT.items() for word in ("--set", f"{name}={value}")]
    words += ["--set", "learner.inner_lr=0.001,0.01", "--limit", "4"]
    words += ["--out", str(tmp_path / "T"), "--run-into", str(tmp_path / "R")]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert "meta-train" not in done.stderr  # the trial is trained, and so is the run
    (after,) = read_runs(tmp_path / "R").runs
    assert after.record.provenance.tuned == before.record.provenance.tuned
    for name in ("episodes.jsonl", "metrics.jsonl"):
        assert (after.folder / name).read_bytes() == (before.folder / name).read_bytes()
    assert not (after.folder / "evaluations" / f"{META_VAL}.jsonl").exists()


def test_trackers_get_trials_with_their_number_and_then_the_chosen_run(tmp_path: Path) -> None:
    words = ["tune", "--learner", "maml", "--suite", "toy-regression", "--budget", "smoke"]
    words += [word for name, value in SHORT.items() for word in ("--set", f"{name}={value}")]
    words += ["--set", "learner.inner_lr=0.001,0.01", "--limit", "4", "--tracker", "csv"]
    words += ["--set", f"tracker[csv].folder={tmp_path / 'csv'}", "--out", str(tmp_path / "T")]
    assert CliRunner().invoke(app, words).exit_code == 0
    told = {file.parent: _table(file) for file in (tmp_path / "csv").rglob("parameters.csv")}
    assert sorted(facts["trial"] for facts in told.values()) == ["1", "2"]
    record = read_tuning(tmp_path / "T")
    assert record is not None
    (study,) = record.studies
    for folder, facts in told.items():
        trial = study.trials[int(facts["trial"]) - 1]
        assert facts["label"] == f"maml 10-shot trial {trial.number} seed 0"
        assert float(facts["learner.inner_lr"]) == trial.values["learner.inner_lr"]
        assert _table(folder / "end.csv") == {"status": "step", "done": "3"}
        rows = [row.split(",") for row in (folder / "scores.csv").read_text().splitlines()]
        assert {row[0] for row in rows[1:]} == {META_VAL}
        (mean,) = [float(row[3]) for row in rows if row[1] == "average" and row[2] == "mse"]
        assert mean == pytest.approx(trial.score)
    shutil.rmtree(tmp_path / "csv")  # trials that were made before reach a tracker as well
    done = CliRunner().invoke(app, [*words, "--run-into", str(tmp_path / "R")])
    assert done.exit_code == 0, done.stderr
    again = {file.parent: _table(file) for file in (tmp_path / "csv").rglob("parameters.csv")}
    assert {facts["label"] for facts in again.values()} >= {
        f"maml 10-shot trial {trial.number} seed 0"
        for trial in study.trials
        if trial.number != study.chosen
    }
    (run,) = read_runs(tmp_path / "R").runs
    assert run.record.provenance.trial is None
    (chosen,) = (tmp_path / "csv").rglob(f"{run.record.run_id}/scores.csv")
    assert "meta-test,average,mse" in chosen.read_text()


def _table(file: Path) -> dict[str, str]:
    rows = [line.split(",", 2) for line in file.read_text().splitlines()]
    return {row[0]: row[1] for row in rows}


def test_a_listener_hears_what_a_trial_scored(tmp_path: Path) -> None:
    heard: list[RunEvent] = []
    (study,) = tuned(tmp_path, on_event=heard.append).studies
    ends = [event for event in heard if event.kind == "run-done"]
    assert [event.run and event.run.made_with["trial"] for event in ends] == ["1", "2"]
    means = [{s.source: s.mean for s in event.scores}["average"] for event in ends]
    assert means == pytest.approx([trial.score for trial in study.trials])


def test_trials_that_several_processes_cannot_share_are_refused_before_any(tmp_path: Path) -> None:
    with pytest.raises(metabench.UsageError, match="makes its meta-steps in one process"):
        tuned(tmp_path, "reptile", sweep={"learner.inner_lr": [0.001, 0.01]}, ranks=2)
    assert not (tmp_path / "trials").exists()


@pytest.mark.parametrize("place", ["", "T", "T/trials"])
def test_trials_are_no_problem_of_a_folder_and_are_no_rows(tmp_path: Path, place: str) -> None:
    tuned(tmp_path / "T")
    found = read_runs(tmp_path / place)
    assert (found.runs, found.problems, len(found.others)) == ((), (), 2)
    refused = CliRunner().invoke(app, ["report", str(tmp_path / place)])
    assert refused.exit_code == 3
    assert "metabench run" in refused.stderr
    assert "not tested" not in refused.stderr


def test_a_report_beside_a_tuning_says_nothing_of_its_trials(tmp_path: Path) -> None:
    (plan,) = tuned(tmp_path / "T").plans
    CliRunner().invoke(app, ["run", str(plan), "--out", str(tmp_path / "R")])
    said = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert (said.exit_code, said.stderr) == (0, "")


def test_a_trial_that_is_being_made_is_not_said_to_wait(tmp_path: Path) -> None:
    seen = []

    def note(event: RunEvent) -> None:
        if event.phase == "meta-train":
            now = read_tuning(tmp_path)
            assert now is not None
            seen.append([trial.status for trial in now.studies[0].trials])

    tuned(tmp_path, on_event=note)
    assert ["unjudged", "unjudged"] in seen
    assert "waiting" not in str(seen)


def test_a_table_says_which_rows_were_tuned(tmp_path: Path) -> None:
    (plan,) = tuned(tmp_path / "T").plans
    CliRunner().invoke(app, ["run", str(plan), "--out", str(tmp_path / "R")])
    untuned = {"changes": SHORT, "budget": "smoke", "limit": 4, "out": tmp_path / "R"}
    metabench.run("maml", "toy-regression", **untuned, **QUIET)  # type: ignore[arg-type]
    text = CliRunner().invoke(app, ["report", str(tmp_path / "R"), "--caption", "full"]).stdout
    assert "tuned in 2 trials" in text
    assert "Values were tuned: maml" in text
    assert "learner.inner_lr of 0.001,0.01 by 2 grid trials" in " ".join(text.split())


def test_a_trial_on_a_single_episode_is_not_told_apart() -> None:
    better, worse = ({"a": np.array([[score]])} for score in (0.9, 0.1))
    assert _tied(worse, better)
    assert not _tied({"a": np.zeros((1, 40))}, {"a": np.ones((1, 40))})
