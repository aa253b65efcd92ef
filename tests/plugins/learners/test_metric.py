"""Metric learners: closed forms and reductions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.helpers.small_tasks import SHAPES, batch, context, generator, in_double
from torch import Tensor

from metabench import EpisodeShape, Labelled, TaskBatch
from metabench_plugins.learners.metric import (
    MatchingNet,
    MatchingNetParams,
    MetricLearner,
    ProtoNet,
    ProtoNetParams,
    train_shape,
)

KIND = "classification"
WAYS = SHAPES[KIND].ways


def protonet(**params: Any) -> ProtoNet:
    learner: ProtoNet = in_double(ProtoNet(context(ProtoNetParams(**params), kind=KIND)))
    return learner


def matching_net(**params: Any) -> MatchingNet:
    learner: MatchingNet = in_double(MatchingNet(context(MatchingNetParams(**params), kind=KIND)))
    return learner


def predicted(learner: MetricLearner, support: Labelled, x: Tensor) -> Tensor:
    return learner.adapt(support, rng=generator()).predict(x)


def one_shot(tasks: TaskBatch) -> Labelled:
    """One support example per class."""
    first = torch.tensor([(tasks.support.y[0] == c).nonzero()[0, 0] for c in range(WAYS)])
    return Labelled(tasks.support.x[:, first], tasks.support.y[:, first])


def test_protonet_is_a_linear_classifier_of_the_embedding() -> None:
    """``-|z - c|^2 = 2 c z - |c|^2 - |z|^2``, and the last term is the same for all classes."""
    learner, tasks = protonet(), batch(KIND)
    z, s = learner.embed(tasks.query.x), learner.embed(tasks.support.x)
    means = torch.stack([s[tasks.support.y == c].view(len(s), -1, s.shape[2]).mean(1)
                         for c in range(WAYS)], dim=1)  # fmt: skip
    linear = 2 * z @ means.mT - means.square().sum(2).unsqueeze(1)
    ours = predicted(learner, tasks.support, tasks.query.x)
    torch.testing.assert_close(ours.log_softmax(2), linear.log_softmax(2))


@pytest.mark.parametrize("made", [protonet, matching_net])
def test_with_one_shot_it_is_the_nearest_neighbor(made: Any) -> None:
    learner = made(scale=1e4) if made is matching_net else made()
    tasks = batch(KIND)
    support = one_shot(tasks)
    z, s = learner.embed(tasks.query.x), learner.embed(support.x)
    if made is matching_net:
        z, s = (part / part.norm(dim=2, keepdim=True) for part in (z, s))
    nearest = torch.cdist(z, s).argmin(dim=2)
    found = predicted(learner, support, tasks.query.x).argmax(dim=2)
    assert torch.equal(found, support.y.gather(1, nearest))


def test_the_root_of_the_squared_distance() -> None:
    tasks = batch(KIND)
    squared, root = protonet(), protonet(distance="euclidean")
    torch.testing.assert_close(
        predicted(root, tasks.support, tasks.query.x) ** 2,
        -predicted(squared, tasks.support, tasks.query.x),
    )


def test_the_squared_distance_per_feature() -> None:
    tasks = batch(KIND)
    whole, mean = protonet(), protonet(distance="mean-squared")
    features = whole.embed(tasks.query.x).shape[2]
    torch.testing.assert_close(
        features * predicted(mean, tasks.support, tasks.query.x),
        predicted(whole, tasks.support, tasks.query.x),
    )


def test_matching_net_gives_probabilities_that_are_shares_of_the_attention() -> None:
    learner, tasks = matching_net(scale=3.0), batch(KIND)
    z, s = learner.embed(tasks.query.x), learner.embed(tasks.support.x)
    cosines = torch.nn.functional.cosine_similarity(z.unsqueeze(2), s.unsqueeze(1), dim=3)
    attention = (3.0 * cosines).softmax(dim=2)
    shares = torch.stack(
        [(attention * (tasks.support.y == c).unsqueeze(1)).sum(2) for c in range(WAYS)], dim=2
    )
    torch.testing.assert_close(
        predicted(learner, tasks.support, tasks.query.x).exp(), shares, atol=1e-12, rtol=1e-9
    )


@pytest.mark.parametrize("made", [protonet, matching_net])
def test_permuting_the_classes_permutes_the_predictions(made: Any) -> None:
    learner, tasks = made(), batch(KIND)
    order = torch.tensor([2, 0, 1])
    swapped = Labelled(tasks.support.x, order[tasks.support.y])
    plain = predicted(learner, tasks.support, tasks.query.x)
    torch.testing.assert_close(predicted(learner, swapped, tasks.query.x)[:, :, order], plain)


@pytest.mark.parametrize("made", [protonet, matching_net])
def test_the_gradient_is_that_of_finite_differences(made: Any) -> None:
    learner, tasks = made(), batch(KIND)
    weights = list(learner.outer.weights.values())

    def loss() -> Tensor:
        members = torch.nn.functional.one_hot(tasks.support.y, WAYS).double()
        logits = learner.logits(
            learner.embed(tasks.query.x), learner.embed(tasks.support.x), members
        )
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tasks.query.y.flatten())

    gradients = torch.autograd.grad(loss(), weights, materialize_grads=True)
    draw = generator(1)
    direction = [torch.randn(w.shape, generator=draw, dtype=w.dtype) for w in weights]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    values = []
    for step in (1e-7, -2e-7):  # small, for ReLU and pooling have kinks
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=step)
        values.append(float(loss().detach()))
    assert slope == pytest.approx((values[0] - values[1]) / 2e-7, rel=1e-4)


@pytest.mark.parametrize("made", [protonet, matching_net])
def test_training_lowers_the_loss(made: Any) -> None:
    learner = made(outer_lr=0.01, **({"scale": 10.0} if made is matching_net else {}))
    losses = [
        float(learner.meta_step(batch(KIND), progress=0.0, rng=generator())["loss"])
        for _ in range(30)
    ]
    assert losses[-1] < 0.5 * losses[0]


def test_it_trains_on_more_classes_than_it_is_tested_on() -> None:
    params = ProtoNetParams(train_ways=5)
    assert train_shape(params, EpisodeShape(3, 2, 4)) == EpisodeShape(5, 2, 4)
    learner = in_double(ProtoNet(context(params, kind=KIND)))
    tasks = batch(KIND)
    y = torch.arange(5).repeat(len(tasks), 2)
    draw = generator(3)
    x = torch.randn(len(tasks), 10, *tasks.query.x.shape[2:], generator=draw, dtype=torch.float64)
    wide = replace(tasks, support=Labelled(x, y), query=Labelled(x, y))
    assert float(learner.meta_step(wide, progress=0.0, rng=generator())["loss"]) > 0
    assert predicted(learner, tasks.support, tasks.query.x).shape[2] == WAYS


def test_the_rate_is_halved() -> None:
    whole, half = protonet(halve_every=0.25), protonet(outer_lr=0.0005)
    whole.meta_step(batch(KIND), progress=0.3, rng=generator())
    half.meta_step(batch(KIND), progress=0.3, rng=generator())
    for name, weight in half.outer.weights.items():
        torch.testing.assert_close(whole.outer.weights[name], weight)


@pytest.mark.parametrize("total", [10, 500, 70_000])
def test_no_halving_comes_a_step_late(total: int) -> None:
    learner = protonet(halve_every=0.1)
    for halvings in range(10):
        first = halvings * total // 10
        assert learner.rate(first / total) == 0.5**halvings
    assert protonet().rate((total - 1) / total) == 1


def test_the_head_of_the_network_is_neither_learned_nor_counted() -> None:
    learner = protonet()
    weights = learner.outer.weights
    assert not any(name.startswith("head.") for name in weights)
    tasks = batch(KIND)
    counted = learner.adapt(tasks.support, rng=generator()).n_params
    assert counted == [sum(w.numel() for w in weights.values())] * len(tasks)
