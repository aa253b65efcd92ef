"""The state of a run: planned, running, interrupted, failed, trained or done.

A run is *running* while a process holds its lock. Where the system has no locks to ask, it is
running if one of its files was written lately. A record that says ``running`` although nobody is at
work is of a process that was killed: the run is *interrupted*.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from metabench.results.schema import RunRecord
from metabench.results.store import is_at_work

State = Literal["planned", "running", "interrupted", "failed", "trained", "done"]
STATES: tuple[State, ...] = ("running", "failed", "interrupted", "planned", "trained", "done")
"""All states, those that want to be looked at first."""
LATELY = 900.0
"""Seconds within which a run must have written something, where locks cannot be asked."""
WRITTEN = ("run.json", "metrics.jsonl", "episodes.jsonl", "timings.jsonl")
"""Files of a run that change while it is made."""


def state_of(folder: Path, record: RunRecord) -> State:
    """The state of the run in a folder, of which this is the record."""
    if record.status != "running":
        return record.status
    at_work = is_at_work(folder)
    if at_work is None:
        at_work = time.time() - last_written(folder) < LATELY
    return "running" if at_work else "interrupted"


def last_written(folder: Path) -> float:
    """When a file of a run was last written, in seconds since 1970; 0 where there is none."""
    paths = (folder / name for name in WRITTEN)
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
