"""A single gradient that is far too large changes nothing, and is counted."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch
from tests.helpers.small_tasks import batch, context, generator, in_double

from metabench import SKIPPED, Labelled, TaskBatch
from metabench_plugins.learners.bmaml import Bmaml, BmamlParams
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.mtnet import MtNet, MtNetParams
from metabench_plugins.learners.mumomaml import MumoMaml, MumoMamlParams
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam
from metabench_plugins.learners.parts.runaway_guard import FIRST, WINDOW, RunawayGuard

CPU = torch.device("cpu")
LEARNERS = {
    "maml": (Maml, MamlParams),
    "mtnet": (MtNet, MtNetParams),
    "mumomaml": (MumoMaml, MumoMamlParams),
    "bmaml": (Bmaml, BmamlParams),
}


def skips(guard: RunawayGuard, norm: float) -> bool:
    """Whether a gradient of that norm is skipped."""
    parts = [torch.tensor([0.6 * norm]), torch.tensor([[0.8 * norm]])]
    return bool(guard.skips(parts))


def test_only_a_norm_far_above_the_median_is_skipped() -> None:
    guard = RunawayGuard(20.0, CPU)
    assert not any(skips(guard, norm) for norm in range(1, WINDOW + 2))  # the median is about 51
    assert not skips(guard, 1000.0)
    assert skips(guard, 1100.0)
    assert skips(guard, float("inf"))
    assert skips(guard, float("nan"))
    assert not skips(guard, 51.0)


def test_the_first_norms_are_skipped_only_where_they_are_not_finite() -> None:
    guard = RunawayGuard(20.0, CPU)
    assert skips(guard, float("nan"))
    assert not any(skips(guard, 1.0) for _ in range(FIRST - 2))
    assert not skips(guard, 1e6)
    assert skips(guard, 1e6)


def test_a_change_that_lasts_is_followed_after_half_a_window() -> None:
    guard = RunawayGuard(20.0, CPU)
    for _ in range(WINDOW):
        skips(guard, 1.0)
    assert sum(skips(guard, 100.0) for _ in range(WINDOW)) == WINDOW // 2 + 1


def test_without_a_ratio_nothing_is_skipped() -> None:
    guard = RunawayGuard(None, CPU)
    assert not any(skips(guard, norm) for norm in [1.0] * FIRST + [1e9, float("nan")])


def test_a_guard_that_is_restored_decides_alike() -> None:
    first, second = RunawayGuard(20.0, CPU), RunawayGuard(20.0, CPU)
    for _ in range(FIRST):
        skips(first, 5.0)
    second.load_state_dict(first.state_dict())
    assert [skips(second, 99.0), skips(second, 101.0)] == [False, True]


@pytest.mark.parametrize("damage", [1e8, float("nan")])
def test_adam_forgets_nothing_in_a_skipped_step(damage: float) -> None:
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    outer = OuterAdam([Group({"w": weight}, 0.01)], skip_above=20.0)
    for _ in range(FIRST + 5):
        assert float(outer.step((weight**2).sum())) == 0
    before = weight.detach().clone()
    moment = outer.state_dict()["adam"][0]["exp_avg_sq"].clone()
    assert float(outer.step((weight**2).sum() * damage)) == 1
    after = outer.state_dict()["adam"][0]["exp_avg_sq"]
    torch.testing.assert_close(after, 0.999 * moment)
    assert (weight.detach() - before).abs().max() < 0.01  # what is left of the first moment


def with_runaway_task(tasks: TaskBatch) -> TaskBatch:
    """The same tasks, the targets of one of which are a million times too large."""
    y = tasks.query.y.clone()
    y[0] *= 1e6
    return replace(tasks, query=Labelled(tasks.query.x, y))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_runaway_task_is_skipped_and_training_goes_on(name: str) -> None:
    """The loss is back at its level after 1 % of the steps; without the guard learning stops."""
    made, params = LEARNERS[name]
    last = {}
    for skip_above in (20.0, None):
        unbounded = {"max_norm": None} if "max_norm" in params.model_fields else {}
        own = params(inner_lr=0.01, skip_above=skip_above, **unbounded)
        learner = in_double(made(context(own)))
        losses, skipped = [], []
        for step in range(200):
            tasks = batch(seed=0)
            if step == 100:
                tasks = with_runaway_task(tasks)
            logged = learner.meta_step(tasks, progress=step / 200, rng=generator(step))
            losses.append(float(logged["loss"]))
            skipped.append(float(logged[SKIPPED]))
        assert [step for step, one in enumerate(skipped) if one] == ([100] if skip_above else [])
        if skip_above:
            # MT-Net draws masks, so single losses vary.
            assert fmean(losses[102:122]) < 1.05 * fmean(losses[80:100])
        last[skip_above] = fmean(losses[-20:])
    assert last[20.0] < last[None]


def test_its_decisions_are_those_of_a_plain_list() -> None:
    """Against the rule in plain Python: over three windows, with jumps and what is not finite."""
    guard = RunawayGuard(5.0, CPU)
    rng = torch.Generator().manual_seed(1)
    known: list[float] = []
    decisions, expected = [], []
    for step in range(3 * WINDOW + 7):
        norm = float(torch.randn((), generator=rng).mul(1.2).exp()) * (4.0 if step > 150 else 1.0)
        if step in (0, 4, 12, 60, 170):
            norm = float("nan") if step % 8 == 4 else float("inf")
        parts = [torch.tensor([0.6 * norm]), torch.tensor([[0.8 * norm]])]
        measured = float(torch.linalg.vector_norm(torch.stack([p.norm() for p in parts])))
        last = sorted(known[-WINDOW:])
        runaway = not math.isfinite(measured)
        if len(known) >= FIRST:
            runaway = runaway or measured > 5.0 * last[(len(last) - 1) // 2]
        expected.append(runaway)
        known.append(measured if math.isfinite(measured) else math.inf)
        decisions.append(bool(guard.skips(parts)))
    assert decisions == expected
    assert 10 < sum(decisions) < 100
