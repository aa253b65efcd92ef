"""Events that go from one process to another through a file."""

from pathlib import Path

from tracked_runs import run_facts

from metabench import RunEvent, RunScore
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


def test_the_parameters_and_the_scores_of_a_run_arrive(tmp_path: Path) -> None:
    facts = run_facts(tmp_path, parameters={"a": 1, "b": 1.0, "c": True, "d": None, "e": "1"})
    score = RunScore(metric="mse", source="sine", mean=0.1, half_width=None, n=1)
    sent = RunEvent(kind="run-done", run_id="r", label="maml", run=facts, scores=(score,))
    file = EventFile(tmp_path / "events.jsonl")
    file.write(sent)
    (found,) = file.read()
    assert found == sent
    assert found.run is not None
    assert [type(value) for value in found.run.parameters.values()] == [
        type(value) for value in facts.parameters.values()
    ]


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
