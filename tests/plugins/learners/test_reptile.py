"""Reptile: mini-batches, Adam with beta1 = 0 and a carried moment, and its special cases."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.learner import LearnerContext
from metabench_plugins.learners.metanas.params import MetanasParams
from metabench_plugins.learners.metanas.retrain import RetrainParams
from metabench_plugins.learners.parts.mini_batches import draw, mini_batches
from metabench_plugins.learners.reptile import Reptile, ReptileParams, train_shape
from metabench_plugins.spaces.mlp import Mlp, MlpParams

TASKS, POINTS = 4, 6


pytestmark = pytest.mark.usefixtures("in_float64")


def reptile(**params: Any) -> Reptile:
    task = TaskShape("regression", (2,), 1)
    learner = Reptile(
        LearnerContext(
            params=ReptileParams(**params),
            task=task,
            shape=EpisodeShape(1, POINTS, 3),
            space=Mlp(MlpParams(hidden=1, width=5), task),
            strategy=None,
            steps_at_test=5,
            curve_steps=3,
            transductive=True,
            meta_steps=10,
            device=torch.device("cpu"),
            rng=torch.Generator().manual_seed(0),
        )
    )
    learner._weights = {name: w.double() for name, w in learner._weights.items()}
    learner._moments = learner._moments.zero(learner._weights)
    return learner


def batch(seed: int = 0, n_tasks: int = TASKS) -> TaskBatch:
    rng = torch.Generator().manual_seed(seed)
    x, q = torch.randn(n_tasks, POINTS, 2, generator=rng), torch.randn(n_tasks, 3, 2, generator=rng)
    names = tuple(map(str, range(n_tasks)))
    return TaskBatch(
        Labelled(x, x.sum(2, keepdim=True).sin()), Labelled(q, q[..., :1]), names, names
    )


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def loss(w: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    hidden = torch.relu(x @ w["layer1.weight"] + w["layer1.bias"])
    return (hidden @ w["head.weight"] + w["head.bias"] - y).square().mean()


def weights(learner: Reptile) -> dict[str, Tensor]:
    return {n: w.clone() for n, w in learner._weights.items()}


def test_with_replacement_examples_are_drawn_independently_unless_all_are() -> None:
    n, size, steps = 6, 4, 4000
    data = Labelled(torch.arange(n).expand(2, n)[..., None], torch.arange(n).expand(2, n))
    drawn = draw(data, size=size, steps=steps, sampling="replacement", rng=generator())
    assert drawn.shape == (2, steps, size)
    counts = torch.stack([(drawn == i).double().mean((1, 2)) for i in range(n)])
    torch.testing.assert_close(counts, torch.full_like(counts, 1 / n), atol=0.01, rtol=0)
    repeats = drawn.sort(dim=2).values.diff(dim=2).eq(0).any(2).double().mean()
    none = math.prod(range(n - size + 1, n + 1)) / n**size  # that four draws differ
    assert float(repeats) == pytest.approx(1 - none, abs=0.02)
    whole = draw(data, size=size + 10, steps=5, sampling="replacement", rng=generator())
    assert torch.equal(whole.sort(dim=2).values, torch.arange(n).expand(2, 5, n))


def test_reptile_walks_and_the_learners_of_metanas_draw_with_replacement() -> None:
    defaults = [model().sampling for model in (ReptileParams, MetanasParams, RetrainParams)]
    assert defaults == ["walk", "replacement", "replacement"]
    ends = []
    for sampling in ("walk", "replacement"):
        learner = reptile(inner_batch=3, inner_steps=4, sampling=sampling)
        learner.meta_step(batch(), progress=0.0, rng=generator())
        ends.append(weights(learner)["head.weight"])
    assert not torch.allclose(*ends)


def test_mini_batches_walk_without_replacement_and_span_walks() -> None:
    n, size, steps = 6, 4, 9  # 36 examples: six whole walks, batches across their borders
    data = Labelled(torch.arange(n).expand(3, n)[..., None], torch.arange(n).expand(3, n))
    drawn = torch.cat(
        [b.y for b in mini_batches(data, size=size, steps=steps, sampling="walk", rng=generator())],
        dim=1,
    )
    assert drawn.shape == (3, steps * size)
    for task in range(3):
        for walk in drawn[task].view(-1, n):
            assert sorted(walk.tolist()) == list(range(n))
    assert len({tuple(row.tolist()) for row in drawn}) == 3
    for b in mini_batches(data, size=size, steps=steps, sampling="walk", rng=generator()):
        assert torch.equal(b.x[..., 0], b.y)


def test_a_batch_is_never_larger_than_the_set() -> None:
    data = Labelled(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1))
    assert [
        b.y.shape[1] for b in mini_batches(data, size=10, steps=2, sampling="walk", rng=generator())
    ] == [3, 3]


def test_one_sgd_step_is_joint_training() -> None:
    """The special case: the mean of one-step changes is a step on the mean loss."""
    learner = reptile(
        inner_optimizer="sgd", inner_steps=1, inner_batch=POINTS, inner_lr=0.1, meta_lr=0.5
    )
    start, tasks = weights(learner), batch()
    leaves = {n: w.clone().requires_grad_() for n, w in start.items()}
    joint = torch.stack(
        [loss(leaves, tasks.support.x[i], tasks.support.y[i]) for i in range(TASKS)]
    ).mean()
    gradients = torch.autograd.grad(joint, list(leaves.values()))
    learner.meta_step(tasks, progress=0.0, rng=generator())
    for (name, w), g in zip(start.items(), gradients, strict=True):
        assert torch.allclose(learner._weights[name], w - 0.5 * 0.1 * g, rtol=1e-12, atol=1e-14)


def test_sequential_carry_is_one_adam_with_beta1_zero_through_all_tasks() -> None:
    """The released order: tasks one after another under one optimizer whose moment is kept."""
    learner = reptile(carry="sequential", inner_steps=3, inner_batch=4, inner_lr=0.01)
    start, tasks, rng = weights(learner), batch(), generator()
    leaves = {n: w.clone().requires_grad_() for n, w in start.items()}
    adam = torch.optim.Adam(leaves.values(), lr=0.01, betas=(0.0, 0.999))
    ends = []
    for i in range(TASKS):
        with torch.no_grad():
            for name, leaf in leaves.items():
                leaf.copy_(start[name])
        one = Labelled(tasks.support.x[i : i + 1], tasks.support.y[i : i + 1])
        for part in mini_batches(one, size=4, steps=3, sampling="walk", rng=rng):
            adam.zero_grad()
            loss(leaves, part.x[0], part.y[0]).backward()
            adam.step()
        ends.append({n: leaf.detach().clone() for n, leaf in leaves.items()})
    learner.meta_step(tasks, progress=0.25, rng=generator())
    for name, w in start.items():
        mean = torch.stack([end[name] for end in ends]).mean(0)
        expected = w + 0.75 * (mean - w)
        assert torch.allclose(learner._weights[name], expected, rtol=1e-10, atol=1e-12)
        moment = adam.state[leaves[name]]["exp_avg_sq"]
        assert torch.allclose(learner._moments.values[name], moment, rtol=1e-10, atol=1e-18)


def test_mean_carry_is_the_mean_of_the_moments_that_single_tasks_end_with() -> None:
    params: dict[str, Any] = {"inner_steps": 3, "inner_batch": POINTS, "inner_lr": 0.01}
    together, tasks, alone = reptile(carry="mean", **params), batch(), []
    together.meta_step(tasks, progress=0.0, rng=generator())
    for i in range(TASKS):
        one = reptile(carry="mean", **params)
        support = Labelled(tasks.support.x[i : i + 1], tasks.support.y[i : i + 1])
        one.meta_step(TaskBatch(support, support, ("",), ("",)), progress=0.0, rng=generator())
        alone.append(one._moments.values)
    for name, moment in together._moments.values.items():
        mean = torch.stack([values[name] for values in alone]).mean(0)
        assert torch.allclose(moment, mean, rtol=1e-9, atol=1e-18), name


def test_mean_and_sequential_carry_agree_on_one_task() -> None:
    results = []
    for carry in ("mean", "sequential"):
        learner = reptile(carry=carry, inner_steps=3)
        for step in range(2):
            learner.meta_step(batch(step, n_tasks=1), progress=0.1 * step, rng=generator())
        results.append((learner._weights, learner._moments))
    for name in results[0][0]:
        assert torch.equal(results[0][0][name], results[1][0][name])
    assert results[0][1].steps == results[1][1].steps == 6


def test_adaptation_leaves_the_state_and_takes_the_tests_steps() -> None:
    learner = reptile(test_steps=20, inner_lr=0.05)
    learner.meta_step(batch(), progress=0.0, rng=generator())
    before = {n: w.clone() for n, w in learner._weights.items()}
    tasks = batch(3)
    adapted = learner.adapt(tasks.support, rng=generator())
    assert adapted.curve is not None
    assert len(adapted.curve) == 4
    for name, w in learner._weights.items():
        assert torch.equal(w, before[name])
    errors = [
        (predict(tasks.support.x) - tasks.support.y).square().mean().item()
        for predict in (adapted.curve[0], adapted.curve[-1], adapted.predict)
    ]
    assert errors[2] < errors[1] < errors[0]


def test_a_test_task_goes_on_from_the_moment_of_meta_training() -> None:
    """Adam's second moment and its count of steps are those that meta-training ended with."""
    learner = reptile(test_steps=4, test_batch=4, inner_lr=0.01)
    learner.meta_step(batch(), progress=0.0, rng=generator())
    tasks = batch(3)
    found = learner.adapt(tasks.support, rng=generator()).predict(tasks.query.x)
    drawn = mini_batches(tasks.support, size=4, steps=4, sampling="walk", rng=generator())
    parts = list(drawn)
    for task in range(TASKS):
        leaves = {n: w.clone().requires_grad_() for n, w in learner._weights.items()}
        adam = torch.optim.Adam(leaves.values(), lr=0.01, betas=(0.0, 0.999))
        for name, leaf in leaves.items():
            adam.state[leaf] = {
                "step": learner._moments.steps.clone(),
                "exp_avg": torch.zeros_like(leaf),
                "exp_avg_sq": learner._moments.values[name].clone(),
            }
        for part in parts:
            adam.zero_grad()
            loss(leaves, part.x[task], part.y[task]).backward()
            adam.step()
        hidden = torch.relu(tasks.query.x[task] @ leaves["layer1.weight"] + leaves["layer1.bias"])
        expected = hidden @ leaves["head.weight"] + leaves["head.bias"]
        assert torch.allclose(found[task], expected, rtol=1e-10, atol=1e-12)


def test_it_trains_on_support_alone_with_shots_of_its_own() -> None:
    shape = EpisodeShape(5, 1, 15)
    assert train_shape(ReptileParams(train_shots=10), shape) == EpisodeShape(5, 10, 0)
    assert train_shape(ReptileParams(), shape) == EpisodeShape(5, 1, 0)


def test_a_restored_learner_goes_on_bit_by_bit() -> None:
    whole = reptile()
    whole.meta_step(batch(1), progress=0.0, rng=generator())
    again = reptile()
    again.load_state_dict(whole.state_dict())
    for learner in (whole, again):
        learner.meta_step(batch(2), progress=0.5, rng=generator())
    assert all(torch.equal(w, again._weights[n]) for n, w in whole._weights.items())
    assert again._moments.steps == whole._moments.steps
