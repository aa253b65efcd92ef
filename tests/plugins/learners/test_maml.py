"""MAML against a plain loop over tasks, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.learner import LearnerContext
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.spaces.mlp import Mlp, MlpParams

WAYS, SHOTS, QUERIES, TASKS = 3, 2, 4, 5
PARAMS = {"inner_lr": 0.1, "inner_steps": 3, "outer_lr": 0.01}


pytestmark = pytest.mark.usefixtures("in_float64")


def context(params: MamlParams, **changes: Any) -> LearnerContext:
    task = TaskShape("classification", (4,), WAYS)
    space = Mlp(MlpParams(hidden=1, width=6, norm="batch"), task)
    values: dict[str, Any] = {
        "params": params,
        "task": task,
        "shape": EpisodeShape(WAYS, SHOTS, QUERIES),
        "space": space,
        "strategy": None,
        "steps_at_test": 2,
        "curve_steps": 4,
        "transductive": True,
        "meta_steps": 10,
        "device": torch.device("cpu"),
        "rng": torch.Generator().manual_seed(0),
    }
    return LearnerContext(**{**values, **changes})


def maml(**params: Any) -> Maml:
    learner = Maml(context(MamlParams(**{**PARAMS, **params})))
    double = {name: w.double() for name, w in learner.state_dict()["weights"].items()}
    # Linear layers before a batch norm have biases without gradient; keep everything else apart.
    for weight, value in zip(learner._weights.values(), double.values(), strict=True):
        weight.data = value.clone()
    return learner


def batch(seed: int = 0) -> TaskBatch:
    rng = torch.Generator().manual_seed(seed)

    def part(per_class: int) -> Labelled:
        y = torch.arange(WAYS).repeat(TASKS, per_class)
        return Labelled(torch.randn(TASKS, WAYS * per_class, 4, generator=rng) + y[..., None], y)

    return TaskBatch(part(SHOTS), part(QUERIES), ("s",) * TASKS, tuple(map(str, range(TASKS))))


def forward(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """The same network without a task axis, by torch's own functions."""
    y = F.linear(x, w["layer1.weight"].t(), w["layer1.bias"])
    y = F.batch_norm(y, None, None, w["layer1.norm.scale"], w["layer1.norm.shift"], training=True)
    return F.linear(F.relu(y), w["head.weight"].t(), w["head.bias"])


def plain_meta_gradient(learner: Maml, tasks: TaskBatch, p: MamlParams) -> dict[str, Tensor]:
    """MAML as in its paper: one task after another."""
    start = {n: w.detach().clone().requires_grad_() for n, w in learner._weights.items()}
    scale = WAYS if p.reduction == "per_shot" else 1.0
    query_scale = WAYS * QUERIES / SHOTS if p.reduction == "per_shot" else 1.0
    total = torch.zeros(())
    for i in range(TASKS):
        w = dict(start)
        moving = [n for n in w if p.adapt_norm or "norm" not in n]
        for _ in range(p.inner_steps):
            loss = scale * F.cross_entropy(forward(w, tasks.support.x[i]), tasks.support.y[i])
            grads = torch.autograd.grad(
                loss, [w[n] for n in moving], create_graph=p.order == "second"
            )
            w |= {n: w[n] - p.inner_lr * g for n, g in zip(moving, grads, strict=True)}
        loss = query_scale * F.cross_entropy(forward(w, tasks.query.x[i]), tasks.query.y[i])
        total = total + loss / TASKS
    return dict(zip(start, torch.autograd.grad(total, list(start.values())), strict=True))


@pytest.mark.parametrize("order", ["second", "first"])
@pytest.mark.parametrize("reduction", ["per_shot", "mean"])
@pytest.mark.parametrize("adapt_norm", [False, True])
def test_one_meta_step_is_adam_on_the_plain_meta_gradient(
    order: Any, reduction: Any, adapt_norm: bool
) -> None:
    learner = maml(order=order, reduction=reduction, adapt_norm=adapt_norm)
    p = learner.params
    expected = {n: w.detach().clone().requires_grad_() for n, w in learner._weights.items()}
    gradient = plain_meta_gradient(learner, batch(), p)
    adam = torch.optim.Adam(expected.values(), lr=p.outer_lr)
    for name, weight in expected.items():
        weight.grad = gradient[name]
    adam.step()
    learner.meta_step(batch(), progress=0.0, rng=torch.Generator())
    for name, weight in learner._weights.items():
        if name == "layer1.bias":  # a bias before a batch norm has gradient 0: Adam divides noise
            continue
        assert torch.allclose(weight, expected[name], rtol=1e-10, atol=1e-10), name


