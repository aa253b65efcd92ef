"""The training curve of a run, ``metrics.jsonl``, also while it is being written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metabench.plugin.contracts.learner import QUERY_LOSS
from metabench.results.foreign import finite, json_lines

MAX_CURVE = 4 * 2**20
"""Bytes of a training curve that are read at most: its last ones."""
VAL_SCORE = "val_score"
"""The name of the meta-validation score, on the metric's own scale."""
LOSS = "loss"
"""What a learner calls its loss; it means another quantity for another learner."""
LOSSES = (QUERY_LOSS, LOSS)
"""The names of the training loss: what all learners log alike, else what a learner calls so."""
_SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """What a run has logged.

    Attributes:
        step: the last meta-step of any point; 0 before the first.
        scalars: by name, the points ``(meta-step, value)`` in the order of the file.
        skipped: meta-steps that the learner skipped because of a runaway gradient.
    """

    step: int = 0
    scalars: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    skipped: int = 0

    @property
    def loss(self) -> Sequence[tuple[int, float]]:
        """The points of the training loss: means over the meta-steps since the point before."""
        return next((self.scalars[name] for name in LOSSES if name in self.scalars), ())

    @property
    def score(self) -> Sequence[tuple[int, float]]:
        """The points of the meta-validation score."""
        return self.scalars.get(VAL_SCORE, ())


def read_training_curve(path: Path) -> TrainingCurve:
    """Read the points of a training curve; what is no point is passed over.

    Raises:
        OSError: when the file cannot be read.
    """
    scalars: dict[str, list[tuple[int, float]]] = {}
    latest, skipped = 0, 0.0
    for point in json_lines(path, MAX_CURVE):
        step = finite(point.pop("step", None))
        if step is None or step < 0:
            continue
        latest = max(latest, int(step))
        skipped += finite(point.pop(_SKIPPED, None)) or 0.0
        for name, value in point.items():
            if (number := finite(value)) is not None:
                scalars.setdefault(name, []).append((int(step), number))
    return TrainingCurve(latest, scalars, round(skipped))
