"""One walk finds the records of a folder, and says which folders cannot be read."""

import errno
import os
from pathlib import Path

import pytest
from result_factory import make_spec, write_run
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import DataError
from metabench.results.folders import look_below
from metabench.results.overview import OverviewReader
from metabench.results.reading import read_runs


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two runs; the folder of one cannot be listed."""
    write_run(tmp_path / "open", make_spec("maml"))
    write_run(tmp_path / "closed", make_spec("reptile"))
    forbid(monkeypatch, tmp_path / "closed")
    return tmp_path


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int = errno.EACCES) -> None:
    # The rights of a folder do not hold root back, who may run the tests.
    real = os.scandir

    def scandir(path="."):
        if Path(os.fspath(path)) == folder:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def said(folder: Path) -> str:
    return f"{folder} cannot be read (Permission denied)."


def test_a_folder_that_cannot_be_read_is_a_problem_and_the_rest_is_read(closed):
    results = read_runs(closed)
    assert [run.record.spec.learner.name for run in results.runs] == ["maml"]
    assert results.problems == (said(closed / "closed"),)
    overview = OverviewReader(closed)()
    assert [run.learner for run in overview.runs] == ["maml"]
    assert overview.problems == (said(closed / "closed"),)


def test_commands_say_on_stderr_what_they_could_not_read(closed):
    status = CliRunner().invoke(app, ["status", str(closed)])
    assert (status.exit_code, status.stderr) == (1, f"{said(closed / 'closed')}\n")
    report = CliRunner().invoke(app, ["report", str(closed)])
    assert report.exit_code == 0
    assert said(closed / "closed") in report.stderr


def test_a_folder_of_which_nothing_can_be_read_does_not_look_empty(tmp_path, monkeypatch):
    write_run(tmp_path, make_spec())
    forbid(monkeypatch, tmp_path)
    status = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert (status.exit_code, status.stderr) == (1, f"{said(tmp_path)}\n")
    assert f"0 runs in {tmp_path}\n" in status.stdout.replace("\n/", " /")
    report = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert report.exit_code == 3
    assert said(tmp_path) in report.stderr


def test_a_folder_that_is_removed_meanwhile_is_passed_over(tmp_path, monkeypatch):
    write_run(tmp_path / "kept", make_spec())
    (tmp_path / "removed").mkdir()
    forbid(monkeypatch, tmp_path / "removed", errno.ENOENT)
    assert read_runs(tmp_path).problems == ()


def test_links_to_folders_are_not_followed(tmp_path):
    run = write_run(tmp_path / "R", make_spec())
    (tmp_path / "R" / "again").symlink_to(run)
    assert look_below(tmp_path / "R").holding("run.json") == [run]


def test_a_folder_that_nobody_may_enter_is_named(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(DataError, match=r"R cannot be read \(Permission denied\)\."):
        look_below(tmp_path / "R")


@pytest.mark.parametrize(
    "command",
    [
        ["status", "README.md"],
        ["report", "README.md"],
        ["claims", "README.md"],
        ["figure", "curves", "README.md"],
        ["genotypes", "README.md"],
        ["compare", "README.md", "maml", "R"],
        ["compare", "maml", "README.md", "R"],
        ["compare", "maml", "reptile", "README.md"],
    ],
)
def test_a_file_is_not_said_to_be_missing(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    write_run(Path("R"), make_spec("maml"))
    Path("README.md").touch()
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, DataError) or result.exit_code == 3
    shown = f"{result.output} {result.exception}"
    assert "README.md is a file, not a folder." in shown


def test_a_learner_is_found_although_a_file_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for learner in ("maml", "reptile"):
        write_run(Path("R"), make_spec(learner))
    Path("maml").touch()
    assert CliRunner().invoke(app, ["compare", "maml", "reptile", "R"]).exit_code == 0
