"""Showing never decides: a run ends well whatever happens to its screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = [
    *(sys.executable, "-m", "metabench", "run", "--learner", "maml", "--suite", "toy-regression"),
    *("--budget", "smoke", "--limit", "4", "--seed", "0..1", "--device", "cpu"),
    *("--set", "budget.meta_steps=4", "--set", "budget.meta_batch=2", "--out"),
]


def statuses(out: Path) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in out.rglob("run.json")]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_reader_that_leaves_stops_no_run(tmp_path: Path, jobs: str) -> None:
    command = [*RUN, str(tmp_path), "--jobs", jobs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.stdout.close()
        assert run.wait(timeout=300) == 0
    assert statuses(tmp_path) == ["done", "done"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "redirect", ["2>/dev/full", pytest.param("2>&-", marks=pytest.mark.exhaustive), ">&- 2>&-"]
)
def test_a_screen_that_fails_stops_no_run(tmp_path: Path, redirect: str) -> None:
    command = " ".join([*RUN, str(tmp_path), redirect])
    assert subprocess.run(["sh", "-c", command], timeout=300, check=False).returncode == 0
    assert statuses(tmp_path) == ["done", "done"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_characters_that_a_terminal_lacks_are_shown_by_code(encoding: str) -> None:
    results = Path(__file__).parents[2] / "results" / "omniglot-lite"
    command = [sys.executable, "-m", "metabench", "report", str(results)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"maml" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("report results/omniglot-lite >/dev/full", "No space left on device"),
        (f"report results/omniglot-lite -o {'x' * 300}.md", "File name too long"),
        (f"report {'x' * 300}", "File name too long"),
        (f"run --learner maml --suite toy-regression --out {'x' * 300}", "File name too long"),
    ],
)
def test_an_error_of_the_system_is_a_sentence(words: str, said: str) -> None:
    command = f"{sys.executable} -m metabench {words}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in (1, 2, 3)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_stdout_is_no_error() -> None:
    command = f"{sys.executable} -m metabench report results/omniglot-lite >&-"
    root = Path(__file__).parents[2]
    done = subprocess.run(["sh", "-c", command], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_no_color_is_obeyed() -> None:
    command = [sys.executable, "-m", "metabench", "show", "nothing"]
    env = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
