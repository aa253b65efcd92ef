"""R2-D2 and MetaOptNet: closed forms, reductions and meta-gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.helpers.small_tasks import SHAPES, batch, context, generator, in_double
from torch import Tensor
from torch.nn import functional

from metabench import EpisodeShape, Labelled
from metabench_plugins.learners.linear_heads import (
    MetaOptNet,
    MetaOptNetParams,
    R2d2,
    R2d2Params,
    train_shape,
)
from metabench_plugins.learners.metric import MetricLearner
from metabench_plugins.learners.parts.conditions import of_metaoptnet
from metabench_plugins.learners.parts.ridge import ridge

KIND = "classification"
WAYS = SHAPES[KIND].ways

Made = Callable[..., MetricLearner]


def r2d2(**params: Any) -> R2d2:
    learner: R2d2 = in_double(R2d2(context(R2d2Params(**params), kind=KIND)))
    return learner


def ridge_head(**params: Any) -> MetaOptNet:
    return metaoptnet(head="ridge", **params)


def svm_head(**params: Any) -> MetaOptNet:
    return metaoptnet(head="svm", **params)


def metaoptnet(**params: Any) -> MetaOptNet:
    learner: MetaOptNet = in_double(MetaOptNet(context(MetaOptNetParams(**params), kind=KIND)))
    return learner


LEARNERS = pytest.mark.parametrize("made", [r2d2, ridge_head, svm_head])


def embedded(learner: MetricLearner) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, support and members of the classes of a batch."""
    tasks = batch(KIND)
    members = functional.one_hot(tasks.support.y, WAYS).double()
    with torch.no_grad():
        return learner.embed(tasks.query.x), learner.embed(tasks.support.x), members


def predicted(learner: MetricLearner, support: Labelled, x: Tensor) -> Tensor:
    return learner.adapt(support, rng=generator()).predict(x)


def primal(queries: Tensor, support: Tensor, members: Tensor, *, penalty: float) -> Tensor:
    """Ridge regression by its system of size d."""
    identity = torch.eye(support.shape[2], dtype=support.dtype)
    inverse = torch.linalg.inv(support.mT @ support + penalty * identity)
    return queries @ inverse @ support.mT @ members


@pytest.mark.parametrize("features", [3, 40])
def test_the_ridge_of_few_and_of_many_features(features: int) -> None:
    """The smaller of both systems has the size of the support set, or of the features."""
    draw = generator(2)
    x = torch.randn(4, 10, features, generator=draw, dtype=torch.float64)
    y = functional.one_hot(torch.arange(5).repeat(2)).double().expand(4, -1, -1)
    q = torch.randn(4, 6, features, generator=draw, dtype=torch.float64)
    found = 2 * q @ ridge(x, y, penalty=50.0)
    torch.testing.assert_close(found, 2 * primal(q, x, y, penalty=50.0), atol=1e-10, rtol=0)


@pytest.mark.parametrize("features", [3, 40])
def test_the_derivative_of_the_ridge_is_that_of_finite_differences(features: int) -> None:
    """With respect to the support set, to the queries and to the penalty."""
    draw = generator(2)
    x, q = (
        torch.randn(2, n, features, generator=draw, dtype=torch.float64, requires_grad=True)
        for n in (6, 4)
    )
    y = functional.one_hot(torch.arange(3).repeat(2)).double().expand(2, -1, -1)
    penalty = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, q, penalty: q @ ridge(x, y, penalty=penalty), (x, q, penalty)
    )


def test_the_logits_of_metaoptnets_ridge() -> None:
    learner, tasks = ridge_head(scale=3.0), batch(KIND)
    expected = 3 * 2 * primal(*embedded(learner), penalty=50.0)
    found = predicted(learner, tasks.support, tasks.query.x)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_the_logits_of_r2d2() -> None:
    learner, tasks = r2d2(penalty=7.0, scale=3.0), batch(KIND)
    learner.outer.weights["ridge.bias"].data.fill_(0.4)
    learner.outer.weights["ridge.log_penalty"].data.fill_(7.0).log_()
    expected = 3 * primal(*embedded(learner), penalty=7.0) + 0.4
    found = predicted(learner, tasks.support, tasks.query.x)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_r2d2_of_twice_the_scale_is_metaoptnets_ridge() -> None:
    tasks = batch(KIND)
    one, other = r2d2(scale=2.0, learn_penalty=False), ridge_head()
    torch.testing.assert_close(
        predicted(one, tasks.support, tasks.query.x),
        predicted(other, tasks.support, tasks.query.x),
        atol=1e-6,  # the logarithm of 50 is a number in float32
        rtol=0,
    )


