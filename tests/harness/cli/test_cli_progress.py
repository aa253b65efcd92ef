"""What is said of a run while it is made."""

from __future__ import annotations

import functools
import io
import re

import pytest
import rich.console

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


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("label", ["maml 5w1s seed 0", "mnas-shared-nm 20w5s [0.1] seed 12"])
def test_counts_and_the_time_left_are_shown_on_any_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int, label: str
) -> None:
    out = io.StringIO()
    console = functools.partial(
        rich.console.Console, file=out, force_terminal=True, width=width, legacy_windows=False
    )
    monkeypatch.setattr(rich.console, "Console", lambda stderr: console())
    monkeypatch.setattr(progress, "RATE_SECONDS", 0.0)
    with progress._bars(2) as show:
        for done in (1000, 30_000):
            event = RunEvent(
                kind="progress",
                run_id="0",
                label=label,
                phase="meta-train",
                done=done,
                total=60_000,
                values={"loss": 0.123456},
            )
            show(event)
        show(RunEvent(kind="run-done", run_id="1", label="other"))
        show(event)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert any(re.match(r"maml|mnas", line) and "30,000/60,000" in line for line in lines)
    assert any(re.search(r"30,000/60,000 .*\d:\d\d:\d\d left", line) for line in lines)
    assert any("runs  1/2" in line for line in lines)
    if width == 200:
        assert any(
            label in line and "loss 0.1235" in line and "steps/s" in line and "\u2501" in line
            for line in lines
        )


def test_skipped_steps_are_those_of_the_whole_run() -> None:
    event = RunEvent(
        kind="progress",
        run_id="0",
        label="maml",
        phase="meta-train",
        values={"loss": 0.5, "skipped": 3.0},
        skipped=1155,
    )
    assert progress.describe(event) == "loss 0.5, skipped 1,155"
