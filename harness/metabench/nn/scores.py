"""Scores of a batch of tasks: one number per task."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import torch

from metabench.errors import PluginError
from metabench.plugin.blame import described
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import MetricSpec, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.metric import Score

ROUNDING = 1e-4
"""By how much a score may lie outside its range: a mean in half or single precision is rounded."""


def score_of(metric: MetricSpec) -> Score:
    """The function of a metric: from outputs and ``y`` of query sets to scores ``[tasks]``.

    It raises ``PluginError`` if the metric fails, returns something else, or gives a score outside
    its range. A task with an output that is not a number has the score NaN: the largest of such
    outputs means nothing. Scores that are not finite are not judged here.
    """
    function: Score = resolve(metric.function)

    def score(outputs: Tensor, y: Tensor) -> Tensor:
        try:
            found = function(outputs.clone(), y.clone())  # it may write into what it gets
        except Exception as error:
            raise PluginError(f"Metric {metric.name} failed: {described(error)}.") from error
        shape = list(found.shape) if isinstance(found, torch.Tensor) else None
        if shape != [len(outputs)]:
            given = f"a {type(found).__name__}" if shape is None else f"shape {shape}"
            raise PluginError(
                f"Metric {metric.name} returned {given} for {len(outputs)} tasks.",
                hint="It must return a tensor [tasks], one score per task.",
            )
        _check_range(metric, found)
        unknown = outputs.detach().flatten(1).isnan().any(dim=1)
        return torch.where(unknown, math.nan, found)

    return score


def _check_range(metric: MetricSpec, scores: Tensor) -> None:
    """Raise if a score lies outside the range of its metric by more than rounding."""
    least, most = metric.range
    if least is None and most is None:
        return
    low = -math.inf if least is None else least - ROUNDING * max(1.0, abs(least))
    high = math.inf if most is None else most + ROUNDING * max(1.0, abs(most))
    finite = scores.detach().isfinite()
    outside = finite & ((scores < low) | (scores > high))
    if not outside.any():
        return
    found = float(scores[outside][0])
    raise PluginError(
        f"Metric {metric.name} gave the score {found:g}, but its range is "
        f"{metric.described['range']}.",
        hint="Correct the function of the metric, or its range.",
    )


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
