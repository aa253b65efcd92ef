"""Runs passed on to trackers: everything once, and nobody waits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from result_factory import make_episodes, make_spec
from state_factory import write_going

from metabench.planning.runspec import RunSpec
from metabench.plugin.contracts.tracker import CurvePoint, RunEnd, RunFacts
from metabench.plugin.specs import RunEvent
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore
from metabench.results.tracker_notes import note_of, read_note
from metabench.running import tracking
from metabench.running.tracking import Followed, Following, following

SPEC = make_spec(episodes=2)
POINTS: list[dict[str, Any]] = [
    {"step": 1, "loss": 3.0},
    {"step": 2, "loss": 2.0},
    {"step": 2, "val_score": 0.5},
]
AS_SENT = [
    (1, "meta-train/loss", 3.0),
    (2, "meta-train/loss", 2.0),
    (2, "meta-val/val_score", 0.5),
]
STARTED = RunEvent(kind="run-started", run_id="a", label="maml")
DONE = RunEvent(kind="run-done", run_id="a", label="maml")
PROGRESS = RunEvent(kind="progress", run_id="a", label="maml", phase="meta-train")


class Memory:
    """A tracker that remembers what it is told; it can be asked to fail, or to wait."""

    def __init__(self) -> None:
        self.opened: list[tuple[RunFacts, str]] = []
        self.points: list[tuple[int, str, float]] = []
        self.ends: list[RunEnd] = []
        self.forgets = False
        self.before: Callable[[], None] = lambda: None

    def open(self, run: RunFacts, *, key: str) -> MemoryRun:
        self.before()
        self.opened.append((run, key))
        return MemoryRun(self, resumed=bool(key) and not self.forgets)


class MemoryRun:
    def __init__(self, memory: Memory, *, resumed: bool) -> None:
        self.key, self.resumed, self._memory = "mine", resumed, memory

    def log(self, points: Sequence[CurvePoint]) -> None:
        self._memory.before()
        for point in points:
            self._memory.points += [(point.step, n, value) for n, value in point.values.items()]

    def end(self, end: RunEnd) -> None:
        self._memory.ends.append(end)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "PAUSE", 0.01)
    monkeypatch.setattr(tracking, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that goes on."""
    return write_going(tmp_path, SPEC, POINTS, stamps=("lite",))


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def said() -> list[str]:
    return []


def follow(folder: Path, said: list[str], **trackers: Memory) -> Following:
    return Following(trackers, {"a": Followed(folder, "maml in words")}, say=said.append)


def add(folder: Path, *points: dict[str, Any]) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(f"{json.dumps(point)}\n" for point in points)


