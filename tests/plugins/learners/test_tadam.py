"""TADAM: its reduction to prototypes, its conditioning, its co-training, its counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.helpers.small_tasks import IMAGES, SHAPES, batch, context, generator
from torch import Tensor

from metabench import ClassBatch, Labelled, TaskBatch, TaskShape
from metabench_plugins.learners.metric import ProtoNet, ProtoNetParams
from metabench_plugins.learners.tadam import Tadam, TadamParams, _new_net, phases
from metabench_plugins.spaces.resnet12 import ResNet12, ResNet12Params

KIND = "classification"
CLASSES = 6


def tadam(**params: Any) -> Tadam:
    learner = Tadam(context(TadamParams(**params), kind=KIND, train_classes=CLASSES))
    for weight in (learner.outer.weights | learner.classifier.weights).values():
        weight.data = weight.data.double()
    return learner


def unlike_zero(learner: Tadam) -> Tadam:
    """Give the scalars of the conditioning values of their own."""
    rng = generator(8)
    for name, weight in learner._conditioning.items():
        if name.endswith(".factor"):
            weight.data = torch.randn((), generator=rng, dtype=torch.float64)
    return learner


def with_examples(seed: int = 0) -> TaskBatch:
    rng = generator(seed)
    y = torch.randint(CLASSES, (1, 10), generator=rng)
    x = torch.randn(1, 10, *IMAGES.inputs, generator=rng, dtype=torch.float64)
    return replace(batch(KIND, seed), phase="meta-train", labelled=ClassBatch(x, y, "k"))


def outer_loss(learner: Tadam, tasks: TaskBatch) -> Tensor:
    """The loss of a meta-step on episodes, through its own parts."""
    from torch.nn import functional

    members = functional.one_hot(tasks.support.y, SHAPES[KIND].ways)
    film = learner.film(learner.embed(tasks.support.x), members)
    support, queries = (learner.embed(one.x, None, film) for one in (tasks.support, tasks.query))
    logits = learner.logits(queries, support, members.to(support))
    return learner.loss(logits.flatten(0, 1), tasks.query.y.flatten())


def test_unconditioned_with_scale_one_it_is_a_prototypical_network() -> None:
    learner, tasks = tadam(metric_scale=1.0), batch(KIND)
    proto = ProtoNet(context(ProtoNetParams(distance="euclidean"), kind=KIND))
    for name, weight in proto.outer.weights.items():
        weight.data = learner.outer.weights[name].data.clone()
    found = learner.adapt(tasks.support, rng=generator()).predict(tasks.query.x)
    wanted = proto.adapt(tasks.support, rng=generator()).predict(tasks.query.x)
    assert torch.allclose(found, wanted, atol=1e-12)
    loss = outer_loss(learner, tasks)
    weights = list(learner.embed.weights.values())
    mine = torch.autograd.grad(loss, weights, materialize_grads=True)
    members = torch.nn.functional.one_hot(tasks.support.y, SHAPES[KIND].ways).double()
    logits = proto.logits(proto.embed(tasks.query.x), proto.embed(tasks.support.x), members)
    loss = proto.loss(logits.flatten(0, 1), tasks.query.y.flatten())
    theirs = torch.autograd.grad(loss, list(proto.embed.weights.values()), materialize_grads=True)
    for first, second in zip(mine, theirs, strict=True):
        assert torch.allclose(first, second, atol=1e-10)


def test_the_scale_multiplies_the_logits() -> None:
    small, large = tadam(metric_scale=1.0), tadam(metric_scale=7.5)
    tasks = batch(KIND)
    first, second = (
        one.adapt(tasks.support, rng=generator()).predict(tasks.query.x) for one in (small, large)
    )
    assert torch.allclose(7.5 * first, second)


def test_at_the_start_only_the_scalars_of_the_conditioning_have_gradients() -> None:
    """The product rule: a net is multiplied by 0, and its scalar by the net."""
    learner = tadam()
    weights = learner._conditioning
    gradients = torch.autograd.grad(outer_loss(learner, batch(KIND)), list(weights.values()))
    of_factors = [g for n, g in zip(weights, gradients, strict=True) if n.endswith(".factor")]
    of_nets = [g for n, g in zip(weights, gradients, strict=True) if not n.endswith(".factor")]
    assert max(float(g.abs().max()) for g in of_nets) == 0
    assert min(float(g.abs()) for g in of_factors) > 0


@pytest.mark.parametrize("name", ["layer2.scale.1.weight", "layer1.shift.factor"])
def test_the_conditioning_has_the_gradient_of_finite_differences(name: str) -> None:
    learner, tasks = unlike_zero(tadam()), batch(KIND)
    weight = learner._conditioning[f"condition.{name}"]
    (gradient,) = torch.autograd.grad(outer_loss(learner, tasks), weight)
    direction = torch.randn(weight.shape, generator=generator(2), dtype=torch.float64)
    values = []
    for sign in (1, -1):
        weight.data += sign * 1e-6 * direction
        values.append(float(outer_loss(learner, tasks).detach()))
        weight.data -= sign * 1e-6 * direction
    slope = (values[0] - values[1]) / 2e-6
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_the_conditioning_is_that_of_equation_1() -> None:
    """Both nets of each layer by hand, on the mean of the class means, task by task."""
    learner, tasks = unlike_zero(tadam()), batch(KIND)
    weights, rng = learner._conditioning, generator(4)
    for name, weight in weights.items():
        if name.endswith(".bias"):
            weight.data = torch.randn(weight.shape, generator=rng, dtype=torch.float64)
    support = learner.embed(tasks.support.x)
    members = torch.nn.functional.one_hot(tasks.support.y, SHAPES[KIND].ways)
    found = learner.film(support, members)
    assert len(found) == 2 * len(learner._layers) > 0
    for task, (x, y) in enumerate(zip(support, tasks.support.y, strict=True)):
        c = torch.stack([x[y == label].mean(dim=0) for label in y.unique()]).mean(dim=0)
        for name, values in found.items():
            layer, part = name.split(".film.")
            w = {i: weights[f"condition.{layer}.{part}.{i}.weight"] for i in (1, 2, 3)}
            b = {i: weights[f"condition.{layer}.{part}.{i}.bias"] for i in (1, 2, 3)}
            u = swish(c @ w[1] + b[1])
            net = u + swish(u @ w[2] + b[2]) @ w[3] + b[3]
            expected = weights[f"condition.{layer}.{part}.factor"] * net
            assert torch.allclose(values[task], expected, rtol=1e-10)


@pytest.mark.parametrize("condition", [True, False])
def test_what_decays_and_how_fast(condition: bool) -> None:
    """The gradient of weight decay is the rate times the weight, as of the regularizers of slim."""
    learner = unlike_zero(tadam(weight_decay=0.25, factor_penalty=0.01, condition=condition))
    weights = learner.outer.weights
    found = learner.outer.gradients(learner.penalty())
    for (name, weight), gradient in zip(weights.items(), found, strict=True):
        rate = 0.25 if weight.dim() > 1 else 0.01 if name.endswith(".factor") else 0.0
        expected = rate * weight.detach()
        assert torch.allclose(torch.zeros_like(weight) if gradient is None else gradient, expected)
    assert len(weights) > len(learner.embed.weights) or not condition


def test_each_tensor_moves_by_a_gradient_of_bounded_norm_decay_included() -> None:
    params = {"outer_lr": 1.0, "momentum": 0.0, "max_norm": 1e-3, "weight_decay": 1.0}
    learner = tadam(skip_above=None, co_training=0.5, **params)
    before = {name: w.detach().clone() for name, w in learner.outer.weights.items()}
    learner.co_optimizer = None  # the update on episodes alone
    learner.meta_step(with_examples(), progress=0.0, rng=generator())
    for name, weight in learner.outer.weights.items():
        moved = float((weight - before[name]).detach().norm())
        assert moved == pytest.approx(1e-3, rel=1e-2) or (weight.dim() < 2 and moved < 1e-3), name


def test_co_training_decays_the_embedding_and_not_its_classifier() -> None:
    """Where all features are 0, the loss does not depend on the classifier's matrix."""
    params = {"outer_lr": 0.1, "momentum": 0.0, "max_norm": None, "weight_decay": 1.0}
    learner = tadam(skip_above=None, co_training=0.99, condition=False, **params)
    assert learner.co_optimizer is not None
    found = learner.co_optimizer.groups
    assert [group.decay for group in found] == [0.0]
    matrix = learner.classifier.weights["classifier.weight"]
    for weight in learner.embed.weights.values():
        weight.data.zero_()
    before = matrix.detach().clone()
    learner.meta_step(with_examples(), progress=0.0, rng=generator())
    assert torch.equal(matrix, before)


