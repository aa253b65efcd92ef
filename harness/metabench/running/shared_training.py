"""One training serves all its tests: a run takes the training of another one where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from metabench.results.same_code import made_otherwise
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore
from metabench.results.trainings import Twin, take_training, twins_of
from metabench.running.loops import Interrupted

_PAUSE = 0.5
"""Seconds between two looks at a training that another process makes."""


def share_training(
    store: RunStore,
    record: RunRecord,
    *,
    out: Path,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
    note: Callable[[Twin], RunRecord],
) -> RunRecord | None:
    """Take the training of another run in the same results folder.

    Where another process makes such a training already, this waits for it.

    Args:
        store: of the run that needs a training.
        record: its record, which is written.
        out: the results folder.
        say: takes a sentence for the user.
        stopped: whether the user asked to stop.
        note: writes down whose training it is, before it is taken: a kill between the two leaves
            no weights whose origin nobody can tell. It returns the record.

    Returns:
        That record; None where this run has to train.

    Raises:
        Interrupted: when asked to stop while it waits.
    """
    said: set[str] = set()

    def once(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            say(sentence)

    while True:
        before = False
        for twin in twins_of(record, out):
            if difference := made_otherwise(record, twin.record):
                if twin.trained:
                    once(f"does not take the training of {twin.origin}: {difference}")
                continue
            if twin.trained:
                noted = note(twin)
                try:
                    take_training(store, twin)
                except FileNotFoundError:  # somebody removes its folder
                    continue
                say(f"takes the training of {twin.origin}")
                return noted
            if _began_before(twin.record, record) and twin.at_work:
                before = True
                once(f"waits for the training of {twin.record.run_id}, which is under way")
        if not before:
            return None
        if stopped():
            raise Interrupted
        time.sleep(_PAUSE)


def _began_before(one: RunRecord, other: RunRecord) -> bool:
    """Of two runs that see each other, one waits."""
    first, second = ((r.provenance.started, r.run_id) for r in (one, other))
    return first < second
