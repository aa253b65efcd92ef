"""Scores of a batch of tasks: one number per task."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import MetricSpec, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.metric import Score


def score_of(metric: MetricSpec) -> Score:
    """The function of a metric: from outputs and ``y`` of query sets to scores ``[tasks]``."""
    score: Score = resolve(metric.function)
    return score


def task_scores(outputs: Tensor, y: Tensor, *, metric: str) -> Tensor:
    """Return an installed metric of each task, ``[tasks]``, such as accuracy in [0, 1].

    Args:
        outputs: logits or targets ``[tasks, q, outputs]``.
        y: ``[tasks, q]`` class indices, or ``[tasks, q, outputs]``.
        metric: its name.

    Raises:
        UsageError: when no plugin provides it.
    """
    return score_of(_installed().metric(metric))(outputs, y)


@cache
def _installed() -> Catalog:
    return load_catalog()
