"""Files of a run that a power cut left are mended by the same command."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from metabench.data.plain_files import MAX_ROWS
from metabench.errors import DataError
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.specs import RunEvent
from metabench.results.store import RunStore
from metabench.running.loops import Control
from metabench.running.mending import mend
from metabench.running.run import RunExecution

FILES = ("episodes.jsonl", "metrics.jsonl")
ROWS = ("genotypes.jsonl", "embeddings.jsonl")
NULS = bytes(64)


class Killed(BaseException):
    """Stands for a SIGKILL: nothing gets a chance to save."""


def planned(catalog: Catalog, learner: str) -> PlannedRun:
    request = RunRequest(
        learners=(learner,),
        suite="toy-regression",
        budget="smoke",
        space="toy-cell" if learner == "mnas" else None,
        changes={
            "budget": {"meta_steps": 4, "meta_batch": 1},
            "protocol": {"episodes": 2, "selection": "last"},
        },
    )
    return plan(request, catalog)[0]


def make(
    catalog: Catalog, out: Path, *, learner: str = "maml", kill_in: str = ""
) -> tuple[Path, list[str]]:
    """Make a run, or kill it after three steps or all episodes; return its folder and sentences."""
    said: list[str] = []

    def emit(event: RunEvent) -> None:
        if event.kind == "message":
            said.append(event.text)
        if event.kind == "progress" and event.phase == kill_in and event.done >= 3:
            raise Killed

    control = Control(emit=emit, stopped=lambda: False, checkpoint_seconds=0.0)
    device = torch.device("cpu")
    run = planned(catalog, learner)
    execution = RunExecution(run, catalog, out=out, device=device, control=control)
    try:
        execution()
    except Killed:
        assert kill_in
    return execution.store.folder, said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run, undisturbed."""
    return make(load_catalog(), tmp_path_factory.mktemp("whole"))[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the run, killed in its meta-training."""
    out = tmp_path_factory.mktemp("trained")
    make(load_catalog(), out, kill_in="meta-train")
    return out


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a searching run, killed after its last episode."""
    out = tmp_path_factory.mktemp("searched")
    make(load_catalog(), out, learner="mnas", kill_in="meta-test")
    return out


def end_alike(folder: Path, whole: Path) -> None:
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(
    "content", [b"", NULS, b'{"schema_number": 1, "run'], ids=["empty", "zeros", "half"]
)
def test_a_record_that_is_no_record_is_set_aside(
    catalog: Catalog, tmp_path: Path, trained: Path, whole: Path, content: bytes
) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    (path,) = out.rglob("run.json")
    path.write_bytes(content)
    folder, said = make(catalog, out)
    assert f"{path} is no record; it is now called run.json.damaged." in said
    assert (folder / "run.json.damaged").read_bytes() == content
    end_alike(folder, whole)


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl"])
@pytest.mark.parametrize("tail", [NULS, b'{"step": 9, "lo'], ids=["zeros", "half"])
def test_a_torn_last_line_is_cut_off(
    catalog: Catalog, tmp_path: Path, trained: Path, whole: Path, name: str, tail: bytes
) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    (path,) = out.rglob(name)
    with path.open("ab") as file:
        file.write(tail)
    folder, said = make(catalog, out)
    assert said == [text for text in said if text.startswith("resumes")]
    assert tail not in path.read_bytes()
    end_alike(folder, whole)


@pytest.mark.parametrize(
    "line",
    [NULS, b'{"loss": 1.0}', b'{"step": "2"}', b"[]", b"\xff"],
    ids=["zeros", "no step", "a word", "a list", "no text"],
)
def test_a_damaged_point_is_set_aside_with_a_sentence(
    catalog: Catalog, tmp_path: Path, trained: Path, whole: Path, line: bytes
) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    (path,) = out.rglob("metrics.jsonl")
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([line, b"\n", *others]))
    folder, said = make(catalog, out)
    assert said[0].startswith(f"1 line of {path} was damaged;")
    assert (folder / "metrics.jsonl.damaged").read_bytes().startswith(line)
    assert first + path.read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (folder / "episodes.jsonl").read_bytes() == (whole / "episodes.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("left", [pytest.param(0, marks=pytest.mark.exhaustive), 1, "damaged"])
def test_a_row_that_is_missing_is_made_again_with_its_episode(
    catalog: Catalog, tmp_path: Path, searched: Path, name: str, left: int | str
) -> None:
    out = shutil.copytree(searched, tmp_path / "out")
    (path,) = out.rglob(name)
    before = {one: (path.parent / one).read_bytes() for one in (*FILES, *ROWS)}
    rows = before[name].splitlines(keepends=True)
    kept = [rows[0], NULS, *rows[2:]] if left == "damaged" else rows[: int(left)]
    path.write_bytes(b"".join(kept))
    folder, _ = make(catalog, out, learner="mnas")
    for one, content in before.items():
        assert (folder / one).read_bytes() == content, one


def test_bytes_that_are_no_text_are_cut_off_with_the_episodes_after_them(tmp_path: Path) -> None:
    (tmp_path / "genotypes.jsonl").write_text('{"index":0}\n{"index":1}\n')
    episode = '{"index":0,"source":"a","key":"k","score":0.5}\n'
    (tmp_path / "episodes.jsonl").write_bytes(episode.encode() + b"\xff\n{}\n")
    assert list(mend(RunStore(tmp_path), rows={"genotypes": 9})) == []
    assert (tmp_path / "episodes.jsonl").read_text() == episode


def test_a_record_that_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(DataError, match="not a readable run record"):
        list(mend(RunStore(tmp_path), rows={}))


def test_rows_that_are_too_large_to_read_are_named_with_what_to_do(
    catalog: Catalog, tmp_path: Path, trained: Path
) -> None:
    out = shutil.copytree(trained, tmp_path / "out")
    (path,) = out.rglob("metrics.jsonl")
    with path.open("ab") as rows:
        rows.truncate(MAX_ROWS + 1)
    with pytest.raises(
        DataError, match=r"metrics.jsonl is not read: it has more than 268"
    ) as found:
        make(catalog, out)
    assert f"Move {path.parent} away, and run the same command" in found.value.hint