def finish(folder: Path, spec: RunSpec = SPEC, **changes: Any) -> None:
    """Make the run a finished one, with a score for each episode."""
    store = RunStore(folder)
    record = store.read_record()
    assert isinstance(record, RunRecord)
    scores = [0.25, 0.75, 0.5, 0.5][: spec.protocol.episodes * len(spec.sources)]
    store.append_episodes(make_episodes(spec, scores))
    store.write_record(record.model_copy(update={"status": "done", **changes}))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def test_a_tracker_gets_parameters_curves_and_scores(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    follower = follow(folder, said, memory=memory)
    follower.hear(STARTED)
    wait_for(lambda: memory.points)
    finish(folder)
    follower.hear(DONE)
    follower.close()
    ((facts, key),) = memory.opened
    assert (key, facts.label, facts.run_id) == ("", "maml in words", SPEC.run_id)
    assert facts.folder == folder
    assert facts.place == f"multidataset@5w1s/maml/{SPEC.run_id}"
    assert facts.stamps == ("lite",)
    assert facts.parameters["learner.inner_lr"] == 0.01
    assert memory.points == AS_SENT
    (end,) = memory.ends
    assert (end.status, end.step) == ("done", SPEC.training.meta_steps)
    assert [(one.name, one.mean, one.n) for one in end.scores] == [
        ("meta-test/bird/accuracy", 0.375, 2),
        ("meta-test/texture/accuracy", 0.625, 2),
        ("meta-test/average/accuracy", 0.5, 4),
    ]
    assert end.scores[0].half_width == pytest.approx(1.96 * 0.125 / 2**0.5)
    assert said == []


def test_a_finished_run_that_is_met_again_sends_nothing(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    finish(folder)
    for _ in range(2):
        follower = follow(folder, said, memory=memory)
        follower.hear(DONE)
        follower.close()
    assert (len(memory.opened), len(memory.ends)) == (1, 1)
    assert memory.points == AS_SENT


def test_a_finished_run_that_gets_further_scores_ends_again(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    finish(folder)
    with following({"memory": memory}, {"a": Followed(folder)}, say=said.append) as follower:
        follower.hear(DONE)
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    with_nll = [json.dumps(json.loads(line) | {"metrics": {"nll": 1.0}}) for line in lines]
    (folder / "episodes.jsonl").write_text("".join(f"{line}\n" for line in with_nll))
    with following({"memory": memory}, {"a": Followed(folder)}, say=said.append) as follower:
        follower.hear(DONE)
    assert [len(end.scores) for end in memory.ends] == [3, 6]
    assert memory.points == AS_SENT


def test_a_resumed_run_goes_on_where_the_tracker_is(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    """Its points after the checkpoint are made again; they are the same, and not sent again."""
    with following({"memory": memory}, {"a": Followed(folder)}, say=said.append) as follower:
        follower.hear(STARTED)
    assert [end.status for end in memory.ends] == ["interrupted"]
    RunStore(folder).rewind_metrics(1)
    again = follow(folder, said, memory=memory)
    again.hear(STARTED)
    wait_for(lambda: len(memory.opened) == 2)
    add(folder, *POINTS[1:], {"step": 3, "loss": 1.0})
    again.hear(PROGRESS)
    finish(folder)
    again.hear(DONE)
    again.close()
    assert [key for _, key in memory.opened] == ["", "mine"]
    assert memory.points == [*AS_SENT, (3, "meta-train/loss", 1.0)]
    assert [end.status for end in memory.ends] == ["interrupted", "done"]


def test_a_tracker_that_has_lost_the_run_gets_all_of_it(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    for _ in range(2):
        follower = follow(folder, said, memory=memory)
        follower.hear(STARTED)
        follower.close()
        memory.forgets = True
        add(folder, {"step": 3, "loss": 1.0})
    assert memory.points == [*AS_SENT, *AS_SENT, (3, "meta-train/loss", 1.0)]


def test_a_tracker_that_begins_late_gets_the_points_of_earlier_starts(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    add(folder, {"step": 3, "loss": 1.0})
    follower = follow(folder, said, memory=memory)
    follower.hear(STARTED)
    follower.close()
    assert memory.points == [*AS_SENT, (3, "meta-train/loss", 1.0)]


class _Gate:
    """Keeps a tracker waiting until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        self.opened.wait(20)


@pytest.fixture
def gate() -> Iterator[_Gate]:
    gate = _Gate()
    yield gate
    gate.opened.set()


def test_nobody_waits_for_a_tracker_that_hangs(
    folder: Path, memory: Memory, said: list[str], gate: _Gate
) -> None:
    memory.before, other = gate, Memory()
    follower = follow(folder, said, memory=memory, other=other)
    follower.hear(STARTED)
    assert gate.reached.wait(20)
    started = time.monotonic()
    for _ in range(1000):
        follower.hear(PROGRESS)
    finish(folder)
    follower.hear(DONE)
    assert time.monotonic() - started < 1
    follower.close(patience=0.1)
    assert said == [
        "The tracker memory is still busy: it lacks 3 points of curves of 1 run. The same command "
        "sends them."
    ]
    assert other.points == AS_SENT
    assert [end.status for end in other.ends] == ["done"]


def test_what_another_process_is_sending_is_not_sent_again(
    folder: Path, memory: Memory, said: list[str], gate: _Gate
) -> None:
    finish(folder)
    memory.before, other = gate, Memory()
    first, second = (follow(folder, said, memory=one) for one in (memory, other))
    first.hear(DONE)
    assert gate.reached.wait(20)
    second.hear(DONE)
    second.close(patience=0.3)
    assert said == [
        "The tracker memory is still busy: it lacks 3 points of curves of 1 run. The same command "
        "sends them."
    ]
    gate.opened.set()
    first.close()
    assert second.close()
    assert (memory.points, other.points) == (AS_SENT, [])
    assert [end.status for end in (*memory.ends, *other.ends)] == ["done"]


def test_a_tracker_is_asked_nothing_where_nothing_can_be_noted(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    finish(folder)
    (folder / "trackers").write_text("")
    follower = follow(folder, said, memory=memory)
    follower.hear(DONE)
    follower.close()
    assert memory.opened == []
    assert said[0].startswith("The tracker memory failed, and the runs go on without it: Cannot")


def test_a_tracker_that_fails_is_told_of_once_and_tried_again(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    failures = iter(range(3))

    def fail() -> None:
        if next(failures, None) is not None:
            raise OSError("no way to https://me:secret@host/api\nfor now")

    memory.before = fail
    follower = follow(folder, said, memory=memory)
    follower.hear(STARTED)
    wait_for(lambda: memory.points)
    finish(folder)
    follower.hear(DONE)
    follower.close()
    assert said == [
        "The tracker memory failed, and the runs go on without it: "
        "no way to https://host/api for now"
    ]
    assert memory.points == AS_SENT
    assert [end.status for end in memory.ends] == ["done"]


def test_what_a_tracker_that_is_away_lacks_is_said_and_sent_by_the_same_command(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    def fail() -> None:
        raise OSError("away")

    memory.before = fail
    finish(folder)
    follower = follow(folder, said, memory=memory)
    follower.hear(STARTED)
    follower.hear(DONE)
    follower.close()
    assert said == [
        "The tracker memory failed, and the runs go on without it: away",
        "The tracker memory failed: it lacks 3 points of curves of 1 run. The same command sends "
        "them.",
    ]
    memory.before = lambda: None
    again = follow(folder, said, memory=memory)
    again.hear(DONE)
    again.close()
    assert memory.points == AS_SENT
    assert len(said) == 2


def test_a_failed_run_ends_with_its_reason(folder: Path, memory: Memory, said: list[str]) -> None:
    store = RunStore(folder)
    record = store.read_record()
    assert record is not None
    store.write_record(record.model_copy(update={"status": "failed", "error": "it diverged"}))
    follower = follow(folder, said, memory=memory)
    follower.hear(RunEvent(kind="run-failed", run_id="a", label="maml", text="it diverged"))
    follower.close()
    assert [(end.status, end.text, end.step) for end in memory.ends] == [
        ("failed", "it diverged", 2)
    ]


def test_a_run_that_never_began_is_no_failure(
    tmp_path: Path, memory: Memory, said: list[str]
) -> None:
    follower = follow(tmp_path / "nowhere", said, memory=memory)
    follower.hear(DONE)
    follower.close()
    assert (memory.opened, said) == ([], [])


def test_an_error_of_the_system_is_told_without_its_number(
    folder: Path, memory: Memory, said: list[str]
) -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/nope")

    memory.before = fail
    finish(folder)
    follower = follow(folder, said, memory=memory)
    follower.hear(DONE)
    follower.close()
    assert said[0].endswith("go on without it: No such file or directory: /nope")
    assert follower.n_sent() == 0


def test_a_note_that_cannot_be_read_is_none(folder: Path) -> None:
    note_of(folder, "memory").parent.mkdir()
    note_of(folder, "memory").write_text("{")
    assert read_note(folder, "memory").sent == {}
