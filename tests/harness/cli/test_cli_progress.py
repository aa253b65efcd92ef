"""What is said of a run while it is made."""

from __future__ import annotations

import pytest

from metabench.cli import progress
from metabench.plugin.specs import RunEvent


def test_no_speed_is_said_of_events_that_come_in_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    rate = progress.Rate()

    def after(seconds: float, done: int) -> str:
        nonlocal now
        now += seconds
        return rate.update(
            RunEvent(
                kind="progress", run_id="0", label="maml", phase="meta-test", done=done, total=400
            )
        )

    assert after(0.0, 100) == ""
    assert after(0.00001, 300) == ""
    assert after(9.99999, 400) == "30 episodes/s, 0:00:00 left"
