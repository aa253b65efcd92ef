"""The inner Adam against its equations, one tensor at a time, and played again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from metabench import Params, share
from metabench_plugins.learners.parts import updates
from metabench_plugins.learners.parts.inner_adam import (
    Moments,
    decayed,
    descend,
    descend_plainly,
)

TASKS = 3
SHAPES = {"a": (2, 4), "b": (5,), "c": ()}
LR, BETA2 = 0.01, 0.99


@pytest.fixture(params=["fused", "foreach"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The update of one pass, and that of a device without one."""
    if request.param == "foreach":
        monkeypatch.setattr(updates, "has_fused", lambda *_: False)
    return str(request.param)


def tensors(seed: int, *axes: int) -> Params:
    rng = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn((*axes, *shape), generator=rng, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def test_fifty_steps_are_those_of_the_equations(kind: str) -> None:
    start = tensors(0)
    weights, moments = share(start, TASKS), Moments.zero(start).share(TASKS)
    expected = {name: weight.clone() for name, weight in weights.items()}
    v = {name: torch.zeros_like(weight) for name, weight in expected.items()}
    # "c" has no gradient in the second half; the count of steps is that of all.
    for t in range(1, 51):
        found = {n: g for n, g in tensors(t, TASKS).items() if n != "c" or t <= 25}
        before = (dict(weights), {n: w.clone() for n, w in weights.items()})
        weights, moments = descend(weights, found, moments, lr=LR, beta2=BETA2)
        for name, weight in before[0].items():
            assert torch.equal(weight, before[1][name])  # nothing is changed in place
        for name, g in found.items():
            v[name] = BETA2 * v[name] + (1 - BETA2) * g**2
            expected[name] = expected[name] - LR * g / ((v[name] / (1 - BETA2**t)).sqrt() + 1e-8)
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(moments.values[name], v[name], rtol=1e-12, atol=1e-12)
    assert int(moments.steps) == 50
    assert all(torch.equal(start[name], weight) for name, weight in tensors(0).items())


def test_a_gradient_in_another_order_of_memory_is_the_same_gradient(kind: str) -> None:
    weights, moments = tensors(0, TASKS), Moments.zero(tensors(0, TASKS))
    found = tensors(1, TASKS)
    turned = found | {"a": found["a"].transpose(0, 2).contiguous().transpose(0, 2)}
    assert not turned["a"].is_contiguous()
    one, _ = descend(weights, found, moments, lr=LR, beta2=BETA2)
    other, _ = descend(weights, turned, moments, lr=LR, beta2=BETA2)
    for name, weight in one.items():
        assert torch.equal(weight, other[name])


def test_a_traced_step_is_every_step() -> None:
    """The count of steps is no number in the trace."""
    values = [*tensors(0, TASKS).values()]
    steps = torch.tensor(0.0)

    def step(
        weights: list[Tensor], squares: list[Tensor], steps: Tensor, gradients: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        named = [dict(zip(SHAPES, x, strict=True)) for x in (weights, squares, gradients)]
        moved, later = descend(named[0], named[2], Moments(named[1], steps), lr=LR, beta2=BETA2)
        return list(moved.values()), list(later.values.values()), later.steps

    squares = [torch.zeros_like(weight) for weight in values]
    traced = make_fx(step)(values, squares, steps, [*tensors(1, TASKS).values()])
    state, played = (values, squares, steps), (values, squares, steps)
    for t in range(20):
        found = [*tensors(t, TASKS).values()]
        state, played = step(*state, found), traced(*played, found)
    for one, other in zip(state[0], played[0], strict=True):
        assert torch.equal(one, other)
    assert int(played[2]) == 20


def test_the_count_may_be_a_number_as_in_older_states() -> None:
    start = tensors(0)
    _, moments = descend(start, tensors(1), Moments.zero(start), lr=LR, beta2=BETA2)
    state = moments.to_state()
    for count in (state["moment_steps"], 1):
        again = Moments.from_state(state | {"moment_steps": count})
        assert torch.equal(again.steps, moments.steps)
        assert again.mean().steps == 1


def test_decay_and_plain_descent_are_those_of_each_tensor() -> None:
    weights, found = tensors(0, TASKS), tensors(1, TASKS)
    found["a"][1] = 0.0
    joined = decayed(found, weights, decay=0.3)
    for name, g in found.items():
        for task in range(TASKS):
            unused = name == "a" and task == 1
            expected = g[task] + (0.0 if unused else 0.3) * weights[name][task]
            torch.testing.assert_close(joined[name][task], expected, rtol=1e-12, atol=1e-12)
    del found["b"]
    moved = descend_plainly(weights, found, lr=0.1)
    assert moved["b"] is weights["b"]
    for name, g in found.items():
        torch.testing.assert_close(moved[name], weights[name] - 0.1 * g, rtol=1e-12, atol=1e-12)
