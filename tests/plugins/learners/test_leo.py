"""LEO: its equations, its reductions, its count of weights."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.helpers.small_tasks import IMAGES, SHAPES, batch, context, generator, in_double
from torch import Tensor
from torch.nn import functional

from metabench import ClassBatch, EpisodeShape, Labelled, TaskBatch, TaskShape, Training
from metabench_plugins.learners.leo import PRE_TRAIN, Leo, LeoParams, logits, phases

WAYS, SHOTS, FEATURES, LATENT = 3, 2, 8, 5
QUIET: dict[str, Any] = {"dropout": 0.0}


def leo(features: int = FEATURES, shots: int = SHOTS, **params: Any) -> Leo:
    """LEO on given features."""
    chosen = LeoParams(**{"features": "inputs", "latent": LATENT, **params})
    own = context(
        chosen,
        kind="classification",
        task=TaskShape("classification", (features,), WAYS),
        shape=EpisodeShape(WAYS, shots, 2),
        space=None,
    )
    learner: Leo = in_double(Leo(own))
    return learner


def tasks(n_tasks: int = 4, shots: int = SHOTS, queries: int = 3, seed: int = 0) -> TaskBatch:
    rng = generator(seed)
    means = torch.randn(n_tasks, WAYS, FEATURES, generator=rng, dtype=torch.float64)

    def part(n: int) -> Labelled:
        y = torch.arange(WAYS).repeat(n_tasks, n)
        noise = torch.randn(*y.shape, FEATURES, generator=rng, dtype=torch.float64)
        return Labelled(means[torch.arange(n_tasks)[:, None], y] + 0.5 * noise, y)

    return TaskBatch(part(shots), part(queries), ("s",) * n_tasks, tuple(map(str, range(n_tasks))))


def in_training(seed: int) -> Training:
    return Training(rng=generator(seed), progress=0.0)


def losses(learner: Leo, drawn: TaskBatch) -> tuple[Tensor, Tensor]:
    x, q = (functional.normalize(one.x, dim=2) for one in (drawn.support, drawn.query))
    return learner.losses(x, drawn.support.y, q, drawn.query.y, training=in_training(3))


def test_the_weights_are_as_many_as_the_source_has() -> None:
    learner = leo(features=640, latent=64)
    assert sum(w.numel() for w in learner.outer.weights.values()) == 172_736


def test_without_inner_steps_it_is_the_generator_alone() -> None:
    still = leo(latent_lr=0.0, tuning_lr=0.0)
    generator_alone = leo(latent_steps=0, tuning_steps=0)
    generator_alone.load_state_dict(still.state_dict())
    drawn = tasks()
    first, second = (
        one.adapt(drawn.support, rng=generator()).predict(drawn.query.x)
        for one in (still, generator_alone)
    )
    assert torch.allclose(first, second, atol=1e-12)
    # The generator's classifier is the first half of W_d mu.
    x = functional.normalize(drawn.support.x, dim=2)
    codes, _ = still.encode(x, drawn.support.y, training=None)
    mean = codes.mean(dim=2) @ still.outer.weights["decoder"][:, :FEATURES]
    query = functional.normalize(drawn.query.x, dim=2)
    assert torch.allclose(first, torch.einsum("tqd,tnd->tqn", query, mean), atol=1e-12)


def test_the_codes_of_a_class_come_from_all_pairs() -> None:
    learner, drawn = leo(), tasks(n_tasks=2)
    x, y = drawn.support.x, drawn.support.y
    found, _ = learner.encode(x, y, training=None)
    for t in range(2):
        mean = related(learner.outer.weights, x[t], y[t])[:, :LATENT]
        assert torch.allclose(found[t], mean[:, None].expand(-1, SHOTS, -1), atol=1e-12)


@pytest.mark.parametrize("rate", [0.3])
def test_tuning_a_shared_classifier_is_meta_sgd(rate: float) -> None:
    """With one start for all tasks and no latent steps: a learned rate for each weight."""
    learner = leo(latent_steps=0, tuning_steps=3, tuning_lr=rate)
    drawn = tasks()
    x, y = drawn.support.x, drawn.support.y
    start = torch.randn(WAYS, FEATURES, generator=generator(9), dtype=torch.float64)
    shared = start[None, :, None, :].expand(len(drawn), -1, SHOTS, -1)
    learner.decode = lambda codes, training: shared.clone().requires_grad_()  # type: ignore[method-assign]
    _, found = learner.refine(torch.zeros(1), x, y, training=None)
    for t in range(len(drawn)):
        w = start.clone()
        for _ in range(3):
            w.requires_grad_()
            loss = functional.cross_entropy(x[t] @ w.T, y[t], reduction="sum")
            (gradient,) = torch.autograd.grad(loss, w)
            # The logits average the classifiers of a class, so each gets its share.
            w = (w - rate * gradient / SHOTS).detach()
        assert torch.allclose(found[t].mean(dim=1), w, atol=1e-10)


@pytest.mark.parametrize("name", ["rate.latent", "rate.tuning", "decoder", "encoder", "relation.2"])
def test_the_outer_gradient_is_that_of_finite_differences(name: str) -> None:
    learner = leo(kl_weight=0.1, encoder_penalty=0.0, l2_penalty=0.01, latent_lr=0.3, tuning_lr=0.1)
    # Away from the clamp of the spreads, where finite differences see a corner.
    with torch.no_grad():
        learner.outer.weights["relation.3"][:, LATENT:] += 0.4
        learner.outer.weights["decoder"][:, FEATURES:].abs_()
    drawn = tasks(n_tasks=2)

    def outer() -> Tensor:
        found, penalty = losses(learner, drawn)
        return found.mean() + penalty

    weight = learner.outer.weights[name]
    (gradient,) = torch.autograd.grad(outer(), weight)
    direction = torch.randn(weight.shape, generator=generator(1), dtype=torch.float64)
    h = 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * h * direction
        values.append(float(outer().detach()))
        with torch.no_grad():
            weight -= sign * h * direction
    slope = (values[0] - values[1]) / (2 * h)
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-5, abs=1e-8)


def spread(u: Tensor, offset: float) -> Tensor:
    return (u.exp() - 1 + offset).clamp_min(1e-10)


def test_the_outer_loss_is_that_of_the_equations_one_task_after_another() -> None:
    """Every term of equation 4, with noise, and with a rate of its own for each coordinate."""
    learner = leo(
        kl_weight=0.3,
        encoder_penalty=0.7,
        l2_penalty=0.05,
        orthogonality_penalty=0.2,
        latent_steps=2,
        tuning_steps=2,
        **QUIET,
    )
    w, drawn, n_tasks = learner.outer.weights, tasks(n_tasks=2), 2
    with torch.no_grad():
        w["relation.3"][:, LATENT:] += 0.4
        w["rate.latent"].uniform_(0.1, 0.5, generator=generator(6))
        w["rate.tuning"].uniform_(0.01, 0.2, generator=generator(7))
    found, penalty = (one.detach() for one in losses(learner, drawn))

    noise = generator(3)
    eps = torch.randn(n_tasks, WAYS, SHOTS, LATENT, generator=noise).double()
    of_classifiers = [
        torch.randn(n_tasks, WAYS, SHOTS, FEATURES, generator=noise).double() for _ in range(3)
    ]
    divergence = distance = 0.0
    for t in range(n_tasks):
        x, y = functional.normalize(drawn.support.x[t], dim=1), drawn.support.y[t]
        q, answers = functional.normalize(drawn.query.x[t], dim=1), drawn.query.y[t]
        mu_u = related(w, x, y)
        mu, sigma = mu_u[:, None, :LATENT], spread(mu_u[:, None, LATENT:], 0.0)
        z = first = (mu + sigma * eps[t]).detach().requires_grad_()
        density = torch.distributions.Normal(mu, sigma).log_prob(first)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(first)
        divergence += float((density - prior).mean().detach()) / n_tasks

        def classifiers(z: Tensor, step: int, t: int = t) -> Tensor:
            m, v = (z @ w["decoder"]).split(FEATURES, dim=2)
            offset = (2 / (FEATURES + WAYS)) ** 0.5
            return m + spread(v, offset) * of_classifiers[step][t]

        for step in range(2):
            (slope,) = torch.autograd.grad(entropy(classifiers(z, step), x, y, "sum"), z)
            z = (z - w["rate.latent"] * slope).detach().requires_grad_()
        own = classifiers(z, 2).detach().requires_grad_()
        for _ in range(2):
            (slope,) = torch.autograd.grad(entropy(own, x, y, "sum"), own)
            own = (own - w["rate.tuning"] * slope).detach().requires_grad_()
        expected = float(entropy(own, q, answers, "mean").detach())
        assert float(found[t]) == pytest.approx(expected, rel=1e-10)
        distance += float((z - first).square().mean().detach()) / n_tasks

    names = ("encoder", "relation.1", "relation.2", "relation.3", "decoder")
    squares = sum(float(w[name].detach().square().sum()) for name in names)
    rows = w["decoder"].detach()
    off = [
        float(functional.cosine_similarity(rows[a], rows[b], dim=0)) - (a == b)
        for a in range(LATENT)
        for b in range(LATENT)
    ]
    correlations = sum(value**2 for value in off) / LATENT**2
    assert min(abs(divergence), distance, squares, correlations) > 1e-4
    total = 0.3 * divergence + 0.7 * distance + 0.05 * squares / 2 + 0.2 * correlations
    assert float(penalty) == pytest.approx(total, rel=1e-10)


def entropy(classifiers: Tensor, x: Tensor, y: Tensor, reduction: str) -> Tensor:
    """The cross-entropy of one task, whose classifiers are ``[ways, shots, d]``."""
    each = torch.stack([x @ classifiers[:, k].T for k in range(SHOTS)])
    return functional.cross_entropy(each.mean(dim=0), y, reduction=reduction)


def related(w: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Equation 1 by loops over pairs: mu and u of each class, ``[ways, 2 latent]``."""
    e = x @ w["encoder"]
    classes = []
    for c in range(WAYS):
        rows = []
        for i in (y == c).nonzero()[:, 0].tolist():
            for j in range(len(x)):
                h = torch.relu(torch.cat([e[i], e[j]]) @ w["relation.1"])
                rows.append(torch.relu(h @ w["relation.2"]) @ w["relation.3"])
        classes.append(torch.stack(rows).mean(dim=0))
    return torch.stack(classes)


