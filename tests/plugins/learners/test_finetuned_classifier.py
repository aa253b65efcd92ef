"""Baseline and Baseline++: the head's steps, the cosine, and what meta-training is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.helpers.small_tasks import IMAGES, SHAPES, batch, context, generator, in_double
from torch import Tensor
from torch.nn import functional

from metabench import ClassBatch, Labelled, TaskBatch
from metabench_plugins.learners.finetuned_classifier import (
    FinetunedClassifier,
    FinetunedParams,
    phases,
)

KIND = "classification"
CLASSES = 6
WAYS = SHAPES[KIND].ways


def classifier(**params: Any) -> FinetunedClassifier:
    own = context(FinetunedParams(**params), kind=KIND, train_classes=CLASSES)
    learner = FinetunedClassifier(own)
    in_double(learner.network)
    return learner


def labelled(n: int = 12, seed: int = 0) -> TaskBatch:
    rng = generator(seed)
    y = torch.randint(CLASSES, (1, n), generator=rng)
    x = torch.randn(1, n, *IMAGES.inputs, generator=rng, dtype=torch.float64)
    none = Labelled(x[:, :0].expand(0, 0, *IMAGES.inputs), y[:0])
    return TaskBatch(none, none, (), (), labelled=ClassBatch(x + y[..., None, None, None], y, "k"))


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_the_head_of_a_task_is_that_of_torch_sgd(head: str) -> None:
    learner = classifier(head=head, test_steps=7, test_lr=0.5)
    tasks = batch(KIND)
    found = learner.adapt(tasks.support, rng=generator(3)).predict(tasks.query.x)
    start = learner._head.new(len(tasks), learner.network.embed.features, WAYS, rng=generator(3))
    with torch.no_grad():
        support, query = (
            learner.network.embed(tasks.support.x),
            learner.network.embed(tasks.query.x),
        )

    def logits(x: Tensor, own: dict[str, Tensor]) -> Tensor:
        if head == "linear":
            return x @ own["weight"] + own["bias"]
        norms = x.norm(dim=1)[:, None] * own["weight"].norm(dim=0)[None]
        return 2.0 * x @ own["weight"] / norms

    for t in range(len(tasks)):
        own = {n: w[t].double().clone().requires_grad_() for n, w in start.items()}
        sgd = torch.optim.SGD(own.values(), lr=0.5, momentum=0.9, dampening=0.9, weight_decay=0.001)
        for _ in range(7):
            sgd.zero_grad()
            functional.cross_entropy(logits(support[t], own), tasks.support.y[t]).backward()
            sgd.step()
        assert torch.allclose(found[t], logits(query[t], own), atol=1e-9)


def test_cosines_do_not_depend_on_lengths() -> None:
    learner = classifier()
    features = torch.randn(2, 5, 4, generator=generator(), dtype=torch.float64)
    head = {"weight": torch.randn(2, 4, 3, generator=generator(1), dtype=torch.float64)}
    longer = {"weight": 7 * head["weight"]}
    first = learner._head.logits(features, head)
    assert torch.allclose(first, learner._head.logits(3 * features, longer))
    assert float(first.abs().max()) <= learner.params.scale


def test_meta_training_classifies_the_meta_train_classes() -> None:
    learner = classifier(outer_lr=0.01)
    losses = [
        float(learner.meta_step(labelled(seed=s), progress=0.0, rng=generator())["loss"])
        for s in range(40)
    ]
    assert losses[0] == pytest.approx(torch.tensor(CLASSES).log().item(), abs=0.5)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert learner.network._classifier.weights["classifier.weight"].shape[-1] == CLASSES


def test_the_gradient_is_that_of_finite_differences() -> None:
    learner = classifier(head="linear")
    examples = labelled(4).labelled
    assert examples is not None
    head = {
        name.removeprefix("classifier."): w
        for name, w in learner.network._classifier.weights.items()
    }

    def loss(weight: Tensor) -> Tensor:
        logits = learner._head.logits(learner.network.embed(examples.x), head | {"weight": weight})
        return functional.cross_entropy(logits[0], examples.y[0])

    assert torch.autograd.gradcheck(loss, [head["weight"].detach().requires_grad_()])


def test_meta_training_has_no_episodes() -> None:
    (phase,) = phases(FinetunedParams(batch=32), SHAPES[KIND])
    assert (phase.tasks, phase.examples) == (0, 32)
