"""Predictors without training: each equals a plain loop or the textbook formula, task by task."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_tasks import generator
from typer.testing import CliRunner

from metabench import Labelled, TaskShape
from metabench.cli import app
from metabench.results.reading import read_runs
from metabench_plugins.learners.without_training import (
    GaussianProcess,
    GaussianProcessParams,
    NearestCentroid,
    NearestNeighbor,
    NoParams,
    SupportMean,
)

N_TASKS, N, Q, WAYS = 3, 6, 5, 3


def regression(inputs: int = 1) -> tuple[Labelled, torch.Tensor]:
    x = torch.randn(N_TASKS, N, inputs, generator=generator(0), dtype=torch.float64)
    y = torch.randn(N_TASKS, N, 2, generator=generator(1), dtype=torch.float64)
    return Labelled(x, y), torch.randn(N_TASKS, Q, inputs, generator=generator(2)).double()


def images() -> tuple[Labelled, torch.Tensor]:
    x = torch.rand(N_TASKS, N, 1, 4, 4, generator=generator(0), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 2, 1, 0]).expand(N_TASKS, N)
    return Labelled(x, y), torch.rand(N_TASKS, Q, 1, 4, 4, generator=generator(2)).double()


def predict(kind: Any, support: Labelled, x: torch.Tensor, params: Any = None) -> torch.Tensor:
    classes = not support.y.is_floating_point()
    task = (
        TaskShape("classification", (1, 4, 4), WAYS)
        if classes
        else TaskShape("regression", support.x.shape[2:], support.y.shape[2])
    )
    learner = kind(SimpleNamespace(params=params or NoParams(), task=task))
    return learner.adapt(support, rng=generator(0)).predict(x)


def test_the_mean_of_the_support() -> None:
    support, x = regression()
    found = predict(SupportMean, support, x)
    assert found.shape == (N_TASKS, Q, 2)
    assert torch.equal(found[:, 0], support.y.mean(dim=1))
    assert torch.equal(found[:, 0], found[:, -1])


def test_the_nearest_support_point() -> None:
    support, x = regression(inputs=2)
    found = predict(NearestNeighbor, support, x)
    for task in range(N_TASKS):
        for query in range(Q):
            distances = (support.x[task] - x[task, query]).norm(dim=1)
            assert torch.equal(found[task, query], support.y[task, distances.argmin()])


def test_the_class_of_the_nearest_image_and_of_the_nearest_mean_image() -> None:
    support, x = images()
    neighbor, centroid = (predict(kind, support, x) for kind in (NearestNeighbor, NearestCentroid))
    for task in range(N_TASKS):
        for query in range(Q):
            squares = (support.x[task] - x[task, query]).square().sum(dim=(1, 2, 3))
            for way in range(WAYS):
                own = support.y[task] == way
                assert neighbor[task, query, way] == pytest.approx(-squares[own].min().item())
                mean = support.x[task][own].mean(dim=0)
                expected = -(mean - x[task, query]).square().sum().item()
                assert centroid[task, query, way] == pytest.approx(expected)


def test_the_gaussian_process_of_the_highest_marginal_likelihood() -> None:
    params = GaussianProcessParams(shortest=0.3, longest=3.0, scales=4, noise=(1e-3, 0.1))
    support, x = regression()
    found = predict(GaussianProcess, support, x, params)
    lengths = torch.logspace(math.log10(0.3), math.log10(3.0), 4, dtype=torch.float64)
    for task in range(N_TASKS):
        for output in range(support.y.shape[2]):
            mean = support.y[task, :, output].mean()
            residual = support.y[task, :, output] - mean
            best, expected = -math.inf, None
            for length in lengths:
                for noise in params.noise:
                    squares = (support.x[task] - support.x[task].T).square()
                    kernel = (-squares / (2 * length**2)).exp() + noise * torch.eye(N)
                    variance = residual @ kernel.inverse() @ residual / N
                    density = torch.distributions.MultivariateNormal(
                        torch.zeros(N, dtype=torch.float64), variance * kernel
                    )
                    if (likelihood := density.log_prob(residual).item()) > best:
                        best = likelihood
                        cross = (-(x[task] - support.x[task].T).square() / (2 * length**2)).exp()
                        expected = cross @ kernel.inverse() @ residual + mean
            torch.testing.assert_close(found[task, :, output], expected)


@pytest.mark.parametrize("selection", ["last", "meta-val"])
def test_they_are_planned_without_meta_steps(tmp_path: Path, selection: str) -> None:
    arguments = ["run", "--learner", "nearest-neighbor,gaussian-process,support-mean"]
    arguments += ["--suite", "toy-regression", "--budget", "smoke", "--limit", "5"]
    arguments += ["--set", f"protocol.selection={selection}", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for run in read_runs(tmp_path).runs:
        record = run.record
        assert (record.spec.training.meta_steps, record.steps_at_test) == (0, 0)
        assert (record.backend, record.n_params) == ("none", None)
        assert run.evaluations["extrapolation"].score.shape == (20,)