def test_the_code_that_the_encoder_is_pulled_to_is_held_constant() -> None:
    """The gamma term of equation 4 reaches no rate of the steps on the codes."""
    weights = {"kl_weight": 0.0, "l2_penalty": 0.0, "orthogonality_penalty": 0.0}
    learner = leo(encoder_penalty=1.0, **weights, **QUIET)
    _, penalty = losses(learner, tasks())
    names = ["rate.latent", "encoder"]
    rate, encoder = torch.autograd.grad(
        penalty, [learner.outer.weights[name] for name in names], materialize_grads=True
    )
    assert not rate.any()
    assert encoder.any()


def test_dropout_is_drawn_anew_in_every_pass() -> None:
    """For the encoder, in each inner step, and for the queries; at meta-test there is none."""
    learner, drawn = leo(latent_steps=2, tuning_steps=3, dropout=0.5), tasks()
    seen: list[Tensor] = []
    drop = learner._dropout

    def watched(x: Tensor, training: Training | None) -> Tensor:
        seen.append(drop(x, training))
        return seen[-1]

    learner._dropout = watched  # type: ignore[method-assign]
    losses(learner, drawn)
    assert len(seen) == 1 + 2 + 3 + 1
    masks = [x[:, :4] == 0 for x in seen]
    assert all(mask.any() for mask in masks)
    assert not any(torch.equal(a, b) for a, b in pairwise(masks))
    seen.clear()
    learner.adapt(drawn.support, rng=generator()).predict(drawn.query.x)
    assert not any((x == 0).any() for x in seen)