def test_the_nets_start_with_the_variance_of_the_source() -> None:
    drawn = _new_net("n", 4000, 50, generator())
    assert float(drawn["n.1.weight"].var()) == pytest.approx(0.2 / 50, rel=0.02)
    assert not any(float(drawn[f"n.{i}.bias"].abs().max()) for i in (1, 2, 3))


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def test_permuting_the_classes_permutes_the_logits() -> None:
    learner, tasks = unlike_zero(tadam()), batch(KIND)
    order = torch.tensor([1, 2, 0])
    renamed = Labelled(tasks.support.x, order[tasks.support.y])
    first = learner.adapt(tasks.support, rng=generator()).predict(tasks.query.x)
    second = learner.adapt(renamed, rng=generator()).predict(tasks.query.x)
    assert torch.allclose(second[..., order], first, atol=1e-9)


def test_the_embedding_depends_on_the_task_alone_by_its_conditioning() -> None:
    learner, tasks = unlike_zero(tadam()), batch(KIND)
    first = learner.adapt(tasks.support, rng=generator()).predict(tasks.query.x)
    plain = tadam(condition=False)
    plain.outer.load_state_dict(
        {
            **plain.outer.state_dict(),
            "weights": {n: learner.outer.weights[n] for n in plain.embed.weights},
        }
    )
    second = plain.adapt(tasks.support, rng=generator()).predict(tasks.query.x)
    assert not torch.allclose(first, second)


