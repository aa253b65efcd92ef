"""Events that go from one process to another through a file."""

from pathlib import Path

from metabench import RunEvent
from metabench_plugins.executors.event_file import EventFile


def event(done: int) -> RunEvent:
    return RunEvent(
        kind="progress", run_id="r", label="maml seed 0", done=done, values={"loss": 0.1}
    )


def test_events_are_read_once_and_in_order(tmp_path: Path) -> None:
    ours, theirs = (EventFile(tmp_path / "run.events") for _ in range(2))
    assert theirs.read() == []
    ours.write(event(1))
    ours.write(event(2))
    assert theirs.read() == [event(1), event(2)]
    ours.write(event(3))
    assert theirs.read() == [event(3)]
    assert theirs.read() == []


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "run.events")
    file.write(event(1))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:20])
    assert file.read() == []
    file.path.write_bytes(whole)
    assert file.read() == [event(1)]


def test_a_line_torn_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "run.events")
    file.write(event(1))
    torn = file.path.read_bytes()[:40]
    file.path.write_bytes(torn + b"\n")
    file.write(event(2))
    assert file.read() == [event(2)]


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    EventFile(tmp_path / "gone" / "run.events").write(event(1))
    assert not (tmp_path / "gone").exists()
