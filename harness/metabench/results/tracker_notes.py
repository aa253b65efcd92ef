"""What each tracker has of a run, noted in the folder of the run: ``trackers/NAME.json``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metabench.durable import locked
from metabench.plugin.contracts.tracker import CurvePoint
from metabench.results.foreign import read_end
from metabench.results.store import replace_text
from metabench.results.training_curve import VAL_SCORE, TrainingCurve

_MAX_NOTE = 2**20
"""Bytes of a note that is read; a larger file is none."""
_WAIT = 0.2
"""Seconds until it is looked again whether another process is done."""


class TrackerNote(BaseModel):
    """What a tracker has of a run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str = Field(default="", description="What the tracker calls the run.")
    sent: dict[str, int] = Field(
        default_factory=dict, description="The last meta-step of each scalar that it has."
    )
    ended: str = Field(default="", description="Digest of the end that it was told; may be empty.")


def note_of(folder: Path, tracker: str) -> Path:
    """The file of a tracker in the folder of a run."""
    return folder / "trackers" / f"{tracker}.json"


def read_note(folder: Path, tracker: str) -> TrackerNote:
    """What a tracker has of the run in a folder; nothing where no readable note says so."""
    try:
        return TrackerNote.model_validate_json(read_end(note_of(folder, tracker), _MAX_NOTE))
    except (OSError, ValidationError):
        return TrackerNote()


def write_note(folder: Path, tracker: str, note: TrackerNote) -> None:
    """Note what a tracker has of the run in a folder; within :func:`alone_with`."""
    replace_text(note_of(folder, tracker), note.model_dump_json() + "\n")


@contextmanager
def alone_with(folder: Path, tracker: str) -> Iterator[None]:
    """Send what a tracker lacks of a run alone: a second process waits, and then finds the note.

    Raises:
        UsageError: when nothing can be written beside the note.
    """
    note = note_of(folder, tracker)
    with suppress(OSError):  # the lock tells why
        note.parent.mkdir(exist_ok=True)
    while True:
        with locked(note.with_name(f".lock.{tracker}")) as ours:
            if ours:
                yield
                return
        time.sleep(_WAIT)


def points_after(curve: TrainingCurve, sent: Mapping[str, int]) -> list[CurvePoint]:
    """The points of a training curve that a tracker does not have, in the order of meta-steps.

    Args:
        curve: of the run.
        sent: the last meta-step that it has, by the name that trackers know.
    """
    rows: dict[int, dict[str, float]] = {}
    for name, points in curve.scalars.items():
        full = f"{'meta-val' if name == VAL_SCORE else 'meta-train'}/{name}"
        for step, value in points:
            if step > sent.get(full, -1):
                rows.setdefault(step, {})[full] = value
    return [CurvePoint(step, rows[step]) for step in sorted(rows)]
