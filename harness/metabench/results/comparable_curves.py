"""Training curves of runs, ``metrics.jsonl``, with the quantities that all learners have in common.

They are the mean query loss and the query accuracy of meta-training, and the score of
meta-validation. What a learner calls ``loss`` is its own, so it is compared with that of no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabench.plugin.contracts.learner import QUERY_ACCURACY, QUERY_LOSS
from metabench.results.reading import FinishedRun
from metabench.results.training_curve import LOSS, VAL_SCORE, read_training_curve

Array = NDArray[np.float64]
COMMON = (QUERY_LOSS, QUERY_ACCURACY, VAL_SCORE)
"""Scalars that mean the same whatever the learner."""
_DESCENDED = frozenset(
    {"anil", "hsml", "hsml-notree", "maml", "matching-net", "meta-sgd", "mnas", "mnas-low-rank"}
    | {"mnas-nm", "mnas-shared", "mnas-shared-m", "mnas-shared-nm", "mtnet", "mumomaml"}
    | {"protonet", "random-search-maml"}
)
"""Learners whose ``loss`` is their query loss; their older records have no other."""


@dataclass(frozen=True, slots=True)
class Series:
    """A scalar over meta-steps, in the run of one seed."""

    step: Array
    value: Array


def training_curves(run: FinishedRun) -> dict[str, Series]:
    """Each scalar of a run by name, with the query loss of an older record where it is known."""
    found = read_metrics(run.folder / "metrics.jsonl")
    spec = run.record.spec
    if LOSS in found and QUERY_LOSS not in found and spec.learner.name in _DESCENDED:
        factor = 1.0
        if spec.task == "classification" and spec.learner.params.get("reduction") == "per_shot":
            shape = spec.protocol.train_shape()
            factor = shape.shots / shape.n_query
        loss = found[LOSS]
        found[QUERY_LOSS] = Series(loss.step, factor * loss.value)
    return found


def read_metrics(path: Path) -> dict[str, Series]:
    """Each scalar of a training curve, where it is finite; nothing where there is no file."""
    scalars = read_training_curve(path).scalars
    arrays = {name: np.array(points, dtype=float) for name, points in scalars.items()}
    return {name: Series(pairs[:, 0], pairs[:, 1]) for name, pairs in arrays.items()}
