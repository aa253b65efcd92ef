"""SGD in the outer loop: its update, what the guard skips, and its state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from metabench_plugins.learners.parts.outer_adam import Group
from metabench_plugins.learners.parts.outer_sgd import OuterSgd


def started(**changes: float | None) -> OuterSgd:
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    group = Group({"w": weight}, 0.1, decay=0.01)
    return OuterSgd([group], **{"momentum": 0.9, "skip_above": 20.0, **changes})  # type: ignore[arg-type]


def loss_of(outer: OuterSgd, factor: float = 1.0) -> Tensor:
    return factor * (outer.weights["w"] - 3.0).square().sum()


def test_the_update_is_that_of_nesterovs_momentum() -> None:
    outer = started()
    w = outer.weights["w"].detach().clone()
    velocity = torch.zeros_like(w)
    for rate in (1.0, 1.0, 0.06, 0.06):
        outer.step(loss_of(outer), rate=rate)
        gradient = 2 * (w - 3.0) + 0.01 * w
        velocity = 0.9 * velocity + gradient
        w = w - 0.1 * rate * (gradient + 0.9 * velocity)
        torch.testing.assert_close(outer.weights["w"].detach(), w)


def test_without_momentum_it_is_plain_descent() -> None:
    outer = started(momentum=0.0)
    w = outer.weights["w"].detach().clone()
    for _ in range(2):
        outer.step(loss_of(outer))
        w = w - 0.1 * (2 * (w - 3.0) + 0.01 * w)
    torch.testing.assert_close(outer.weights["w"].detach(), w)


@pytest.mark.parametrize("factor", [1e6, float("nan")])
def test_a_runaway_gradient_is_skipped(factor: float) -> None:
    outer, plain = started(), started()
    for _ in range(12):
        outer.step(loss_of(outer))
        plain.step(loss_of(plain))
    assert float(outer.step(loss_of(outer, factor))) == 1.0
    plain.step(loss_of(plain, 0.0))
    assert torch.equal(outer.weights["w"], plain.weights["w"])


def test_its_state_resumes() -> None:
    outer, resumed = started(), started()
    outer.step(loss_of(outer))
    resumed.load_state_dict(copy.deepcopy(outer.state_dict()))
    for one in (outer, resumed):
        one.step(loss_of(one))
    assert torch.equal(outer.weights["w"], resumed.weights["w"])
    assert "momentum_buffer" in outer.state_dict()["sgd"][0]