def test_an_svm_of_two_classes_and_a_small_bound_compares_with_class_means() -> None:
    """All bounds are active: the logits are ``C X_q X_s' s`` with s = +1 and -1."""
    learner = svm_head(bound=1e-3, test_iterations=20)
    queries, support, members = embedded(learner)
    two = members[:, :, :2].sum(dim=2)[0] > 0
    support, members = support[:, two], members[:, two, :2]
    signs = members[:, :, :1] - members[:, :, 1:]
    expected = 1e-3 * queries @ support.mT @ torch.cat([signs, -signs], dim=2)
    found = learner.logits_at_test(queries, support, members)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_the_svm_has_other_iterations_at_test() -> None:
    learner = svm_head(iterations=30, test_iterations=1)
    parts = embedded(learner)
    early, late = learner.logits_at_test(*parts), learner.logits(*parts)
    assert float((early - late).detach().abs().max()) > 1e-3
    same = svm_head(iterations=4, test_iterations=4)
    assert torch.equal(same.logits_at_test(*parts), same.logits(*parts))


@LEARNERS
def test_permuting_the_classes_permutes_the_predictions(made: Made) -> None:
    learner, tasks = made(), batch(KIND)
    order = torch.tensor([2, 0, 1])
    swapped = Labelled(tasks.support.x, order[tasks.support.y])
    plain = predicted(learner, tasks.support, tasks.query.x)
    torch.testing.assert_close(predicted(learner, swapped, tasks.query.x)[:, :, order], plain)


@LEARNERS
def test_the_order_of_the_support_set_does_not_matter(made: Made) -> None:
    learner, tasks = made(), batch(KIND)
    order = torch.randperm(tasks.support.y.shape[1], generator=generator())
    shuffled = Labelled(tasks.support.x[:, order], tasks.support.y[:, order])
    plain = predicted(learner, tasks.support, tasks.query.x)
    torch.testing.assert_close(predicted(learner, shuffled, tasks.query.x), plain)


def slope_and_difference(learner: MetricLearner, direction: list[Tensor]) -> tuple[float, float]:
    """The meta-gradient along a direction of the learned weights, and its finite difference."""
    tasks, weights = batch(KIND), list(learner.outer.weights.values())
    members = functional.one_hot(tasks.support.y, WAYS).double()

    def loss() -> Tensor:
        logits = learner.logits(
            learner.embed(tasks.query.x), learner.embed(tasks.support.x), members
        )
        return learner.loss(logits.flatten(0, 1), tasks.query.y.flatten())

    gradients = torch.autograd.grad(loss(), weights, materialize_grads=True)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    values = []
    for step in (1e-7, -2e-7):  # small, for ReLU and pooling have kinks
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=step)
        values.append(float(loss().detach()))
    return slope, (values[0] - values[1]) / 2e-7


@LEARNERS
def test_the_meta_gradient_is_that_of_finite_differences(made: Made) -> None:
    """Along a random direction of all weights, with the numbers of the head."""
    learner = made(**({"iterations": 30} if made is svm_head else {}))
    draw = generator(1)
    direction = [
        torch.randn(w.shape, generator=draw, dtype=w.dtype) for w in learner.outer.weights.values()
    ]
    slope, difference = slope_and_difference(learner, direction)
    assert slope == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize("name", ["ridge.log_penalty", "ridge.scale"])
def test_the_meta_gradient_of_r2d2s_numbers(name: str) -> None:
    learner = r2d2()
    direction = [
        torch.full_like(w, float(found == name)) for found, w in learner.outer.weights.items()
    ]
    slope, difference = slope_and_difference(learner, direction)
    assert abs(slope) > 1e-4
    assert slope == pytest.approx(difference, rel=1e-4)


def test_r2d2s_bias_changes_no_probability() -> None:
    learner, tasks = r2d2(), batch(KIND)
    before = predicted(learner, tasks.support, tasks.query.x)
    learner.outer.weights["ridge.bias"].data.fill_(5.0)
    after = predicted(learner, tasks.support, tasks.query.x)
    torch.testing.assert_close(after, before + 5)


@LEARNERS
def test_training_lowers_the_loss(made: Made) -> None:
    learner = made(scale=5.0, **({"outer_lr": 0.01} if made is r2d2 else {"rate_drops": []}))
    losses = [
        float(learner.meta_step(batch(KIND), progress=0.0, rng=generator())["loss"])
        for _ in range(30)
    ]
    assert losses[-1] < 0.5 * losses[0]


