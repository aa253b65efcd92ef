"""Links in a results folder, which may come from anybody, lead no command to other files."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hostile_inputs import sound_results
from result_factory import make_spec, write_run
from typer.testing import CliRunner, Result

from metabench.cli import app

RUN = [
    *("run", "--learner", "support-mean", "--suite", "toy-regression", "--budget", "smoke"),
    *("--set", "protocol.episodes=2", "--device", "cpu"),
]
READERS = [
    ("report", "R"),
    ("report", "R", "--format", "html", "-o", "page.html"),
    ("report", "R", "--commands"),
    ("status", "R"),
    ("claims", "R"),
    ("compare", "maml", "reptile", "R"),
    ("genotypes", "R"),
    ("view", "R", "--bundle", "page"),
    ("leaderboard", "R", "--out", "site"),
    ("leaderboard", "R", "--new-entry", "e.yaml", "--submitter", "x"),
    ("figure", "curves", "R", "-o", "x.svg"),
    ("figure", "genotypes", "R", "-o", "x.svg"),
    ("figure", "embeddings", "R", "-o", "x.svg"),
    ("figure", "annealing", "R", "-o", "x.svg", "--learner", "mnas"),
    ("merge", "R", "--out", "merged"),
    ("track", "R", "--tracker", "csv"),
]
"""Commands that read results."""

_through_links: list[str] = []
"""Files that were opened although they, or folders below R above them, are links."""


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = Path(os.fsdecode(arguments[0]))
        below = [place for place in (path, *path.parents) if Path("R") in place.parents]
        if any(place.is_symlink() for place in below):
            _through_links.append(str(path))


sys.addaudithook(watch)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path / "cache"))
    Path("elsewhere").mkdir()


def metabench(*arguments: str | Path) -> Result:
    _through_links.clear()
    return CliRunner().invoke(app, [*map(str, arguments)])


def replace_by_link(path: Path, name: str = "moved") -> None:
    """Move a file or folder elsewhere, and leave a link to it."""
    moved = Path("elsewhere") / name
    path.rename(moved)
    path.symlink_to(moved.absolute())


def sentence(result: Result) -> str:
    """What a command says, on one line, once it has refused."""
    assert result.exit_code in (1, 3), result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_the_hook_sees_a_file_that_is_opened_through_a_link() -> None:
    Path("R").mkdir()
    (Path("R") / "file").touch()
    replace_by_link(Path("R") / "file")
    (Path("R") / "file").read_text()
    assert _through_links == ["R/file"]
    _through_links.clear()


@pytest.mark.slow
@pytest.mark.parametrize("command", READERS, ids=lambda command: " ".join(command[:2]))
@pytest.mark.parametrize("hidden", ["run.json", "episodes.jsonl", "others"])
def test_no_reader_opens_a_file_through_a_link(command: tuple[str, ...], hidden: str) -> None:
    """Where the record is none, the others are not even looked for, so each has its turn."""
    sound_results(Path("R"))
    first = {"run.json", "episodes.jsonl"}
    files = [path for path in sorted(Path("R").rglob("*")) if path.is_file()]
    files = [path for path in files if (path.name if path.name in first else "others") == hidden]
    assert files
    for n, file in enumerate(files):
        replace_by_link(file, str(n))
    result = metabench(*command)
    assert not _through_links
    assert result.exit_code in (0, 1, 2, 3), result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", ["run.json", "episodes.jsonl"])
def test_a_linked_file_of_a_run_is_named_and_the_other_runs_are_reported(name: str) -> None:
    write_run(Path("R"), make_spec("reptile"))
    run = write_run(Path("R"), make_spec("maml"))
    replace_by_link(run / name)
    result = metabench("report", "R", "--format", "csv")
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert f"{run}: {name}" in said.replace("/ ", "/")
    assert "it is a link" in said
    assert "reptile" in result.stdout
    assert "maml" not in result.stdout


def test_a_linked_folder_in_a_run_is_named() -> None:
    run = write_run(Path("R"), make_spec("maml"))
    (run / "evaluations").mkdir()
    replace_by_link(run / "evaluations")
    said = sentence(metabench("report", "R"))
    assert "evaluations is a link, so the run is not counted" in said


def test_folders_of_results_and_of_a_run_may_be_links() -> None:
    run = write_run(Path("R"), make_spec("maml"))
    Path("results").symlink_to("R")
    Path("run").symlink_to(run)
    for named in ("results", "run"):
        assert "maml" in metabench("report", named, "--format", "csv").stdout


@pytest.mark.parametrize(
    "name", ["run.json", "episodes.jsonl", "metrics.jsonl", "checkpoints", "evaluations"]
)
def test_a_run_writes_nothing_through_links(name: str) -> None:
    """Not even into a file that is not there yet."""
    assert metabench(*RUN, "--out", "R").exit_code == 0
    (record,) = Path("R").rglob("run.json")
    folder = record.parent
    shutil.rmtree(folder)
    folder.mkdir()
    target = Path("elsewhere") / "mine"
    target.write_text("half a line")
    for place in (target, target.with_name("none")):
        (folder / name).symlink_to(place.absolute())
        said = sentence(metabench(*RUN, "--out", "R"))
        assert f"{name} is a link, and the files of a run are neither read nor written" in said
        assert "Put what it leads to in its place" in said
        assert [path.name for path in Path("elsewhere").iterdir()] == ["mine"]
        assert target.read_text() == "half a line"
        (folder / name).unlink()
    assert metabench(*RUN, "--out", "R").exit_code == 0


def test_a_run_goes_on_where_the_results_folder_is_a_link() -> None:
    Path("R").symlink_to("elsewhere")
    assert metabench(*RUN, "--out", "R").exit_code == 0
    assert len([*Path("elsewhere").rglob("episodes.jsonl")]) == 1


@pytest.mark.slow
def test_weights_are_neither_exported_nor_taken_through_links() -> None:
    train = [
        *("run", "--learner", "maml", "--suite", "toy-regression", "--budget", "smoke"),
        *("--set", "budget.meta_steps=2", "--set", "budget.meta_batch=1", "--device", "cpu"),
        *("--set", "network.width=4", "--out", "R"),
    ]
    assert metabench(*train, "--set", "protocol.episodes=2").exit_code == 0
    (weights,) = Path("R").rglob("weights.safetensors")
    run = weights.parents[1]
    replace_by_link(weights)
    said = sentence(metabench("export", run, "--out", "x.safetensors"))
    assert "weights.safetensors is a link" in said
    assert not Path("x.safetensors").exists()
    again = metabench(*train, "--set", "protocol.episodes=3")
    assert again.exit_code == 0
    assert "takes the training" not in again.output
    new = [path for path in Path("R").rglob("weights.safetensors") if path != weights]
    assert [path.is_symlink() for path in new] == [False]