def test_the_gradient_of_each_tensor_is_bounded_by_itself() -> None:
    """Elements first, then the norm of each tensor, not that of all together."""
    learner = leo(max_norm=1e-6, clip=0.1, skip_above=None)
    learner.meta_step(tasks(), progress=0.0, rng=generator())
    moments = learner.state_dict()["leo"]["adam"].values()
    norms = [10 * float(moment["exp_avg"].norm()) for moment in moments]  # 0.1 * gradient
    assert norms == pytest.approx([1e-6] * len(norms), rel=1e-2)


def test_features_have_length_one() -> None:
    learner, drawn = leo(), tasks()
    once = learner.adapt(drawn.support, rng=generator()).predict(drawn.query.x)
    scaled = Labelled(7 * drawn.support.x, drawn.support.y)
    again = learner.adapt(scaled, rng=generator()).predict(3 * drawn.query.x)
    assert torch.allclose(once, again, atol=1e-12)
    lengths = learner._features(drawn.query.x).norm(dim=2)
    assert torch.allclose(lengths, torch.ones_like(lengths))


def test_permuting_the_classes_permutes_the_logits() -> None:
    learner, drawn = leo(), tasks()
    order = torch.tensor([2, 0, 1])
    renamed = Labelled(drawn.support.x, order[drawn.support.y])
    first = learner.adapt(drawn.support, rng=generator()).predict(drawn.query.x)
    second = learner.adapt(renamed, rng=generator()).predict(drawn.query.x)
    assert torch.allclose(second[..., order], first, atol=1e-10)


