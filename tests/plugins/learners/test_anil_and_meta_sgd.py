"""ANIL and Meta-SGD reduce to MAML, and their meta-gradients are those of finite differences.

NIL trains as ANIL does, and predicts by cosines alone.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.helpers.small_tasks import batch, context, generator, in_double

from metabench_plugins.learners.anil import Anil, AnilParams, Nil
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.meta_sgd import MetaSgd, MetaSgdParams
from metabench_plugins.learners.parts.conditions import of_meta_sgd

INNER = {"inner_steps": 3}
KINDS = pytest.mark.parametrize("kind", ["regression", "classification"])


def made(learner: type[Maml], params: Any, kind: str) -> Maml:
    built: Maml = in_double(learner(context(params, kind=kind)))
    return built


def meta_gradients(learner: Maml, kind: str) -> dict[str, torch.Tensor]:
    tasks = batch(kind)
    start = learner.begin(tasks.support, rng=generator(), progress=0.0)
    weights = learner.outer.weights
    loss, _ = learner.outer_losses(start, tasks)
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return {name: g for name, g in zip(weights, found, strict=True) if g is not None}


@KINDS
def test_anil_that_adapts_all_is_maml(kind: str) -> None:
    maml = made(Maml, MamlParams(inner_lr=0.05, **INNER), kind)
    anil = made(Anil, AnilParams(inner_lr=0.05, adapted="all", **INNER), kind)
    expected = meta_gradients(maml, kind)
    for name, gradient in meta_gradients(anil, kind).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-10, rtol=1e-10)


def test_anil_that_adapts_all_takes_a_network_that_lists_no_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr("metabench_plugins.learners.anil.layered", lambda *args: asked.append(args))
    anil = made(Anil, AnilParams(adapted="all", **INNER), "regression")
    anil.meta_step(batch(), progress=0.0, rng=generator())
    assert not asked


@KINDS
def test_anil_adapts_the_head_alone(kind: str) -> None:
    anil = made(Anil, AnilParams(inner_lr=0.05, **INNER), kind)
    support = batch(kind).support
    start = anil.begin(support, rng=generator(), progress=None)
    *_, end = anil._test_path(start, support, steps=3)
    moved = {n for n, w in end.items() if not torch.equal(w, start.weights[n].expand_as(w))}
    assert moved == {"head.weight", "head.bias"}


def test_nil_trains_as_anil() -> None:
    """Every weight after three meta-steps is equal, so both differ at meta-test alone."""
    params = AnilParams(inner_lr=0.05, **INNER)
    anil, nil = (made(learner, params, "classification") for learner in (Anil, Nil))
    for step in range(3):
        for learner in (anil, nil):
            learner.meta_step(batch("classification", seed=step), progress=0.0, rng=generator(step))
    for name, weight in anil.outer.weights.items():
        assert torch.equal(weight, nil.outer.weights[name])


def test_nil_weights_classes_by_cosines_without_its_head() -> None:
    nil = made(Nil, AnilParams(**INNER), "classification")
    tasks = batch("classification")
    before = nil.adapt(tasks.support, rng=generator())
    expected = torch.empty(0, dtype=torch.double)
    with torch.no_grad():
        body = {n: w[None] for n, w in nil.outer.weights.items() if not n.startswith("head.")}
        support, query = (nil.space.forward(body, {}, d.x) for d in (tasks.support, tasks.query))
        for task, labels in enumerate(tasks.support.y):
            for embedded in query[task]:
                cosines = torch.stack(
                    [s @ embedded / (s.norm() * embedded.norm()) for s in support[task]]
                )
                attention = cosines.exp() / cosines.exp().sum()
                shares = [attention[labels == c].sum() for c in range(nil.context.shape.ways)]
                expected = torch.cat([expected, torch.stack(shares)])
        for name in ("head.weight", "head.bias"):
            nil.outer.weights[name].add_(7.0)
    for adapted in (before, nil.adapt(tasks.support, rng=generator())):
        found = adapted.predict(tasks.query.x).exp()
        torch.testing.assert_close(found.flatten(), expected, atol=1e-12, rtol=1e-12)
        assert list(adapted.n_params) == [sum(w.numel() for w in body.values())] * len(support)


@KINDS
def test_meta_sgd_with_one_rate_is_maml(kind: str) -> None:
    maml = made(Maml, MamlParams(inner_lr=0.05, **INNER), kind)
    params = MetaSgdParams(rate_low=0.05, rate_high=0.05, **INNER)
    learner = made(MetaSgd, params, kind)
    for name, weight in learner.outer.weights.items():
        if name.startswith("rate."):
            weight.data.fill_(0.05)  # 0.05 in float32 is another number
    expected = meta_gradients(maml, kind)
    found = meta_gradients(learner, kind)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("learner", "params"),
    [(Anil, AnilParams(inner_lr=0.05, **INNER)), (MetaSgd, MetaSgdParams(**INNER))],
)
def test_the_meta_gradient_is_that_of_finite_differences(learner: Any, params: Any) -> None:
    """Along a random direction of all meta-learned weights, rates included."""
    built = made(learner, params, "regression")
    gradients = meta_gradients(built, "regression")
    draw, tasks = generator(1), batch("regression")
    direction = {
        name: torch.randn(w.shape, generator=draw, dtype=w.dtype)
        for name, w in built.outer.weights.items()
    }
    slope = sum(float((g * direction[name]).sum()) for name, g in gradients.items())
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            for name, weight in built.outer.weights.items():
                weight.add_(direction[name], alpha=step)
        start = built.begin(tasks.support, rng=generator(), progress=0.0)
        values.append(float(built.outer_losses(start, tasks)[0].detach()))
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


def test_rates_start_in_their_range_and_are_learned() -> None:
    learner = made(MetaSgd, MetaSgdParams(**INNER), "regression")
    rates = {n: w.clone() for n, w in learner.outer.weights.items() if n.startswith("rate.")}
    values = torch.cat([w.detach().flatten() for w in rates.values()])
    assert 0.005 <= float(values.min()) < 0.02
    assert 0.08 < float(values.max()) <= 0.1
    learner.meta_step(batch(), progress=0.0, rng=generator())
    assert any(not torch.equal(learner.outer.weights[n], w) for n, w in rates.items())


def test_a_range_of_rates_is_ordered() -> None:
    with pytest.raises(ValueError, match="rate_low must not be above rate_high"):
        MetaSgdParams(rate_low=0.2, rate_high=0.1)


def test_meta_sgd_states_that_its_rates_are_learned() -> None:
    assert of_meta_sgd(MetaSgdParams()).inner_optimizer == "SGD with learned rates"
