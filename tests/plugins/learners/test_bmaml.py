"""BMAML: SVGD against loops, the posterior, the meta-gradient, and MAML as its special case."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_tasks import TASKS, batch, context, generator, in_double, outer_rates, train
from torch import Tensor

from metabench.plugin.contracts.episode import Labelled
from metabench_plugins.learners.bmaml import Bmaml, BmamlParams, Particles
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts.svgd import svgd_matrices

PARAMS = {"inner_lr": 0.05, "inner_steps": 3, "outer_lr": 0.01}
KINDS = ["regression", "classification"]


def bmaml(*, kind: str = "regression", **params: Any) -> Bmaml:
    values = {**PARAMS, "particles": 3, **params}
    learner: Bmaml = in_double(Bmaml(context(BmamlParams(**values), kind=kind)))
    learner._particles["logs"].data = learner._particles["logs"].data.double()
    return learner


def row(learner: Bmaml, weights: dict[str, Tensor]) -> Tensor:
    """The weights of a particle in its order of columns."""
    return torch.cat([weights[name].flatten() for name in learner._shapes])


def start(learner: Bmaml) -> Particles:
    """The particles of all tasks before any step, apart from the graph."""
    weights, logs = (w.detach() for w in learner._particles.values())
    return Particles(weights.expand(TASKS, -1, -1), logs.expand(TASKS, -1, -1))


def direction(particles: Tensor, gradients: Tensor, *, repulsion: float = 1.0) -> Tensor:
    a, b = svgd_matrices(particles @ particles.mT, repulsion=repulsion)
    return a @ gradients + b @ particles


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
    found = direction(particles, gradients)
    for task in range(TASKS):
        expected = loop_direction(particles[task], gradients[task])
        assert torch.allclose(found[task], expected, rtol=1e-9, atol=1e-12)


def test_a_factor_of_the_log_posterior_is_a_factor_of_the_direction() -> None:
    particles = torch.randn(2, 4, 6, dtype=torch.float64, generator=generator())
    gradients = torch.randn(2, 4, 6, dtype=torch.float64, generator=generator(1))
    scaled = direction(particles, 0.01 * gradients, repulsion=0.01)
    assert torch.allclose(scaled, 0.01 * direction(particles, gradients), rtol=1e-10)


def test_particles_that_coincide_move_together() -> None:
    particles = torch.ones(1, 3, 4)
    gradients = torch.arange(12.0).view(1, 3, 4)
    found = direction(particles, gradients)
    assert torch.allclose(found, gradients.mean(dim=1, keepdim=True).expand_as(found))


def log_posterior(learner: Bmaml, particles: Particles, data: Labelled) -> Tensor:
    """Of all particles of all tasks, as written in the module's first lines, constants left out."""
    errors = (learner._outputs(particles, data.x) - data.y.unsqueeze(1)).square().sum((2, 3))
    log_lambda, log_gamma = particles.logs.unbind(2)
    n, n_weights = data.y.shape[1], particles.weights.shape[2]
    likelihood = (n * log_gamma - log_gamma.exp() * errors) / 2
    squares = particles.weights.square().sum(2)
    weights = (n_weights * log_lambda - log_lambda.exp() * squares) / 2
    # Gamma(2, 0.2) and Gamma(2, 2) in the logs of their variables.
    precisions = 2 * log_gamma - 0.2 * log_gamma.exp() + 2 * log_lambda - 2 * log_lambda.exp()
    return likelihood + weights + precisions


@pytest.mark.parametrize("n_particles", [1, 3])
def test_a_step_is_svgd_on_the_log_posterior(n_particles: int) -> None:
    learner, data = bmaml(noise=0.05, particles=n_particles), batch().support
    weights, logs = start(learner)
    rng = generator(4)
    logs = logs + 0.3 * torch.randn(logs.shape, dtype=torch.float64, generator=rng)
    inputs = Particles(weights.clone().requires_grad_(), logs.requires_grad_())
    gradients = torch.autograd.grad(log_posterior(learner, inputs, data).sum(), inputs)
    rows = torch.cat([weights, logs.detach()], dim=2)
    unit = 2 * 0.05 / data.y.shape[1]
    expected = rows + 0.05 * unit * direction(rows, torch.cat(gradients, dim=2))
    found = torch.cat(learner._step(Particles(weights, logs.detach()), data), dim=2)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("reduction", "examples"), [("per_shot", 2), ("mean", 6)])
