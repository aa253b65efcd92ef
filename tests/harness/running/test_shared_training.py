"""One training serves all its tests; where code differs or something is missing, it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_loops import Killed, kill_at, planned, run

from metabench.planning.plan import PlannedRun
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import RunEvent
from metabench.results.reading import read_runs
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore
from metabench.running import shared_training
from metabench.running.loops import Interrupted

FILES = ("episodes.jsonl", "metrics.jsonl", "checkpoints/weights.safetensors")


def to_test(catalog: Catalog, episodes: int, **protocol: object) -> PlannedRun:
    return planned(
        catalog, protocol={"episodes": episodes, "selection": "last", "train_shots": 10, **protocol}
    )


def made(
    planned_run: PlannedRun, catalog: Catalog, out: Path
) -> tuple[RunRecord, Path, list[RunEvent]]:
    events: list[RunEvent] = []
    execution = run(planned_run, catalog, out, emit=events.append)
    return execution(), execution.store.folder, events


def trained(events: list[RunEvent]) -> bool:
    return any(event.phase == "meta-train" for event in events)


def said(events: list[RunEvent]) -> list[str]:
    return [event.text for event in events if event.kind == "message"]


def test_one_training_serves_tests_of_any_length(catalog: Catalog, tmp_path: Path) -> None:
    first, origin, events = made(to_test(catalog, 5), catalog, tmp_path)
    assert trained(events)
    for episodes in (10, 20):
        own = to_test(catalog, episodes)
        record, folder, events = made(own, catalog, tmp_path)
        assert not trained(events)
        assert said(events) == [f"takes the training of {first.run_id}"]
        assert record.training_from == first.run_id
        assert record.training_id == first.training_id
        assert record.train_seconds == first.train_seconds
        assert record.selected_step == first.selected_step
        assert record.provenance.engine == first.provenance.engine
        timings = (folder / "timings.jsonl").read_text().splitlines()
        assert "meta-train" not in {json.loads(line)["phase"] for line in timings}
        _, alone, _ = made(own, catalog, tmp_path / f"alone-{episodes}")
        for name in FILES:
            assert (folder / name).read_bytes() == (alone / name).read_bytes(), name
        weights = folder / "checkpoints/weights.safetensors"
        assert weights.stat().st_ino == (origin / "checkpoints/weights.safetensors").stat().st_ino
    assert len(read_runs(tmp_path).problems) == 2  # the runs alone are counted once


def test_other_shots_and_steps_of_the_test_take_the_training(
    catalog: Catalog, tmp_path: Path
) -> None:
    made(to_test(catalog, 5), catalog, tmp_path)
    for protocol in ({"shots": 3}, {"steps_at_test": 2}, {"curve_steps": 2}):
        own = to_test(catalog, 5, **protocol)
        _, folder, events = made(own, catalog, tmp_path)
        assert not trained(events), protocol
        _, alone, _ = made(own, catalog, tmp_path / "alone")
        assert (folder / "episodes.jsonl").read_bytes() == (alone / "episodes.jsonl").read_bytes()


def test_another_training_is_not_taken(catalog: Catalog, tmp_path: Path) -> None:
    made(to_test(catalog, 5), catalog, tmp_path)
    _, _, events = made(to_test(catalog, 5, train_shots=7), catalog, tmp_path)
    assert trained(events)
    assert said(events) == []


def edit(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = folder / "run.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_training_by_other_code_is_not_taken(catalog: Catalog, tmp_path: Path) -> None:
    first, folder, _ = made(to_test(catalog, 5), catalog, tmp_path)

    def older(values: dict[str, object]) -> None:
        values["provenance"]["packages"]["torch"] = "1.0"  # type: ignore[index]

    edit(folder, older)
    record, _, events = made(to_test(catalog, 10), catalog, tmp_path)
    assert trained(events)
    now = record.provenance.packages["torch"]
    assert said(events) == [f"does not take the training of {first.run_id}: torch 1.0 or {now}"]


def test_a_training_whose_weights_are_gone_is_not_taken(catalog: Catalog, tmp_path: Path) -> None:
    _, folder, _ = made(to_test(catalog, 5), catalog, tmp_path)
    shutil.rmtree(folder / "checkpoints")
    _, _, events = made(to_test(catalog, 10), catalog, tmp_path)
    assert trained(events)


def test_the_training_of_a_run_that_was_killed_in_its_test_is_taken(
    catalog: Catalog, tmp_path: Path
) -> None:
    first = to_test(catalog, 60)
    with pytest.raises(Killed):
        run(first, catalog, tmp_path, emit=kill_at("meta-test", 100))()
    record, folder, events = made(to_test(catalog, 5), catalog, tmp_path)
    assert not trained(events)
    assert record.training_from == first.spec.run_id
    # A chain of takings names the run that trained; a resumed one keeps what it says.
    (folder / "episodes.jsonl").unlink()
    edit(folder, lambda values: values.update(status="interrupted"))
    again, _, _ = made(to_test(catalog, 5), catalog, tmp_path)
    assert again.training_from == first.spec.run_id
    assert again.train_seconds == record.train_seconds
    third, _, _ = made(to_test(catalog, 6), catalog, tmp_path)
    assert third.training_from == first.spec.run_id


def test_two_runs_at_the_same_time_train_once(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one waits for the earlier one: here until the earlier one has trained."""
    first, later = to_test(catalog, 5), to_test(catalog, 10)
    execution = run(first, catalog, tmp_path)
    record = execution._begin(None)
    events: list[RunEvent] = []

    def finish(seconds: float) -> None:
        assert said(events) == [f"waits for the training of {record.run_id}, which is under way"]
        execution._run(record)

    monkeypatch.setattr(shared_training.time, "sleep", finish)
    monkeypatch.setattr(shared_training, "_began_before", lambda one, other: one == record)
    monkeypatch.setattr(
        "metabench.results.trainings.is_at_work", lambda folder: folder == execution.store.folder
    )
    found = run(later, catalog, tmp_path, emit=events.append)()
    assert found.training_from == first.spec.run_id
    assert not trained(events)


