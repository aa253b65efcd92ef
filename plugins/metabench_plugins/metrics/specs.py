"""Specs of the built-in metrics; their code is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import MetricSpec

_MODULE = "metabench_plugins.metrics.scores"


def metric_specs() -> Iterator[MetricSpec]:
    """How predictions are scored."""
    yield MetricSpec(
        name="accuracy",
        version=1,
        summary="The share of query examples whose class is predicted.",
        function=f"{_MODULE}:accuracy",
        kinds=("classification",),
        title="accuracy",
        better="larger",
        percent=True,
        range=(0.0, 1.0),
    )
    yield MetricSpec(
        name="mse",
        version=1,
        summary="The mean squared error over query points and targets.",
        function=f"{_MODULE}:mean_squared_error",
        kinds=("regression",),
        title="mean squared error",
        better="smaller",
        range=(0.0, None),
    )
    yield MetricSpec(
        name="nll",
        version=1,
        summary="The mean over query examples of minus the log of the probability of the class, "
        "in nats.",
        function=f"{_MODULE}:negative_log_likelihood",
        kinds=("classification",),
        title="negative log-likelihood",
        better="smaller",
        range=(0.0, None),
    )
    yield MetricSpec(
        name="ece",
        version=1,
        summary="The expected calibration error with 15 bins of equal width, over the query "
        "examples of each episode; with few of them even a calibrated learner is above 0.",
        function=f"{_MODULE}:expected_calibration_error",
        kinds=("classification",),
        title="expected calibration error",
        better="smaller",
        percent=True,
        range=(0.0, 1.0),
        reference="Guo et al., ICML 2017, equation 3",
    )
