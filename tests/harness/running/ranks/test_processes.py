"""Runs by real processes: the same result, and honest ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from gloo_step import step_of, steps_by_gloo
from team_factory import close, lines

from metabench import run
from metabench.conformance.learners import ROUNDING
from metabench.conformance.ranks import distance
from metabench.conformance.samples import same
from metabench.plugin.contracts.ranks import ONE_RANK
from metabench.plugin.specs import RunEvent
from metabench.results.schema import RunRecord

pytestmark = pytest.mark.slow

TOY = {"budget.meta_steps": 6, "budget.meta_batch": 3, "protocol.episodes": 30}
IMAGES = {"budget.meta_steps": 3, "budget.meta_batch": 3, "protocol.episodes": 30}


def test_the_gradients_of_processes_are_those_of_one_in_float64() -> None:
    learners = {"maml": "regression", "mnas": "regression", "protonet": "classification"}
    shared = steps_by_gloo(learners, 2)
    for name, kind in learners.items():
        wanted, (whole,), _ = step_of(name, kind, ONE_RANK)
        (_, _, first), (_, _, second) = shared[name]
        assert same(first, second)
        for logged, (gradients,), _ in shared[name]:
            assert len(gradients) > 2
            assert distance(gradients, whole) < ROUNDING
            assert distance([*logged.values()], [*wanted.values()]) < ROUNDING


def record(folder: Path) -> RunRecord:
    return RunRecord.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))


def alone(learner: str, suite: str, changes: dict[str, int], out: Path) -> None:
    """Make a run in this process."""
    run(
        learner, suite, budget="smoke", changes=changes, data="synthetic", out=out,
        device="cpu", on_event=lambda event: None,
    )  # fmt: skip


def assert_same_results(one: Path, other: Path, count: int) -> None:
    """Assert that runs are there in two folders, and were made by one and by some processes."""
    found = sorted(path.parent for path in other.rglob("run.json"))
    assert len(found) == count
    for folder in found:
        beside = one / folder.relative_to(other)  # the same run id
        assert record(folder).status == "done"
        assert record(folder).provenance.ranks == ("2 gloo",)
        assert record(beside).provenance.ranks == ()
        for name in ("metrics.jsonl", "episodes.jsonl"):
            rows = lines(folder / name)
            assert len(rows) > 2
            assert close(rows, lines(beside / name))


def test_two_processes_make_the_run_of_one(tmp_path: Path) -> None:
    alone("protonet", "omniglot", IMAGES, tmp_path / "one")
    run(
        "protonet", "omniglot", budget="smoke", changes=IMAGES, data="synthetic",
        out=tmp_path / "two", device="cpu", ranks=2, on_event=lambda event: None,
    )  # fmt: skip
    assert_same_results(tmp_path / "one", tmp_path / "two", 1)


def test_a_process_that_is_killed_ends_the_run_and_it_resumes(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(event: RunEvent) -> None:
        if event.phase == "meta-train" and event.done >= 2 and not killed:
            (follower,) = active_children()
            assert follower.pid is not None
            os.kill(follower.pid, signal.SIGKILL)
            killed.append(follower.pid)

    given: dict[str, Any] = {
        "budget": "smoke", "changes": {**TOY, "budget.meta_steps": 40}, "out": tmp_path,
        "device": "cpu", "check": False,
    }  # fmt: skip
    runs = run("maml", "toy-regression", ranks=2, on_event=kill, **given)
    (outcome,) = runs.outcomes
    assert outcome.status == "failed"
    assert outcome.text.startswith("Process 2 of 2 has ended with signal SIGKILL.")
    assert "Run the same command to resume" in outcome.hint
    (file,) = tmp_path.rglob("run.json")
    assert record(file.parent).status == "failed"
    run("maml", "toy-regression", on_event=lambda event: None, **given)
    assert record(file.parent).status == "done"


def test_torchrun_starts_the_processes(tmp_path: Path) -> None:
    torchrun = shutil.which("torchrun", path=str(Path(sys.executable).parent))
    if torchrun is None:
        pytest.skip("torchrun is not beside the Python that runs the tests")
    sets = [word for name, value in TOY.items() for word in ("--set", f"{name}={value}")]
    done = subprocess.run(
        [torchrun, "--nproc-per-node", "2", "-m", "metabench", "run", "--learner", "maml,mnas",
         "--suite", "toy-regression", "--budget", "smoke", "--data", "synthetic",
         "--device", "cpu", *sets,
         "--out", str(tmp_path / "two")],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Runs: 2 done.") == 1, "one process alone speaks"
    for learner in ("maml", "mnas"):
        alone(learner, "toy-regression", TOY, tmp_path / "one")
    assert_same_results(tmp_path / "one", tmp_path / "two", 2)
