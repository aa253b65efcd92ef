"""BMAML: SVGD against loops, the posterior, the meta-gradient, and MAML as its special case."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_tasks import TASKS, batch, context, generator, in_double, train
from torch import Tensor

from metabench.episodes import Labelled
from metabench_plugins.learners.bmaml import Bmaml, BmamlParams
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.svgd import svgd_direction

PARAMS = {"inner_lr": 0.05, "inner_steps": 3, "outer_lr": 0.01}
KINDS = ["regression", "classification"]


def bmaml(*, kind: str = "regression", **params: Any) -> Bmaml:
    values = {**PARAMS, "particles": 3, **params}
    learner: Bmaml = in_double(Bmaml(context(BmamlParams(**values), kind=kind)))
    return learner


def row(learner: Bmaml, weights: dict[str, Tensor]) -> Tensor:
    """The weights of a particle in its order of columns."""
    return torch.cat([weights[name].flatten() for name in learner._shapes])


def loop_direction(particles: Tensor, gradients: Tensor) -> Tensor:
    """SVGD of one task as in its paper, one pair after another."""
    n = len(particles)
    squares = [[float((a - b).square().sum()) for b in particles] for a in particles]
    h = float(np.median(squares)) / math.log(n)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a - b).square().sum() / h)

    rows = []
    for m in range(n):
        total = torch.zeros_like(particles[m])
        for j in range(n):
            source = particles[j].detach().clone().requires_grad_()
            (repulsion,) = torch.autograd.grad(kernel(source, particles[m]), source)
            total = total + kernel(particles[j], particles[m]) * gradients[j] + repulsion
        rows.append(total / n)
    return torch.stack(rows).detach()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_direction_is_that_of_a_loop_over_pairs(n: int) -> None:
    rng = generator(n)
    particles = torch.randn(TASKS, n, 6, dtype=torch.float64, generator=rng) + 3
    gradients = torch.randn(TASKS, n, 6, dtype=torch.float64, generator=rng)
    found = svgd_direction(particles, gradients)
    for task in range(TASKS):
        expected = loop_direction(particles[task], gradients[task])
        assert torch.allclose(found[task], expected, rtol=1e-9, atol=1e-12)


def test_a_factor_of_the_log_posterior_is_a_factor_of_the_direction() -> None:
    particles = torch.randn(2, 4, 6, dtype=torch.float64, generator=generator())
    gradients = torch.randn(2, 4, 6, dtype=torch.float64, generator=generator(1))
    scaled = svgd_direction(particles, 0.01 * gradients, repulsion=0.01)
    assert torch.allclose(scaled, 0.01 * svgd_direction(particles, gradients), rtol=1e-10)


def test_particles_that_coincide_move_together() -> None:
    particles = torch.ones(1, 3, 4)
    gradients = torch.arange(12.0).view(1, 3, 4)
    found = svgd_direction(particles, gradients)
    assert torch.allclose(found, gradients.mean(dim=1, keepdim=True).expand_as(found))


@pytest.mark.parametrize("prior", ["gamma", "flat"])
def test_the_log_posterior_of_regression(prior: str) -> None:
    learner, data = bmaml(prior=prior, noise=0.05), batch().support
    particles = learner._particles.detach().expand(TASKS, -1, -1).clone()
    if prior == "gamma":
        particles[..., -2:] = torch.tensor([0.7, 2.0], dtype=torch.float64)
    found = learner._log_posterior(particles, data)
    lam, gamma = (math.exp(0.7), math.exp(2.0)) if prior == "gamma" else (0.0, 1 / 0.05)
    n = data.y.shape[1]
    for task in range(TASKS):
        for m in range(3):
            w = particles[task, m, : learner._n_weights]
            errors = learner._outputs(particles, data.x)[task, m] - data.y[task]
            expected = -0.5 * gamma * errors.square().sum()
            if prior == "gamma":
                expected = expected + 0.5 * n * math.log(gamma)
                expected = expected + 0.5 * len(w) * math.log(lam) - 0.5 * lam * w.square().sum()
                # Gamma(2, 0.2) and Gamma(2, 2), in the logs of their variables.
                expected = expected + 2 * math.log(gamma) - 0.2 * gamma
                expected = expected + 2 * math.log(lam) - 2 * lam
            assert float(found[task, m]) == pytest.approx(float(expected) * 2 * 0.05 / n, rel=1e-9)


@pytest.mark.parametrize("meta_loss", ["chaser", "query"])
def test_one_particle_without_prior_adapts_as_maml(meta_loss: str) -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS))))
    ours = bmaml(particles=1, prior="flat", meta_loss=meta_loss)
    tasks = batch()
    curves = [one.adapt(tasks.support, rng=generator()).curve for one in (ours, maml)]
    for found, expected in zip(*curves, strict=True):
        assert torch.allclose(found(tasks.query.x), expected(tasks.query.x), rtol=1e-10)


def test_with_priors_the_first_step_is_that_of_maml_but_for_the_pull_of_the_prior() -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS))))
    ours, support = bmaml(particles=1), batch().support
    _, moved, *_ = ours._path(ours._read(support), 1)
    prior = ours._unit(support) * ours._particles[0, : ours._n_weights]  # lambda = 1
    found = moved[..., : ours._n_weights] + PARAMS["inner_lr"] * prior
    leaves = {n: w.detach().expand(TASKS, *w.shape) for n, w in maml._weights.items()}
    for weight in leaves.values():
        weight.requires_grad_()
    loss = (maml.space.forward(leaves, {}, support.x) - support.y).square().mean((1, 2)).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    for task in range(TASKS):
        expected = row(
            ours,
            {
                n: (w - PARAMS["inner_lr"] * g)[task]
                for (n, w), g in zip(leaves.items(), gradients, strict=True)
            },
        )
        # log gamma began in float32: the step is off by as much.
        assert torch.allclose(found[task, 0], expected, rtol=1e-6, atol=1e-7)
        assert not torch.allclose(moved[task, 0, : len(expected)], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("order", ["second", "first"])
def test_one_particle_without_prior_on_the_query_loss_is_maml(order: Any) -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS, order=order))))
    ours = bmaml(particles=1, prior="flat", meta_loss="query", order=order)
    assert train(ours, 3) == pytest.approx(train(maml, 3), rel=1e-12)
    assert torch.allclose(ours._particles[0], row(ours, maml._weights), rtol=1e-9, atol=1e-12)


def test_one_particle_in_classification_is_maml_that_adapts_the_head() -> None:
    kind = "classification"
    maml = in_double(Maml(context(MamlParams(**PARAMS), kind=kind)))
    maml._adapted = frozenset({"head.weight", "head.bias"})
    ours = bmaml(kind=kind, particles=1, prior="flat", meta_loss="query")
    assert train(ours, 2, kind=kind) == pytest.approx(train(maml, 2, kind=kind), rel=1e-8)
    assert torch.allclose(ours._particles[0], row(ours, maml._weights), rtol=1e-7, atol=1e-9)
    for name in ("layer1.weight", "layer4.norm.scale"):
        assert torch.allclose(ours._shared[name], maml._weights[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prediction_is_the_mean_over_particles(kind: str) -> None:
    learner, query = bmaml(kind=kind), batch(kind).query
    particles = learner._particles.detach().expand(TASKS, -1, -1)
    found = learner._predict(particles, learner._features(query.x))
    singles = []
    for m in range(3):
        parts = particles[0, m, : learner._n_weights].split(
            [shape.numel() for shape in learner._shapes.values()]
        )
        own = {
            name: part.view(1, *learner._shapes[name])
            for name, part in zip(learner._shapes, parts, strict=True)
        }
        shared = {name: w[None] for name, w in learner._shared.items()}
        singles.append(learner._space.forward(own | shared, {}, query.x))
    if kind == "regression":
        assert torch.allclose(found, torch.stack(singles).mean(0), rtol=1e-10)
    else:
        mean = torch.stack([y.softmax(-1) for y in singles]).mean(0)
        assert torch.allclose(found.exp(), mean, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", [1, -1])
def test_the_meta_gradient_by_finite_differences(kind: str, column: int) -> None:
    """The leader, and the bandwidth, are constants of differentiation; so they are here."""
    learner, tasks, eps = bmaml(kind=kind), batch(kind), 1e-5
    learner.meta_step(tasks, progress=0.0, rng=generator())
    found = 10 * float(learner.outer.state_dict()["adam"][0]["exp_avg"][0, column])
    learner = bmaml(kind=kind)
    support, query = learner._read(tasks.support), learner._read(tasks.query)
    *_, chaser = learner._path(support, 3)
    seen = Labelled(torch.cat([support.x, query.x], 1), torch.cat([support.y, query.y], 1))
    with torch.no_grad():
        leader = learner._step(chaser, seen)
    bandwidths: list[Tensor] = []
    real = torch.quantile

    def recorded(*args: Any, **kwargs: Any) -> Tensor:
        bandwidths.append(real(*args, **kwargs))
        return bandwidths[-1]

    def loss(replay: list[Tensor] | None) -> float:
        queue = iter(replay or [])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                torch, "quantile", recorded if replay is None else lambda *a, **k: next(queue)
            )
            *_, moved = learner._path(support, 3)
        distance = (moved - leader)[..., : learner._n_weights]
        return float(distance.detach().square().sum((1, 2)).mean())

    loss(None)
    numeric = []
    for move in (eps, -eps):
        learner._particles.data[0, column] += move
        numeric.append(loss(bandwidths))
        learner._particles.data[0, column] -= move
    expected = (numeric[0] - numeric[1]) / (2 * eps)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert abs(found) > 1e-10


def test_the_bandwidth_is_not_differentiated() -> None:
    particles = torch.randn(1, 3, 2, dtype=torch.float64, generator=generator()).requires_grad_()
    zeros = torch.zeros_like(particles)
    direction = svgd_direction(particles, zeros)
    (found,) = torch.autograd.grad((direction * torch.arange(6.0).view(1, 3, 2)).sum(), particles)
    h = float(np.median(torch.cdist(particles[0], particles[0]).detach().square())) / math.log(3)
    differences = particles[0, :, None] - particles[0, None]
    kernel = torch.exp(-differences.square().sum(-1) / h)
    plain = (2 / h * kernel[..., None] * differences).sum(1) / 3
    (expected,) = torch.autograd.grad((plain * torch.arange(6.0).view(3, 2)).sum(), particles)
    assert torch.allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_query_loss(kind: str) -> None:
    learner, tasks = bmaml(kind=kind), batch(kind)
    losses = [
        float(learner.meta_step(tasks, progress=0.0, rng=generator())["query_loss"])
        for _ in range(30)
    ]
    assert losses[-1] < 0.7 * losses[0]
