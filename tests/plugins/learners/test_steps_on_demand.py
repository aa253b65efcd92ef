"""Steps of an inner loop that are made when they are asked for."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from small_tasks import batch, context, generator, in_double

from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts.steps_on_demand import Later, StepsOnDemand


class Weights:
    """What can be seen to be alive."""

    def __init__(self, step: int) -> None:
        self.step = step


class Loop:
    """Counts the steps that it makes, and sees which are alive."""

    def __init__(self) -> None:
        self.made = 0
        self.alive: weakref.WeakSet[Weights] = weakref.WeakSet()

    def __call__(self) -> Iterator[Weights]:
        for step in range(6):
            state = Weights(step)
            self.made += 1
            self.alive.add(state)
            yield state
            del state


def test_steps_in_order_are_made_once_and_two_are_alive() -> None:
    loop = Loop()
    path = StepsOnDemand(loop, headline=3)
    assert loop.made == 0
    for step in range(6):
        assert path.at(step).step == step
        assert path.at(step).step == step
        assert {one.step for one in loop.alive} == ({step, 3} if step > 3 else {step})
    assert path.at(3).step == 3
    assert loop.made == 6


def test_a_step_that_has_passed_is_made_again() -> None:
    loop = Loop()
    path = StepsOnDemand(loop, headline=1)
    assert [path.at(step).step for step in (4, 2, 5, 1)] == [4, 2, 5, 1]
    assert loop.made == 5 + 6  # the headline was kept


def test_later_is_made_once_when_it_is_looked_at() -> None:
    made = []
    later = Later(lambda: made.append(1) or ["a", "b"], length=2)
    assert len(later) == 2
    assert not made
    assert (list(later), later[0], later[:1]) == (["a", "b"], "a", ["a"])
    assert later == ["a", "b"]
    assert later != ["a"]
    assert made == [1]


def test_predictors_are_the_same_in_any_order() -> None:
    learner = in_double(Maml(context(MamlParams(inner_lr=0.1))))
    tasks = batch()
    forward = learner.adapt(tasks.support, rng=generator())
    in_order = [predict(tasks.query.x) for predict in forward.curve]
    backward = learner.adapt(tasks.support, rng=generator())
    reversed_order = [predict(tasks.query.x) for predict in backward.curve[::-1]][::-1]
    for one, other in zip(in_order, reversed_order, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(forward.predict(tasks.query.x), in_order[3])
    assert not torch.allclose(in_order[0], in_order[1])


def test_the_curve_takes_one_inner_loop_and_the_headline_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner, tasks = in_double(Maml(context(MamlParams()))), batch()
    passes, forward = [], learner.space.forward
    monkeypatch.setattr(learner.space, "forward", lambda *a: passes.append(1) or forward(*a))
    adapted = learner.adapt(tasks.support, rng=generator())
    assert not passes
    for predict in (*adapted.curve, adapted.predict):
        predict(tasks.query.x)
    assert len(passes) == 3 + 4 + 1  # steps, curve, headline
