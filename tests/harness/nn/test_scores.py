"""A metric that fails, or returns something else than scores, is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from metabench.errors import PluginError
from metabench.nn.scores import score_of
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import MetricSpec
from metabench.values import Frozen


def metric(function: Callable[..., Any]) -> MetricSpec:
    return MetricSpec(
        name="mine",
        version=1,
        summary="A metric.",
        params=Frozen,
        function=function,
        kinds=("classification",),
        better="larger",
        title="my metric",
    )


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda outputs, y: 1.0, "returned a float for 3 tasks"),
        (lambda outputs, y: torch.zeros(3, 2), r"returned shape \[3, 2\] for 3 tasks"),
        (lambda outputs, y: torch.zeros(()), r"returned shape \[\] for 3 tasks"),
        (lambda outputs, y: 1 / 0, "failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_metric_that_returns_no_scores_is_named(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(PluginError, match=f"Metric mine {said}"):
        score_of(metric(function))(torch.zeros(3, 4, 2), torch.zeros(3, 4, dtype=torch.int64))


def test_scores_go_through_as_they_are() -> None:
    found = score_of(metric(lambda outputs, y: outputs.mean(dim=(1, 2))))
    outputs = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found(outputs, torch.zeros(3, 4)), outputs.mean(dim=(1, 2)))


def test_outputs_that_are_not_numbers_have_no_score() -> None:
    accuracy = score_of(load_catalog().metric("accuracy"))
    outputs = torch.zeros(3, 2, 5)
    outputs[..., 0] = 1.0
    outputs[1, 0, 3] = torch.nan
    outputs[2, 0, 4] = -torch.inf  # a class that is ruled out
    found = accuracy(outputs, torch.zeros(3, 2, dtype=torch.int64))
    assert torch.equal(found.isnan(), torch.tensor([False, True, False]))
    assert found[0] == found[2] == 1.0


@pytest.mark.parametrize(
    ("bounds", "score", "said"),
    [
        ((0.0, 1.0), 1.5, "gave the score 1.5, but its range is from 0 to 1."),
        ((0.0, None), -0.25, "gave the score -0.25, but its range is from 0."),
        ((None, 0.0), 2.0, "gave the score 2, but its range is to 0."),
    ],
)
def test_a_score_outside_the_range_is_refused(
    bounds: tuple[float | None, float | None], score: float, said: str
) -> None:
    scores = torch.tensor([0.0, score, float("nan")])
    spec = replace(metric(lambda outputs, y: scores), range=bounds)
    with pytest.raises(PluginError) as caught:
        score_of(spec)(torch.zeros(3, 4, 2), torch.zeros(3, 4))
    assert caught.value.message == f"Metric mine {said}"


def test_rounding_and_what_is_not_finite_are_not_judged_by_the_range() -> None:
    scores = torch.tensor([1.00001, -0.00001, float("nan"), float("inf")])
    spec = replace(metric(lambda outputs, y: scores), range=(0.0, 1.0))
    found = score_of(spec)(torch.zeros(4, 4, 2), torch.zeros(4, 4))
    assert torch.equal(found.nan_to_num(7.0), scores.nan_to_num(7.0))