def test_a_step_on_classes_is_svgd_on_the_log_posterior(reduction: str, examples: int) -> None:
    """Divided by the number of examples that the reduction divides by: of a class, or all."""
    learner = bmaml(kind="classification", reduction=reduction)
    data = learner._as_features(batch("classification").support)
    weights, logs = start(learner)
    logs = logs + 0.3 * torch.randn(logs.shape, dtype=torch.float64, generator=generator(4))
    inputs = Particles(weights.clone().requires_grad_(), logs.requires_grad_())
    probabilities = learner._outputs(inputs, data.x.detach()).log_softmax(dim=-1)
    chosen = data.y[:, None, :, None].expand(*probabilities.shape[:3], 1)
    log_lambda, squares = inputs.logs[..., 0], inputs.weights.square().sum(2)
    # The prior of the weights, and Gamma(2, 2) in the log of its variable.
    prior = (weights.shape[2] * log_lambda - log_lambda.exp() * squares) / 2
    prior = prior + 2 * log_lambda - 2 * log_lambda.exp()
    posterior = probabilities.gather(3, chosen).sum((2, 3)) + prior
    gradients = torch.autograd.grad(posterior.sum(), inputs)
    rows = torch.cat([weights, logs.detach()], dim=2)
    expected = rows + 0.05 / examples * direction(rows, torch.cat(gradients, dim=2))
    found = torch.cat(learner._step(Particles(weights, logs.detach()), data), dim=2)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_the_leader_goes_on_from_the_chaser_for_its_steps() -> None:
    learner, tasks = bmaml(leader_steps=2), batch()
    seen = Labelled(
        *(torch.cat([getattr(p, name) for p in (tasks.support, tasks.query)], 1) for name in "xy")
    )
    *_, chaser = learner._path(tasks.support, 3)
    leader = learner._step(learner._step(chaser, seen), seen)
    expected = (chaser.weights - leader.weights).square().sum((1, 2)).mean()
    found = learner.meta_step(tasks, progress=0.0, rng=generator())["loss"]
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-10)


def test_the_inner_clip_bounds_each_element_of_the_gradient() -> None:
    free, bound = bmaml(prior="flat", particles=1), 1e-3
    bounded = bmaml(prior="flat", particles=1, inner_clip=bound)
    data = batch().support
    moved = [one._step(start(one), data).weights - start(one).weights for one in (free, bounded)]
    assert torch.allclose(moved[1], moved[0].clamp(-0.05 * bound, 0.05 * bound), rtol=1e-9)
    assert float(moved[0].abs().max()) > 2 * 0.05 * bound


def test_the_outer_rate_falls_with_every_hundredth_of_training() -> None:
    learner = bmaml(outer_decay=0.5)
    rates = outer_rates(learner)
    for progress in (0.0, 0.0099, 0.01, 0.025):
        learner.meta_step(batch(), progress=progress, rng=generator())
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.0025])


@pytest.mark.parametrize("learn", [True, False])
def test_the_outer_loop_learns_where_precisions_start_if_it_shall(learn: bool) -> None:
    learner = bmaml(learn_precisions=learn)
    before = learner._particles["logs"].clone()
    learner.meta_step(batch(), progress=0.0, rng=generator())
    assert torch.equal(before, learner._particles["logs"]) != learn
    _, after = learner._step(start(learner), batch().support)
    assert not torch.equal(after, start(learner).logs)  # the inner loop moves them always


def test_the_bound_of_the_outer_norm_reaches_adam() -> None:
    tasks = batch()
    learner = bmaml(max_norm=1e-6)
    learner.meta_step(tasks, progress=0.0, rng=generator())
    moments = [m["exp_avg"] for m in learner.state_dict()["adam"].values()]
    total = math.sqrt(sum(float(m.square().sum()) for m in moments))
    assert 10 * total == pytest.approx(1e-6, rel=1e-3)  # 0.1 * gradient


