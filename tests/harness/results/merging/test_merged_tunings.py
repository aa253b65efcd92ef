"""Tunings, plans and the runs of trials travel along with the runs of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_factory import PROVENANCE, make_spec, seal, write_run

import metabench
from metabench.errors import DataError
from metabench.planning.plan import PlannedRun
from metabench.planning.tuning import TuningPlan
from metabench.results.metrics import FORMER
from metabench.results.plans import announced
from metabench.results.tunings import (
    CHOSEN,
    TRIALS,
    StudyRecord,
    Trial,
    TuningRecord,
    read_tuning,
    write_tuning,
)

TRIAL = f"multidataset@5w1s/maml/{make_spec().run_id}"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tuned(out: str, *scores: float, sampler_seed: int = 0) -> Path:
    """A tuning with a trial for each score, a run of its first, and the plan of what it chose."""
    folder = Path(out)
    plan = TuningPlan(
        learners=("maml",),
        suites=("multidataset",),
        sweep={"learner.inner_lr": (0.1, 0.2)},
        sampler_seed=sampler_seed,
    )
    trials = tuple(
        Trial(number=i, values={"learner.inner_lr": i / 10}, status="done", by_seed=(score,))
        for i, score in enumerate(scores, start=1)
    )
    study = StudyRecord(
        name="multidataset@5w1s@maml",
        suite="multidataset",
        suite_version=1,
        setting="5w1s",
        budget="lite",
        learner="maml",
        metric=FORMER["accuracy"],
        episodes=8,
        seeds=(0,),
        parameters={"learner.inner_lr": "0.1,0.2"},
        trials=trials,
    )
    record = TuningRecord(
        digest=plan.digest, plan=plan, sampler="grid", provenance=PROVENANCE, studies=(study,)
    )
    write_tuning(record, folder)
    (folder / CHOSEN).mkdir()
    (folder / CHOSEN / "multidataset@5w1s@maml.yaml").write_text(f"learners: [maml]  # {scores}")
    run = write_run(folder / TRIALS, make_spec(), status="trained")
    (run / "evaluations").mkdir()
    (run / "episodes.jsonl").rename(run / "evaluations" / "meta-val.jsonl")
    seal(run)
    return folder


def test_a_tuning_travels_with_its_trials_and_plans() -> None:
    tuned("A/tuning", 0.5, 0.25)
    merged = metabench.merge("A", out="C")
    assert [run.place for run in merged.runs] == [f"tuning/trials/{TRIAL}"]
    assert read_tuning(Path("C/tuning")) == read_tuning(Path("A/tuning"))
    names = ("chosen/multidataset@5w1s@maml.yaml", f"trials/{TRIAL}/evaluations/meta-val.jsonl")
    for name in names:
        assert Path("C/tuning", name).read_bytes() == Path("A/tuning", name).read_bytes()
    assert merged.notes == ()
    assert metabench.merge("A", out="C").new == 0


def test_of_one_tuning_the_record_with_more_trials_is_taken() -> None:
    tuned("A", 0.5)
    longer = tuned("B", 0.5, 0.25)
    metabench.merge("A", "B", out="C")
    assert read_tuning(Path("C")) == read_tuning(longer)
    name = f"{CHOSEN}/multidataset@5w1s@maml.yaml"
    assert Path("C", name).read_bytes() == (longer / name).read_bytes()


@pytest.mark.parametrize(
    ("score", "seed", "words"),
    [
        (0.25, 0, "trial 1 of multidataset@5w1s@maml is another one or has another score"),
        (0.5, 1, "they are other tunings"),
    ],
)
def test_tunings_that_disagree_are_a_conflict(score: float, seed: int, words: str) -> None:
    tuned("A", 0.5)
    preferred = tuned("B", score, sampler_seed=seed)
    with pytest.raises(DataError, match=f"tuning.json: A and B disagree: {words}"):
        metabench.merge("A", "B", out="C")
    assert not Path("C").exists()
    metabench.merge("A", "B", out="C", prefer="B")
    assert read_tuning(Path("C")) == read_tuning(preferred)


def test_trials_with_other_scores_are_a_conflict() -> None:
    tuned("A", 0.5)
    tuned("B", 0.5)
    run = Path("B", TRIALS, TRIAL)
    path = run / "evaluations" / "meta-val.jsonl"
    path.write_text(path.read_text().replace("0.5", "0.75"))
    seal(run)
    with pytest.raises(DataError, match=r"their evaluations/meta-val\.jsonl differ"):
        metabench.merge("A", "B", out="C")


def test_plans_travel_but_for_those_at_work() -> None:
    write_run(Path("A"), make_spec())
    write_run(Path("B"), make_spec())
    Path("A/plan.yaml").write_text("learners: [maml]")
    Path("B/plan.yaml").write_text("learners: [reptile]")
    planned = [PlannedRun(make_spec(seed=seed), (), "metabench run") for seed in (1, 2)]
    with announced(planned, Path("A")):  # it stays, since the runs have not begun
        assert not metabench.merge("A", out="D").notes
        assert not Path("D/.plans").exists()
    merged = metabench.merge("A", "B", out="C")
    assert merged.notes == ("plan.yaml: that of B is another one, and is not taken.",)
    assert Path("C/plan.yaml").read_text() == "learners: [maml]"
    (kept,) = Path("A/.plans").iterdir()
    assert (Path("C/.plans") / kept.name).read_bytes() == kept.read_bytes()
