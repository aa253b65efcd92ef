"""Checks of a metric: sound ones pass, broken ones fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metabench import conformance
from metabench.plugin.specs import MetricSpec


def distance(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).abs().mean(dim=(1, 2))


def spec_of(**changes: Any) -> MetricSpec:
    values: dict[str, Any] = {
        "name": "mae",
        "version": 1,
        "summary": "The mean absolute error.",
        "function": distance,
        "kinds": ("regression",),
        "title": "mean absolute error",
        "better": "smaller",
        "range": (0.0, None),
    }
    return MetricSpec(**{**values, **changes})


def outcomes(spec: MetricSpec) -> dict[str, conformance.Outcome]:
    return {check.name: conformance.run_check(check) for check in conformance.checks(spec)}


def test_a_sound_metric_passes() -> None:
    assert {outcome.status for outcome in outcomes(spec_of()).values()} == {"ok"}


def one_number(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).abs().mean()


def in_single_precision(outputs: Tensor, y: Tensor) -> Tensor:
    return distance(outputs, y).float()


def of_the_batch(outputs: Tensor, y: Tensor) -> Tensor:
    return distance(outputs, y) / distance(outputs, y).sum()


def of_the_first(outputs: Tensor, y: Tensor) -> Tensor:
    return distance(outputs[:, :1], y[:, :1])


def in_place(outputs: Tensor, y: Tensor) -> Tensor:
    return outputs.sub_(y).abs().mean(dim=(1, 2))


def noisy(outputs: Tensor, y: Tensor) -> Tensor:
    return distance(outputs, y) * (1 + 1e-9 * torch.rand(1))


def on_the_cpu(outputs: Tensor, y: Tensor) -> Tensor:
    return distance(outputs, y) + torch.zeros(len(y))


@pytest.mark.parametrize(
    ("function", "check", "said"),
    [
        (
            lambda o, y: o.mean((1, 2)).numpy(),
            "it gives one number per task",
            "it returned a ndarray; it must return a tensor [tasks]",
        ),
        ("metabench:nothing", "the function can be imported", "Cannot import"),
        (one_number, "it gives one number per task", "must be (4,)"),
        (in_single_precision, "it gives one number per task", "torch.float32"),
        (of_the_batch, "the score of a task depends on its own predictions alone", "alone"),
        (of_the_first, "the order of the queries does not matter", "reverse order"),
        (in_place, "it changes nothing and draws nothing", "another score"),
        (noisy, "it changes nothing and draws nothing", "global random state"),
        (on_the_cpu, "it computes on the device of the predictions", "device"),
    ],
)
def test_a_broken_function_fails(function: Any, check: str, said: str) -> None:
    found = outcomes(spec_of(function=function))[check]
    assert found.status == "FAILED"
    assert said in found.reason


@pytest.mark.parametrize(
    ("changes", "check", "said"),
    [
        ({"better": "larger"}, "a perfect prediction is better than a wrong one", "larger is said"),
        ({"range": (0.0, 1.0)}, "scores lie in its range", "its range is from 0 to 1"),
        ({"range": (1.0, 0.0)}, "it says what it scores and how", "its range is (1.0, 0.0)"),
        ({"percent": True}, "it says what it scores and how", "must be (0, 1)"),
        ({"title": ""}, "it says what it scores and how", "title"),
        ({"kinds": ()}, "it says what it scores and how", "kinds is empty"),
        ({"better": "more"}, "it says what it scores and how", "neither"),
    ],
)
def test_a_wrong_description_fails(changes: dict[str, Any], check: str, said: str) -> None:
    found = outcomes(spec_of(**changes))[check]
    assert found.status == "FAILED"
    assert said in found.reason
