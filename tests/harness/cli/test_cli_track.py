"""``metabench track``: runs that are made already reach a tracker once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from result_factory import make_spec, write_run
from state_factory import at_work, write_going
from typer.testing import CliRunner

from metabench.cli import app


def call(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["track", *map(str, words)])
    return result.exit_code, result.stderr


def test_finished_runs_are_passed_on_once(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = write_run(tmp_path, make_spec(seed=seed))
        (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert call(tmp_path, "--tracker", "csv") == (0, "Passed on: 2 runs.\n")
    curves = sorted(tmp_path.rglob("csv/**/curves.csv"))
    before = [(file.read_text(), file.stat().st_mtime_ns) for file in curves]
    assert [text for text, _ in before] == ["step,name,value\n1,meta-train/loss,2.0\n"] * 2
    assert call(tmp_path, "--tracker", "csv") == (0, "Nothing was left to send.\n")
    assert [(file.read_text(), file.stat().st_mtime_ns) for file in curves] == before


def test_files_that_are_gone_or_elsewhere_are_written(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "R", make_spec())
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    words = (tmp_path / "R", "--tracker", "csv")
    call(*words)
    (end,) = (tmp_path / "R").rglob("csv/**/end.csv")
    before = {file.name: file.read_bytes() for file in end.parent.iterdir()}
    end.unlink()
    assert call(*words) == (0, "Passed on: 1 run.\n")
    shutil.rmtree(tmp_path / "R" / "csv")
    assert call(*words) == (0, "Passed on: 1 run.\n")
    assert {file.name: file.read_bytes() for file in end.parent.iterdir()} == before
    there = (*words, "--set", f"tracker[csv].folder={tmp_path / 'again'}")
    assert call(*there) == (0, "Passed on: 1 run.\n")
    assert call(*there) == (0, "Nothing was left to send.\n")
    (again,) = (tmp_path / "again").rglob("end.csv")
    assert {file.name: file.read_bytes() for file in again.parent.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    write_run(tmp_path / "R", make_spec())
    (tmp_path / "file").touch()
    for _ in ("a new run", "one that the tracker had elsewhere"):
        words = ("--set", f"tracker[csv].folder={tmp_path / 'file'}")
        code, said = call(tmp_path / "R", "--tracker", "csv", *words)
        assert code == 1
        assert f"cannot write {tmp_path / 'file'}" in said
        assert "Errno" not in said
        assert call(tmp_path / "R", "--tracker", "csv")[0] == 0


def test_runs_at_work_are_left_to_their_process(tmp_path: Path) -> None:
    going = write_going(tmp_path, make_spec(seed=0), [{"step": 1, "loss": 2.0}])
    write_run(tmp_path, make_spec(seed=1))
    (tmp_path / "bent").mkdir()
    (tmp_path / "bent" / "run.json").write_text("{")
    (write_run(tmp_path, make_spec(seed=2)) / "run.json").unlink()
    with at_work(going):
        code, said = call(tmp_path, "--tracker", "csv")
    assert (code, said.splitlines()[-1]) == (0, "Passed on: 1 run.")
    assert "bent: run.json is not readable" in said
    assert "run.json is missing" in said
    assert call(tmp_path, "--tracker", "csv")[1].endswith("Passed on: 1 run.\n")
    assert len(list(tmp_path.rglob("end.csv"))) == 2


AWAY = """
from pathlib import Path

from metabench import Frozen, TrackerSpec, hookimpl


class Away:
    def __init__(self, params: Frozen, out: Path) -> None:
        pass

    def open(self, run, *, key):
        raise OSError("nobody answers")


@hookimpl
def metabench_trackers():
    yield TrackerSpec(name="away", version=1, summary="Away.", params=Frozen, factory=Away)
"""


def test_a_tracker_that_is_away_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path / "R", make_spec())
    file = tmp_path / "away.py"
    file.write_text(AWAY)
    code, said = call(tmp_path / "R", "--tracker", "away", "--plugin", file)
    assert code == 1
    assert "nobody answers" in said
    assert "The tracker away failed: it lacks the end of 1 run." in said
    assert "Error: Not all runs were passed on." in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "--tracker names nothing."),
        (["--tracker", "csv", "--set", "learner.x=1"], 2, "is no parameter of a tracker"),
        (["--tracker", "csv"], 3, "There is no run below"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    found = call(tmp_path, *words)
    assert found[0] == code
    assert said in found[1]