def test_a_run_that_waits_can_be_stopped(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = run(to_test(catalog, 5), catalog, tmp_path)
    execution._begin(None)
    monkeypatch.setattr(shared_training, "_began_before", lambda one, other: True)
    monkeypatch.setattr("metabench.results.trainings.is_at_work", lambda folder: True)
    waiting = run(to_test(catalog, 10), catalog, tmp_path, stopped=lambda: True)
    with pytest.raises(Interrupted):
        waiting()


def test_of_two_runs_one_waits(catalog: Catalog, tmp_path: Path) -> None:
    first, _, _ = made(to_test(catalog, 5), catalog, tmp_path)
    later = first.provenance.model_copy(update={"started": "2999-01-01T00:00:00+00:00"})
    second = first.model_copy(update={"run_id": "0" * 16, "provenance": later})
    assert shared_training._began_before(first, second)
    assert not shared_training._began_before(second, first)
    tie = second.model_copy(update={"provenance": first.provenance})
    assert shared_training._began_before(tie, first) != shared_training._began_before(first, tie)


def test_a_trained_run_serves_as_well(catalog: Catalog, tmp_path: Path) -> None:
    first, _, _ = made(replace(to_test(catalog, 5), trial=True), catalog, tmp_path)
    record, _, events = made(to_test(catalog, 10), catalog, tmp_path)
    assert not trained(events)
    assert record.training_from == first.run_id


def test_damaged_weights_are_taken_once_and_then_trained(catalog: Catalog, tmp_path: Path) -> None:
    _, origin, _ = made(to_test(catalog, 5), catalog, tmp_path)
    weights = origin / "checkpoints/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    record, folder, events = made(to_test(catalog, 10), catalog, tmp_path)
    assert trained(events)
    assert record.training_from == ""
    assert record.train_seconds is not None
    assert record.digests == RunStore(folder).digests()
    assert len(list((folder / "checkpoints").glob("*.damaged*"))) == 1


def test_a_run_that_is_stopped_in_its_test_still_says_whose_training_it_has(
    catalog: Catalog, tmp_path: Path
) -> None:
    first, _, _ = made(to_test(catalog, 5), catalog, tmp_path)
    own = to_test(catalog, 10)
    with pytest.raises(Interrupted):
        run(own, catalog, tmp_path, stopped=lambda: True)()
    store = RunStore.of(own.spec, tmp_path)
    stopped = store.read_record()
    assert stopped is not None
    assert (stopped.status, stopped.training_from) == ("interrupted", first.run_id)
    record, _, _ = made(own, catalog, tmp_path)
    assert (record.training_from, record.train_seconds) == (first.run_id, first.train_seconds)


def test_a_trial_that_was_killed_after_its_last_episode_ends_as_trained(
    catalog: Catalog, tmp_path: Path
) -> None:
    trial = replace(to_test(catalog, 5, val_episodes=3), trial=True)
    with pytest.raises(Killed):
        run(trial, catalog, tmp_path, emit=kill_at("meta-val", 12))()
    record, folder, events = made(trial, catalog, tmp_path)
    assert not trained(events)
    assert record.status == "trained"
    assert record.digests == RunStore(folder).digests()
