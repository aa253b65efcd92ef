"""How long a run takes is written down while it goes on, and sums up to what was done."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.results.store import RunStore
from metabench.running.loops import Control, Interrupted
from metabench.running.run import RunExecution
from metabench.running.work import Work


def notes(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]


def test_a_note_is_of_what_was_done_since_the_one_before(tmp_path: Path) -> None:
    work = Work(RunStore(tmp_path), "meta-train", done=10)
    for done in (15, 15, 22):
        work.note(done)
    assert [note["count"] for note in notes(tmp_path)] == [5, 7]
    assert work.seconds < 60


@pytest.mark.parametrize("stop_after", [0, 7])
def test_notes_sum_up_to_the_run_also_of_one_that_was_stopped(
    tmp_path: Path, catalog: Catalog, stop_after: int
) -> None:
    request = RunRequest(
        learners=("maml",),
        suite="toy-regression",
        budget="smoke",
        limit=30,
        changes={"budget": {"meta_steps": 20, "meta_batch": 2}},
    )
    (planned,) = plan(request, catalog)
    asked = iter(range(1, 1000))

    def execution(stopped: bool) -> RunExecution:
        control = Control(
            emit=lambda event: None,
            stopped=lambda: stopped and next(asked) == stop_after,
            checkpoint_seconds=0.0,
        )
        return RunExecution(
            planned, catalog, out=tmp_path, device=torch.device("cpu"), control=control
        )

    if stop_after:
        with pytest.raises(Interrupted):
            execution(True)()
    record = execution(False)()
    folder = RunStore.of(planned.spec, tmp_path).folder
    counts = Counter[str]()
    for note in notes(folder):
        counts[str(note["phase"])] += int(note["count"])
    assert counts["meta-train"] == 20
    assert counts["meta-test"] == 30 * len(planned.spec.sources)
    assert len([note for note in notes(folder) if note["phase"] == "meta-train"]) > 5
    assert record.train_seconds is not None