@LEARNERS
def test_all_numbers_of_the_head_are_learned_and_counted(made: Made) -> None:
    learner = made()
    before = {n: w.detach().clone() for n, w in learner.outer.weights.items()}
    network = {n for n in before if n.startswith("layer")}
    head = set(before) - network
    if made is r2d2:
        assert head == {"ridge.log_penalty", "ridge.scale", "ridge.bias"}
    else:
        assert head == {"logits.scale"}
    tasks = batch(KIND)
    learner.meta_step(tasks, progress=0.0, rng=generator())
    assert all(not torch.equal(learner.outer.weights[n], before[n]) for n in head - {"ridge.bias"})
    counted = learner.adapt(tasks.support, rng=generator()).n_params
    assert counted == [sum(before[n].numel() for n in network) + len(head)] * len(tasks)


def test_a_penalty_that_is_not_learned() -> None:
    learner = r2d2(learn_penalty=False, penalty=2.0)
    learner.meta_step(batch(KIND), progress=0.0, rng=generator())
    assert "ridge.log_penalty" not in learner.outer.weights
    assert float(learner._head["log_penalty"].detach().exp()) == pytest.approx(2.0)


def test_smoothed_labels() -> None:
    learner = ridge_head(label_smoothing=0.1)
    draw = generator(4)
    logits = torch.randn(6, 5, generator=draw, dtype=torch.float64)
    y = torch.arange(6) % 5
    labels = torch.full((6, 5), 0.1 / 4, dtype=torch.float64)
    labels[torch.arange(6), y] = 0.9
    expected = -(labels * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(learner.loss(logits, y), expected)


def test_the_rate_drops_at_shares_of_training() -> None:
    learner = ridge_head(rate_drops=[(0.25, 0.5), (0.75, 0.1)])
    shares = (0.0, 0.24, 0.25, 0.74, 0.75, 0.99)
    assert [learner.rate(share) for share in shares] == [1.0, 1.0, 0.5, 0.5, 0.1, 0.1]
    assert ridge_head(rate_drops=[]).rate(0.99) == 1.0
    whole, half = ridge_head(rate_drops=[(0.25, 0.5)]), ridge_head(outer_lr=0.05)
    whole.meta_step(batch(KIND), progress=0.3, rng=generator())
    half.meta_step(batch(KIND), progress=0.3, rng=generator())
    for name, weight in half.outer.weights.items():
        torch.testing.assert_close(whole.outer.weights[name], weight)


@pytest.mark.parametrize(
    ("drops", "problem"),
    [
        ([(0.5, 0.1), (0.25, 0.01)], "shares of rate_drops must rise"),
        ([(1.0, 0.1)], "shares of rate_drops must rise"),
        ([(0.5, 0.0)], "factors of rate_drops must be above 0"),
    ],
)
def test_impossible_drops_are_refused(drops: list[tuple[float, float]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        MetaOptNetParams(rate_drops=drops)  # type: ignore[arg-type]


def test_it_trains_on_episodes_of_another_size() -> None:
    shape = EpisodeShape(3, 2, 4)
    assert train_shape(MetaOptNetParams(), shape) == shape
    params = MetaOptNetParams(train_ways=5, train_shots=15, train_queries=6)
    assert train_shape(params, shape) == EpisodeShape(5, 15, 6)
    learner = in_double(MetaOptNet(context(params, kind=KIND)))
    tasks = batch(KIND)
    y = torch.arange(5).repeat(len(tasks), 3)
    draw = generator(3)
    x = torch.randn(len(tasks), 15, *tasks.query.x.shape[2:], generator=draw, dtype=torch.float64)
    wide = replace(tasks, support=Labelled(x, y), query=Labelled(x, y))
    assert float(learner.meta_step(wide, progress=0.0, rng=generator())["loss"]) > 0
    assert predicted(learner, tasks.support, tasks.query.x).shape[2] == WAYS


def test_the_conditions_of_training_are_stated() -> None:
    stated = of_metaoptnet(MetaOptNetParams(label_smoothing=0.1))
    assert stated.outer_optimizer == "SGD with Nesterov momentum 0.9"
    assert stated.outer_schedule == (
        "times 0.06 from 0.333, times 0.012 from 0.667, times 0.0024 from 0.833 of training"
    )
    assert stated.regularization == "weight decay 0.0005, label smoothing 0.1"
    plain = of_metaoptnet(MetaOptNetParams(rate_drops=(), momentum=0.0, weight_decay=0.0))
    assert (plain.outer_optimizer, plain.outer_schedule) == ("SGD", "constant")
    assert plain.regularization == "none"
