from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_factory import make_spec, seal, with_score, write_run
from typer.testing import CliRunner

from metabench.cli import app

OTHER = [0.25] * 8


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seal(write_run(Path("A"), make_spec()))
    seal(write_run(Path("B"), make_spec(seed=1)))


def merge(*words: str) -> Any:
    return CliRunner().invoke(app, ["merge", *words])


def test_it_says_what_is_there() -> None:
    done = merge("A", "B", "--out", "C")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "C has 2 runs (1 from A, 1 from B); 2 of them are new.\n"
    assert merge("A", "B", "--out", "C").stdout.endswith("; 0 of them are new.\n")


def test_a_dry_run_says_what_would_be_there() -> None:
    done = merge("A", "B", "--out", "C", "--dry-run")
    assert done.stdout == "C would have 2 runs (1 from A, 1 from B).\n"
    assert not Path("C").exists()


def test_a_conflict_has_exit_code_3_and_a_hint() -> None:
    seal(write_run(Path("B"), make_spec(), OTHER))
    done = merge("A", "B", "--out", "C")
    assert done.exit_code == 3
    assert "Error: 1 disagreement, so nothing was written:" in done.stderr
    assert "A and B disagree: 8 of 8 episodes have other scores, by 25 at most" in done.stderr
    assert "--prefer FOLDER" in done.stderr
    assert done.stdout == ""
    values = json.loads(merge("A", "B", "--out", "C", "--json").stdout)
    assert len(values["conflicts"]) == 1
    assert values["new"] is None
    assert not Path("C").exists()
    done = merge("A", "B", "--out", "C", "--prefer", "B")
    assert done.exit_code == 0
    assert done.stderr.endswith("That of B is taken.\n")


def test_what_is_left_out_has_exit_code_1() -> None:
    (run,) = (path.parent for path in Path("B").rglob("run.json"))
    with_score(run, 0.25)
    done = merge("A", "B", "--out", "C")
    assert done.exit_code == 1
    assert done.stderr == (
        f"Not taken: {run}: episodes.jsonl was changed since the run wrote it.\n"
    )
    assert done.stdout == "C has 1 run (1 from A); 1 of them is new.\n"


def test_json_has_all_of_it() -> None:
    values = json.loads(merge("A", "B", "--out", "C", "--json").stdout)
    assert values["out"] == "C"
    assert values["new"] == 2
    assert [run["taken_from"] for run in values["runs"]] == ["A", "B"]
    spec = make_spec()
    assert values["runs"][0] == {
        "run_id": spec.run_id,
        "place": f"multidataset@5w1s/maml/{spec.run_id}",
        "taken_from": "A",
        "suite": "multidataset",
        "setting": "5w1s",
        "budget": "lite",
        "learner": "maml",
        "seed": 0,
        "status": "done",
    }
    assert (values["conflicts"], values["left_out"], values["notes"]) == ([], [], [])


def test_it_needs_folders_and_a_place() -> None:
    assert merge("A", "B").exit_code == 2
    assert merge("--out", "C").exit_code == 2
    done = merge("A", "--out", "A/C")
    assert done.exit_code == 2
    assert "A/C lies in A" in done.stderr


@pytest.mark.parametrize("words", [(), ("--dry-run",), ("--dry-run", "--json")])
def test_a_run_is_no_merged_folder(words: tuple[str, ...]) -> None:
    (run,) = (path.parent for path in Path("A").rglob("run.json"))
    done = merge("B", "--out", str(run / "C"), *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "C is in the folder of a run." in " ".join(done.stderr.split())
