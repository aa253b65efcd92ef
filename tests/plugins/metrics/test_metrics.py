"""The built-in metrics: closed forms in float64, the kit, and what older records take them for."""

from __future__ import annotations

import math

import pytest
import torch

from metabench import conformance, task_scores
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.results.metrics import FORMER
from metabench_plugins.metrics.scores import (
    BINS,
    accuracy,
    expected_calibration_error,
    mean_squared_error,
    negative_log_likelihood,
)

CATALOG = load_catalog()
NAMES = ("accuracy", "ece", "mse", "nll")


def logits_of(probabilities: list[list[list[float]]]) -> torch.Tensor:
    """Logits whose softmax are these probabilities, shifted per query, which changes nothing."""
    logs = torch.tensor(probabilities, dtype=torch.float64).log()
    return logs + torch.arange(logs.shape[1], dtype=torch.float64)[None, :, None]


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_passes_every_check(name: str) -> None:
    found = {c.name: conformance.run_check(c) for c in conformance.checks(CATALOG.metric(name))}
    assert {n: o for n, o in found.items() if o.status != "ok"} == {}
    assert len(found) >= 13


def test_what_older_records_do_not_say_is_what_the_metrics_say() -> None:
    assert {name: CATALOG.metric(name).facts for name in FORMER} == FORMER


def test_accuracy_is_the_share_of_largest_logits() -> None:
    outputs = logits_of([[[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]], [[0.2, 0.8]] * 3])
    y = torch.tensor([[0, 0, 0], [0, 0, 0]])
    assert accuracy(outputs, y).tolist() == pytest.approx([2 / 3, 0.0], abs=1e-15)


def test_the_squared_error_is_a_mean_over_queries_and_targets() -> None:
    outputs = torch.zeros(2, 2, 3, dtype=torch.float64)
    y = torch.tensor([[[1.0, 2.0, 3.0], [0.0, 0.0, 2.0]], [[0.5] * 3] * 2], dtype=torch.float64)
    assert mean_squared_error(outputs, y).tolist() == pytest.approx([18 / 6, 0.25], rel=1e-15)


def test_the_likelihood_is_that_of_the_softmax() -> None:
    outputs = logits_of([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[1 / 3] * 3] * 2])
    found = negative_log_likelihood(outputs, torch.tensor([[0, 2], [1, 0]]))
    wanted = [-(math.log(0.5) + math.log(0.1)) / 2, math.log(3)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-14)


def test_the_likelihood_of_a_sure_and_wrong_prediction_is_finite() -> None:
    """The log of a softmax, computed as such, would be minus infinity from a gap of 750 on."""
    outputs = torch.tensor([[[1000.0, 0.0]]], dtype=torch.float64)
    assert negative_log_likelihood(outputs, torch.tensor([[1]])).tolist() == [1000.0]


def test_the_calibration_error_weighs_the_gaps_of_bins() -> None:
    """Confidences 0.9, 0.9 and 0.6: a bin with accuracy 1/2, and one with accuracy 1."""
    outputs = logits_of([[[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]])
    found = expected_calibration_error(outputs, torch.tensor([[0, 1, 1]]))
    wanted = 2 / 3 * abs(1 / 2 - 0.9) + 1 / 3 * abs(1 - 0.6)
    assert found.tolist() == pytest.approx([wanted], rel=1e-14)


def test_gaps_in_one_bin_cancel_and_in_two_bins_do_not() -> None:
    one = logits_of([[[0.75, 0.25]] * 4])
    y = torch.tensor([[0, 0, 0, 1]])
    assert expected_calibration_error(one, y).tolist() == pytest.approx([0.0], abs=1e-15)
    two = logits_of([[[0.75, 0.25]] * 3 + [[0.85, 0.15]]])
    wanted = (3 * 0.25 + 0.85) / 4
    assert expected_calibration_error(two, y).tolist() == pytest.approx([wanted], rel=1e-14)


def test_a_confidence_at_the_edge_of_a_bin_is_in_the_lower_one() -> None:
    """A third of 15 bins is the edge of the fifth; 0.36 is in the sixth."""
    logits = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.36, 0.32, 0.32]], dtype=torch.float64).log()
    found = expected_calibration_error(logits[None], torch.tensor([[0, 1]]))
    assert float(found) == pytest.approx((2 / 3 + 0.36) / 2)


def test_the_calibration_error_is_that_of_a_plain_loop() -> None:
    """Equation 3 of Guo et al. bin by bin, with the bins ((m-1)/M, m/M]."""
    rng = torch.Generator().manual_seed(0)
    outputs = 2 * torch.randn(3, 200, 5, generator=rng, dtype=torch.float64)
    y = torch.randint(5, (3, 200), generator=rng)
    for task in range(3):
        total = 0.0
        confidence, predicted = outputs[task].softmax(dim=1).max(dim=1)
        for m in range(1, 15 + 1):
            inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
            if inside.any():
                right = (predicted == y[task])[inside].double().mean()
                total += int(inside.sum()) / 200 * abs(float(right - confidence[inside].mean()))
        found = float(expected_calibration_error(outputs, y)[task])
        assert found == pytest.approx(total, rel=1e-12)
        assert found > 0.05
    assert BINS == 15


def test_any_installed_metric_can_be_asked_for(catalog: Catalog) -> None:
    outputs = logits_of([[[0.5, 0.5], [0.25, 0.75]]])
    y = torch.tensor([[0, 1]])
    found = task_scores(outputs, y, metric="nll")
    assert found.tolist() == pytest.approx([-(math.log(0.5) + math.log(0.75)) / 2])
    assert set(NAMES) <= set(catalog.metrics)