def test_the_divergence_is_that_of_the_normal_densities() -> None:
    learner, drawn = leo(**QUIET), tasks()
    with torch.no_grad():
        learner.outer.weights["relation.3"][:, LATENT:] += 0.4
    training = in_training(5)
    codes, found = learner.encode(drawn.support.x, drawn.support.y, training=training)
    mean, _ = learner.encode(drawn.support.x, drawn.support.y, training=None)
    eps = torch.randn(codes.shape, generator=generator(5)).double()
    sigma = (codes - mean) / eps
    q = torch.distributions.Normal(mean, sigma.abs()).log_prob(codes)
    p = torch.distributions.Normal(0.0, 1.0).log_prob(codes)
    assert float(found.detach()) == pytest.approx(float((q - p).mean().detach()), rel=1e-6)


def test_meta_test_draws_nothing() -> None:
    learner, drawn = leo(), tasks()
    first, second = (
        learner.adapt(drawn.support, rng=generator(seed)).predict(drawn.query.x) for seed in (0, 1)
    )
    assert torch.equal(first, second)


def test_training_lowers_the_loss_of_linear_tasks() -> None:
    learner = leo(outer_lr=0.01, **QUIET)
    found = [
        float(learner.meta_step(tasks(seed=s % 10), progress=0.0, rng=generator(s))["loss"])
        for s in range(60)
    ]
    assert sum(found[-10:]) < 0.9 * sum(found[:10])


def test_the_network_is_trained_first_and_then_left() -> None:
    own = context(LeoParams(latent=LATENT), kind="classification", train_classes=6)
    learner = Leo(own)
    assert learner._network is not None
    y = torch.randint(6, (1, 10), generator=generator())
    x = torch.randn(1, 10, *IMAGES.inputs, generator=generator())
    none = Labelled(x[:0, :0], y[:0, :0])
    examples = TaskBatch(none, none, (), (), phase=PRE_TRAIN, labelled=ClassBatch(x, y, "k"))

    def state() -> tuple[Tensor, Tensor]:
        assert learner._network is not None
        network = next(iter(learner._network.outer.weights.values())).detach().clone()
        return network, learner.outer.weights["decoder"].detach().clone()

    before = state()
    learner.meta_step(examples, progress=0.0, rng=generator())
    trained = state()
    assert not torch.equal(before[0], trained[0])
    assert torch.equal(before[1], trained[1])
    few = batch("classification")
    episodes = replace(
        few,
        support=Labelled(few.support.x.float(), few.support.y),
        query=Labelled(few.query.x.float(), few.query.y),
        phase="meta-train",
    )
    learner.meta_step(episodes, progress=0.6, rng=generator())
    after = state()
    assert torch.equal(trained[0], after[0])
    assert not torch.equal(trained[1], after[1])


def test_phases_follow_the_fraction() -> None:
    first, second = phases(LeoParams(pretrain_fraction=0.25), SHAPES["classification"])
    assert (first.share, first.tasks, first.selects) == (0.25, 0, False)
    assert (second.share, second.tasks) == (0.75, None)
    (only,) = phases(LeoParams(features="inputs"), SHAPES["classification"])
    assert only.examples == 0


def test_logits_average_the_classifiers_of_a_class() -> None:
    x = torch.randn(2, 4, FEATURES, generator=generator(), dtype=torch.float64)
    w = torch.randn(2, WAYS, SHOTS, FEATURES, generator=generator(1), dtype=torch.float64)
    each = torch.einsum("tqd,tnkd->tqnk", x, w)
    assert torch.allclose(logits(x, w), each.mean(dim=3))