@pytest.mark.parametrize("meta_loss", ["chaser", "query"])
def test_one_particle_without_prior_adapts_as_maml(meta_loss: str) -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS))))
    ours = bmaml(particles=1, prior="flat", meta_loss=meta_loss)
    tasks = batch()
    curves = [one.adapt(tasks.support, rng=generator()).curve for one in (ours, maml)]
    for found, expected in zip(*curves, strict=True):
        assert torch.allclose(found(tasks.query.x), expected(tasks.query.x), rtol=1e-10)


@pytest.mark.parametrize("order", ["second", "first"])
def test_one_particle_without_prior_on_the_query_loss_is_maml(order: Any) -> None:
    maml = in_double(Maml(context(MamlParams(**PARAMS, order=order))))
    ours = bmaml(particles=1, prior="flat", meta_loss="query", order=order)
    assert train(ours, 3) == pytest.approx(train(maml, 3), rel=1e-12)
    assert torch.allclose(
        ours._particles["weights"][0], row(ours, maml._weights), rtol=1e-9, atol=1e-12
    )


def test_one_particle_in_classification_is_maml_that_adapts_the_head() -> None:
    kind = "classification"
    maml = in_double(Maml(context(MamlParams(**PARAMS), kind=kind)))
    maml._adapted = frozenset({"head.weight", "head.bias"})
    ours = bmaml(kind=kind, particles=1, prior="flat", meta_loss="query")
    assert train(ours, 2, kind=kind) == pytest.approx(train(maml, 2, kind=kind), rel=1e-8)
    assert torch.allclose(
        ours._particles["weights"][0], row(ours, maml._weights), rtol=1e-7, atol=1e-9
    )
    for name in ("layer1.weight", "layer4.norm.scale"):
        assert torch.allclose(ours._shared[name], maml._weights[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prediction_is_the_mean_over_particles(kind: str) -> None:
    learner, query = bmaml(kind=kind), batch(kind).query
    found = learner._predict(start(learner), learner._features(query.x))
    singles = []
    for rows in learner._particles["weights"].detach():
        parts = rows.split([shape.numel() for shape in learner._shapes.values()])
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
@pytest.mark.parametrize("part", ["weights", "logs"])
def test_the_meta_gradient_by_finite_differences(kind: str, part: str) -> None:
    """The leader and the bandwidths are constants of differentiation; so they are here."""
    learner, tasks, eps = bmaml(kind=kind), batch(kind), 1e-5
    copy = bmaml(kind=kind)
    copy.meta_step(tasks, progress=0.0, rng=generator())
    place = list(copy.outer.weights).index(f"particles.{part}")
    found = 10 * float(copy.state_dict()["adam"][place]["exp_avg"][0, 0])  # 0.1 * gradient
    support, query = learner._as_features(tasks.support), learner._as_features(tasks.query)
    seen = Labelled(torch.cat([support.x, query.x], 1), torch.cat([support.y, query.y], 1))
    quantile, bandwidths = torch.quantile, []

    def keep(*args: Any, **kwargs: Any) -> Tensor:
        bandwidths.append(quantile(*args, **kwargs))
        return bandwidths[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "quantile", keep)
        *_, chaser = learner._path(support, 3)
    leader = learner._step(chaser, seen).weights.detach()

    def loss() -> float:
        values = iter(bandwidths)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "quantile", lambda *_, **__: next(values))
            *_, moved = learner._path(support, 3)
        return float((moved.weights - leader).detach().square().sum((1, 2)).mean())

    numeric = []
    for move in (eps, -eps):
        learner._particles[part].data[0, 0] += move
        numeric.append(loss())
        learner._particles[part].data[0, 0] -= move
    assert found == pytest.approx((numeric[0] - numeric[1]) / (2 * eps), rel=1e-4, abs=1e-11)
    assert abs(found) > 1e-9


def test_the_bandwidth_is_not_differentiated() -> None:
    particles = torch.randn(1, 3, 2, dtype=torch.float64, generator=generator()).requires_grad_()
    zeros = torch.zeros_like(particles)
    repelled = direction(particles, zeros)
    (found,) = torch.autograd.grad((repelled * torch.arange(6.0).view(1, 3, 2)).sum(), particles)
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
