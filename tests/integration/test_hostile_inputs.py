"""Hostile inputs of every kind: each is read or refused in a sentence, and nothing else happens."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hostile_inputs import TooLongError, within

SCRIPT = Path(__file__).parents[1] / "helpers" / "hostile_inputs.py"
KINDS = 21
MOST_MIB = 300
"""Memory that inputs may take above that of the same commands on sound files."""


def tried(folder: Path, n: int, *, seed: int = 0) -> dict[str, Any]:
    """What became of the inputs, in a process of its own, whose memory is that of the inputs."""
    command = [sys.executable, "-X", "faulthandler", str(SCRIPT), str(folder), str(n), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    for name, kind in found["kinds"].items():
        print(f"{name:<20} {kind['tried']:>5} tried {kind['refused']:>5} refused")  # noqa: T201
    return found


def check(found: dict[str, Any], *, of_each: int) -> None:
    assert [kind["tried"] for kind in found["kinds"].values()] == [of_each] * KINDS
    faults = [fault for kind in found["kinds"].values() for fault in kind["faults"]]
    assert not faults, "\n".join(fault[-1500:] for fault in faults)
    assert found["programs"] == []
    assert found["peak_mib_above_idle"] < MOST_MIB, found["costly"]
    refused = sum(kind["refused"] for kind in found["kinds"].values())
    assert refused > found["inputs"] / 2, "most of these inputs are hostile enough to be refused"


@pytest.mark.slow
def test_a_hundred_hostile_inputs_do_no_harm(tmp_path: Path) -> None:
    check(tried(tmp_path, 5 * KINDS), of_each=5)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [0, 1])
def test_a_thousand_hostile_inputs_do_no_harm(tmp_path: Path, seed: int) -> None:
    check(tried(tmp_path, 48 * KINDS, seed=seed), of_each=48)


def test_an_input_is_stopped_by_what_it_computes_or_waits_and_not_by_a_busy_machine() -> None:
    def compute() -> None:
        while True:
            pass

    with within(0.2, wait=60):
        time.sleep(0.5)  # as where another process has the processor
    with pytest.raises(TooLongError), within(0.2, wait=60):
        compute()
    with pytest.raises(TooLongError), within(60, wait=0.2):
        time.sleep(60)