def test_the_clip_bounds_each_element() -> None:
    learner = maml(clip=1e-3)
    gradient = plain_meta_gradient(learner, batch(), learner.params)
    assert max(g.abs().max() for g in gradient.values()) > 1e-3
    learner.meta_step(batch(), progress=0.0, rng=torch.Generator())
    moments = learner.state_dict()["adam"]
    largest = max(state["exp_avg"].abs().max() for state in moments.values())
    assert float(largest) == pytest.approx(1e-4, rel=1e-6)  # (1 - beta1) * clip


def test_the_curve_is_plain_gradient_descent() -> None:
    learner = maml()
    tasks = batch()
    adapted = learner.adapt(tasks.support, rng=torch.Generator())
    assert adapted.curve is not None
    assert len(adapted.curve) == 5
    for i in range(TASKS):
        w = {n: v.detach() for n, v in learner._weights.items()}
        moving = [n for n in w if "norm" not in n]
        for step, predict in enumerate(adapted.curve):
            expected = forward(w, tasks.query.x[i])
            assert torch.allclose(predict(tasks.query.x)[i], expected, atol=1e-10)
            if step == 2:
                assert torch.allclose(adapted.predict(tasks.query.x)[i], expected, atol=1e-10)
            leaves = {n: v.detach().requires_grad_(n in moving) for n, v in w.items()}
            loss = WAYS * F.cross_entropy(forward(leaves, tasks.support.x[i]), tasks.support.y[i])
            grads = torch.autograd.grad(loss, [leaves[n] for n in moving])
            w = w | {n: w[n] - 0.1 * g for n, g in zip(moving, grads, strict=True)}


def test_per_shot_equals_mean_with_a_rate_ways_times_larger() -> None:
    tasks = batch()
    per_shot = maml(reduction="per_shot", inner_lr=0.1).adapt(tasks.support, rng=torch.Generator())
    mean = maml(reduction="mean", inner_lr=0.3).adapt(tasks.support, rng=torch.Generator())
    assert torch.allclose(
        per_shot.predict(tasks.query.x), mean.predict(tasks.query.x), rtol=1e-12, atol=1e-12
    )


def test_per_shot_divides_by_the_shots_of_the_support_set_that_it_is_given() -> None:
    """Meta-training may have other shots than meta-test: ``protocol.train_shots``."""
    moved = []
    for shots in (SHOTS, 7):  # of the protocol
        learner = maml(reduction="per_shot")
        learner.context = replace(learner.context, shape=EpisodeShape(WAYS, shots, QUERIES))
        learner.meta_step(batch(), progress=0.0, rng=torch.Generator())
        moved.append(learner._weights)
    for name, weight in moved[0].items():
        assert torch.equal(weight, moved[1][name]), name


def test_inductive_predictions_do_not_depend_on_other_queries() -> None:
    tasks = batch()
    for transductive in (True, False):
        learner = Maml(context(MamlParams(), transductive=transductive))
        predict = learner.adapt(tasks.support, rng=torch.Generator()).predict
        alone, together = predict(tasks.query.x[:, :1]), predict(tasks.query.x)[:, :1]
        assert torch.allclose(alone, together, atol=1e-10) is not transductive


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_queries_go_through_a_network_without_batch_norm_at_once(
    norm: Literal["none", "batch"], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Mlp(MlpParams(hidden=1, width=6, norm=norm), TaskShape("classification", (4,), WAYS))
    learner = Maml(context(MamlParams(), transductive=False, space=space))
    tasks, seen = batch(), []
    forward = space.forward
    predict = learner.adapt(tasks.support, rng=torch.Generator()).predict
    predict(tasks.query.x)  # The inner steps are taken when a prediction is asked for.
    monkeypatch.setattr(
        space, "forward", lambda w, m, x: seen.append(x.shape[1]) or forward(w, m, x)
    )
    y = predict(tasks.query.x)
    n_support, n_query = tasks.support.x.shape[1], tasks.query.x.shape[1]
    assert y.shape == (TASKS, n_query, WAYS)
    assert seen == ([n_query] if norm == "none" else [n_support + 1] * n_query)


def test_a_restored_learner_goes_on_bit_by_bit() -> None:
    whole, parts = maml(), maml()
    for learner in (whole, parts):
        learner.meta_step(batch(1), progress=0.0, rng=torch.Generator())
    again = maml()
    again.load_state_dict(parts.state_dict())
    for learner in (whole, again):
        learner.meta_step(batch(2), progress=0.1, rng=torch.Generator())
    for name, weight in whole._weights.items():
        assert torch.equal(weight, again._weights[name])
