"""A record holds the digests of its files of scores, so a file that was edited is named."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from result_factory import edit_json, make_spec, seal, with_score, write_run
from typer.testing import CliRunner

from metabench.cli import app
from metabench.planning.runspec import RunSpec
from metabench.results.reading import read_record, read_runs
from metabench.results.store import RunStore

EDITED = (
    "episodes.jsonl was changed since the run wrote it: its SHA-256 is not the one in run.json, so "
    "it is not counted."
)


def with_evaluation(folder: Path) -> None:
    (folder / "evaluations").mkdir()
    (folder / "evaluations" / "dense.jsonl").write_bytes((folder / "episodes.jsonl").read_bytes())
    grid = {"low": 0.0, "high": 1.0, "points": 10}
    edit_json(folder / "run.json", evaluations={"dense": {"grid": grid}})


@pytest.fixture
def spec() -> RunSpec:
    return make_spec()


@pytest.fixture
def run(tmp_path: Path, spec: RunSpec) -> Path:
    return write_run(tmp_path, spec)


def test_the_digests_are_those_of_the_files(run: Path) -> None:
    (run / "genotypes.jsonl").write_text("{}\n")
    (run / "timings.jsonl").write_text("{}\n")
    with_evaluation(run)
    found = RunStore(run).digests()
    assert found.keys() == {"episodes.jsonl", "genotypes.jsonl", "evaluations/dense.jsonl"}
    for name, digest in found.items():
        assert digest == sha256((run / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("kept", [False, True])
def test_edited_scores_are_named_and_not_counted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    if kept:  # what was read of the file is kept, and is read again from there
        monkeypatch.setenv("METABENCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("metabench.results.episode_columns.settled", lambda stamps: True)
    write_run(tmp_path, make_spec("reptile"))
    seal(run)
    assert len(read_runs(tmp_path).runs) == 2
    with_score(run, 0.75)
    for _ in range(2):
        results = read_runs(tmp_path)
        assert [one.record.spec.learner.name for one in results.runs] == ["reptile"]
        assert results.problems == (f"{run}: {EDITED}",)


@pytest.mark.parametrize("command", ["report", "compare"])
def test_the_commands_say_so(run: Path, tmp_path: Path, command: str) -> None:
    write_run(tmp_path, make_spec(seed=1))
    write_run(tmp_path, make_spec("reptile"))
    seal(run)
    with_score(run, 0.75)
    sides = ["maml", "reptile"] if command == "compare" else []
    done = CliRunner().invoke(app, [command, *sides, str(tmp_path)])
    assert done.exit_code == 0
    assert f"{run}: {EDITED}" in done.stderr


def test_lost_episodes_are_said_beside(run: Path) -> None:
    seal(run)
    path = run / "episodes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    (problem,) = read_runs(run).problems
    assert "was changed since the run wrote it (only 5 of the 8 episodes" in problem
    assert not read_runs(run).runs


def test_an_edited_evaluation_is_not_counted_and_the_headline_is(run: Path) -> None:
    with_evaluation(run)
    seal(run)
    assert "dense" in read_runs(run).runs[0].evaluations
    with_score(run, 0.75, file="evaluations/dense.jsonl")
    results = read_runs(run)
    assert not results.runs[0].evaluations
    assert "evaluation dense is not counted: dense.jsonl was changed" in results.problems[0]


def test_of_an_older_record_nothing_is_said(run: Path) -> None:
    with_score(run, 0.75)
    results = read_runs(run)
    assert len(results.runs) == 1
    assert results.problems == ()


def test_what_a_repeated_test_makes_anew_is_removed(run: Path) -> None:
    store = RunStore(run)
    for name in ("genotypes.jsonl", "metrics.jsonl"):
        (run / name).write_text('{"index":0}\n')
    with_evaluation(run)
    seal(run)
    record = read_record(run)
    assert store.changed(record) == []
    for name in ("genotypes.jsonl", "metrics.jsonl"):
        (run / name).write_text('{"index":1}\n')
    assert store.changed(record) == ["genotypes.jsonl", "metrics.jsonl"]
    store.forget_changed(record)
    left = {path.relative_to(run).as_posix() for path in run.rglob("*.jsonl")}
    assert left == {"metrics.jsonl", "evaluations/dense.jsonl"}


def test_a_record_cannot_name_files_that_are_no_scores(run: Path, tmp_path: Path) -> None:
    seal(run)
    (tmp_path / "mine.jsonl").write_text("{}\n")
    (run / "timings.jsonl").write_text("{}\n")
    names = ("timings.jsonl", "run.json", "../../../mine.jsonl", str(tmp_path / "mine.jsonl"))
    digests = {**RunStore(run).digests(), **dict.fromkeys(names, "0" * 64)}
    record = read_record(run).model_copy(update={"digests": digests})
    assert RunStore(run).changed(record) == []
    RunStore(run).forget_changed(record)
    assert (tmp_path / "mine.jsonl").exists()
    assert (run / "timings.jsonl").exists()


@pytest.mark.parametrize("words", [["genotypes"], ["figure", "curves"]])
def test_what_is_shown_beside_the_scores_is_named_too(
    run: Path, tmp_path: Path, words: list[str]
) -> None:
    (run / "genotypes.jsonl").write_text('{"genotype":{"a":[[0,1,"skip"]]},"index":0}\n')
    (run / "metrics.jsonl").write_text('{"step":1,"loss":0.5}\n{"step":2,"loss":0.25}\n')
    seal(run)
    for name in ("genotypes.jsonl", "metrics.jsonl"):
        (run / name).write_text((run / name).read_text().replace("0", "1", 1))
    place = [] if words == ["genotypes"] else ["-o", str(tmp_path / "figure.svg")]
    done = CliRunner().invoke(app, [*words, str(run), *place])
    named = "genotypes.jsonl and metrics.jsonl were changed since the run wrote them."
    assert f"{run}: {named}" in done.stderr
