"""System calls that fail and kills at any point: the same command gives the undisturbed bytes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_harness import COMMANDS, Result, table, try_faults

SPREAD = 16
"""Points that are tried each time; all of them are tried before a release."""


@pytest.fixture
def fast_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the system has one: each case flushes some forty times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


def assert_held(results: list[Result]) -> None:
    sys.stdout.write(f"{table(results)}\n")
    wrong = [f"{result.case}: {result.wrong}" for result in results if result.wrong]
    assert not wrong, "\n\n".join([f"{len(wrong)} of {len(results)}", *wrong[:5]])


@pytest.mark.slow
def test_a_spread_of_points_holds(fast_disk: Path) -> None:
    results = try_faults(fast_disk, most=SPREAD, commands=list(COMMANDS))
    assert len(results) == SPREAD
    assert {result.case.command for result in results} == set(COMMANDS)
    assert_held(results)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("command", COMMANDS)
def test_every_point_holds(fast_disk: Path, command: str) -> None:
    results = try_faults(fast_disk, most=None, commands=[command])
    kinds = {result.case.kind for result in results}
    assert kinds == {"open", "write", "rename", "fsync", "flock"}
    assert_held(results)
