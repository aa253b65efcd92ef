"""A listener that is slow makes no run wait, and hears all but progress that is older."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import metabench
from metabench.plugin.specs import RunEvent
from metabench.running.listening import aside

SLOW = """
import time
from pathlib import Path

from metabench import hookimpl

HERE = Path(__file__).parent


@hookimpl
def metabench_on_event(event):
    time.sleep(0.1)
    with (HERE / "heard.txt").open("a") as heard:
        heard.write(f"{event.run_id} {event.kind} {event.phase} {event.done}/{event.total}\\n")
"""


def event(kind: str, run: str = "a", phase: str = "", done: int = 0) -> RunEvent:
    return RunEvent(kind=kind, run_id=run, label=run, phase=phase, done=done)  # type: ignore[arg-type]


def no_word(sentence: str) -> None:
    raise AssertionError(sentence)


def test_progress_that_nobody_has_heard_gives_way_to_what_is_newer() -> None:
    heard: list[RunEvent] = []
    begun, go_on = threading.Event(), threading.Event()

    def listen(one: RunEvent) -> None:
        heard.append(one)
        begun.set()
        assert go_on.wait(60)

    first = event("run-started")
    with aside([("one", listen)], say=no_word) as hear:
        hear(first)
        assert begun.wait(60)
        for done in range(1000):
            for run in ("a", "b"):
                hear(event("progress", run, "meta-train", done))
        hear(event("message"))
        for done in range(1000):
            hear(event("progress", "a", "meta-test", done))
        hear(event("run-done", "b"))
        hear(event("run-done", "a"))
        assert heard == [first]
        go_on.set()
    assert heard == [
        first,
        event("progress", "a", "meta-train", 999),
        event("progress", "b", "meta-train", 999),
        event("message"),
        event("progress", "a", "meta-test", 999),
        event("run-done", "b"),
        event("run-done", "a"),
    ]


def test_who_is_quick_hears_all_in_order() -> None:
    heard: list[int] = []
    with aside([("one", lambda one: heard.append(one.done))], say=no_word) as hear:
        for done in range(20):
            hear(event("progress", "a", "meta-train", done))
            until = time.monotonic() + 60
            while len(heard) <= done and time.monotonic() < until:
                time.sleep(0.001)
    assert heard == [*range(20)]


def test_without_an_event_there_is_no_thread() -> None:
    before = threading.active_count()
    with aside([("one", lambda one: None)], say=no_word):
        assert threading.active_count() == before


def test_an_error_in_the_block_is_raised_once_all_is_heard() -> None:
    heard: list[RunEvent] = []

    def work() -> None:
        with aside([("one", heard.append)], say=no_word) as hear:
            hear(event("message"))
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        work()
    assert len(heard) == 1


def test_a_plugin_that_hangs_is_named_and_keeps_neither_the_end_nor_the_others_waiting() -> None:
    go_on = threading.Event()
    heard: list[RunEvent] = []
    said: list[str] = []

    def hang(one: RunEvent) -> None:
        go_on.wait(60)

    def slow(one: RunEvent) -> None:  # longer in all than the patience, and in no event
        time.sleep(0.1)
        heard.append(one)

    began = time.monotonic()
    listeners = [("pond", hang), ("quick", heard.append), ("slow", slow)]
    with aside(listeners, say=said.append, patience=2) as hear:
        for run in "abcdefghijklmnopqrstuvwxyz":
            hear(event("run-done", run))
    assert time.monotonic() - began < 30
    go_on.set()
    (sentence,) = said
    assert sentence.startswith("The plugin pond has been busy with one event for 2 seconds")
    assert len(heard) == 52


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_slow_plugin_hears_how_each_run_begins_and_ends(tmp_path: Path, jobs: int) -> None:
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    runs = metabench.run(
        "maml",
        "toy-regression",
        budget="smoke",
        changes={"budget.meta_steps": 100, "budget.meta_batch": 1, "network.width": 4},
        limit=4,
        seeds=range(jobs),
        out=tmp_path / "R",
        jobs=jobs,
        plugins=[plugin],
    )
    heard = [line.split() for line in (tmp_path / "heard.txt").read_text().splitlines()]
    for run_id in runs.to_frame()["run_id"]:
        of_run = [words[1:] for words in heard if words[0] == run_id]
        assert of_run[0][0] == "run-started"
        assert of_run[-1][0] == "run-done"
        steps = [words[2] for words in of_run if words[:2] == ["progress", "meta-train"]]
        assert steps[-1] == "100/100"
        assert len(steps) < 100