def test_co_training_moves_the_classifier_as_often_as_its_probability_says() -> None:
    moved = {}
    for progress in (0.0, 0.99):
        learner = tadam(outer_lr=1e-3)
        before, n = learner.classifier.weights["classifier.bias"].detach().clone(), 0
        for seed in range(20):
            learner.meta_step(with_examples(seed), progress=progress, rng=generator(seed))
            now = learner.classifier.weights["classifier.bias"].detach().clone()
            n += int(not torch.equal(now, before))
            before = now
        moved[progress] = n
    assert moved[0.0] >= 14  # 0.9 of 20
    assert moved[0.99] <= 7  # 0.9^20, or 0.12, of 20
    assert moved[0.99] < moved[0.0]


def test_phases_ask_for_examples_only_if_they_are_used() -> None:
    (both,) = phases(TadamParams(), SHAPES[KIND])
    (alone,) = phases(TadamParams(co_training=0), SHAPES[KIND])
    assert (both.examples, alone.examples) == (64, 0)
    assert both.tasks is alone.tasks is None


def test_the_weights_on_its_own_network_are_as_many_as_the_source_has() -> None:
    task = TaskShape("classification", (3, 84, 84), 5)
    own = context(
        TadamParams(),
        kind=KIND,
        task=task,
        space=ResNet12(ResNet12Params(variant="tadam"), task),
        train_classes=64,
    )
    learner = Tadam(own)
    assert sum(w.numel() for w in learner.embed.weights.values()) == 7_996_800
    assert sum(w.numel() for w in learner._conditioning.values()) == 7_144_344
    assert sum(w.numel() for w in learner.classifier.weights.values()) == 32_832


def test_on_running_statistics_no_query_changes_another() -> None:
    small = ResNet12(ResNet12Params(variant="tadam", width=0.1), IMAGES)
    own = context(TadamParams(outer_lr=0.01), kind=KIND, space=small, train_classes=CLASSES)
    learner = Tadam(own)
    drawn = with_examples()
    assert drawn.labelled is not None
    tasks = replace(
        drawn,
        support=Labelled(drawn.support.x.float(), drawn.support.y),
        query=Labelled(drawn.query.x.float(), drawn.query.y),
        labelled=ClassBatch(drawn.labelled.x.float(), drawn.labelled.y, "k"),
    )
    for seed in range(3):
        learner.meta_step(tasks, progress=0.0, rng=generator(seed))
    predict = learner.adapt(tasks.support, rng=generator()).predict
    alone, among = predict(tasks.query.x[:, :1]), predict(tasks.query.x)[:, :1]
    assert torch.allclose(alone, among, atol=1e-5)
