"""The outer optimizers are those of `torch.optim`, and a step of theirs can be played again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from metabench_plugins.learners.parts import updates
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam, OuterOptimizer
from metabench_plugins.learners.parts.outer_sgd import OuterSgd
from metabench_plugins.learners.parts.updates import bias_correction

SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 3, 3), "d": (), "e": (4,)}
RATES = [1.0, 0.5, 0.06, 0.3]
DOUBLE = torch.float64


@pytest.fixture(params=["fused", "foreach", "rate as a tensor"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The update of one pass, that of a device without one, and that of a captured step."""
    if request.param == "foreach":
        monkeypatch.setattr(updates, "has_fused", lambda *_: False)
    return str(request.param)


def rate_at(step: int, kind: str = "fused") -> Any:
    rate = RATES[step % len(RATES)]
    return torch.tensor(rate, dtype=DOUBLE) if kind == "rate as a tensor" else rate


def start() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=rng, dtype=DOUBLE).requires_grad_()
        for name, shape in SHAPES.items()
    }


def groups(weights: dict[str, Tensor]) -> list[Group]:
    """Groups that differ in all that a group can say."""
    return [
        Group({name: weights[name] for name in "ab"}, 0.05),
        Group({"c": weights["c"]}, 0.01, beta1=0.0, decay=0.1, max_norm=0.5),
        Group(
            {name: weights[name] for name in "de"},
            0.02,
            beta1=0.5,
            decay=0.01,
            clipped=False,
            max_norm=0.5,
            each=True,
        ),
    ]


def gradients(step: int, *, unused: str = "") -> list[Tensor | None]:
    """Gradients of mixed sizes; "e" has none in every third step."""
    rng = torch.Generator().manual_seed(100 + step)
    return [
        None
        if name == unused or (name == "e" and step % 3 == 0)
        else torch.randn(shape, generator=rng, dtype=DOUBLE) * 10.0 ** (step % 3 - 1)
        for name, shape in SHAPES.items()
    ]


def torch_adam(weights: dict[str, Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        [
            {
                "params": list(group.weights.values()),
                "lr": group.lr,
                "betas": (group.beta1, 0.999),
                "weight_decay": group.decay,
            }
            for group in groups(weights)
        ]
    )


def torch_sgd(weights: dict[str, Tensor], **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        [
            {"params": list(g.weights.values()), "lr": g.lr, "weight_decay": g.decay}
            for g in groups(weights)
        ],
        **options,
    )


def torch_step(
    optimizer: torch.optim.Optimizer,
    weights: dict[str, Tensor],
    found: list[Tensor | None],
    *,
    rate: float,
    clip: float | None = None,
) -> None:
    """A step of `torch.optim` with the bounds and the rate of the groups."""
    for weight, gradient in zip(weights.values(), found, strict=True):
        weight.grad = gradient
    for group, own in zip(groups(weights), optimizer.param_groups, strict=True):
        if clip is not None and group.clipped:
            torch.nn.utils.clip_grad_value_(own["params"], clip)
        if group.max_norm is not None:
            together = [[one] for one in own["params"]] if group.each else [own["params"]]
            for some in together:
                torch.nn.utils.clip_grad_norm_(some, group.max_norm)
        own["lr"] = rate * group.lr
    optimizer.step()


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, weight in expected.items():
        torch.testing.assert_close(actual[name], weight, rtol=1e-12, atol=1e-12)


def test_adam_is_that_of_torch(kind: str) -> None:
    weights, own = start(), start()
    theirs, ours = torch_adam(weights), OuterAdam(groups(own), clip=2.0)
    for step in range(50):
        torch_step(theirs, weights, gradients(step), rate=rate_at(step), clip=2.0)
        assert not ours.apply(gradients(step), rate=rate_at(step, kind))
    assert_equal(own, weights)
    assert [float(state["step"]) for state in ours.moments().values()] == [50, 50, 50, 50, 33]


@pytest.mark.parametrize(
    "options",
    [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": False}, {"momentum": 0.0}],
    ids=["nesterov", "momentum", "plain"],
)
def test_sgd_is_that_of_torch(kind: str, options: dict[str, Any]) -> None:
    weights, own = start(), start()
    theirs, ours = torch_sgd(weights, **options), OuterSgd(groups(own), **options)
    for step in range(50):
        torch_step(theirs, weights, gradients(step), rate=rate_at(step))
        ours.apply(gradients(step), rate=rate_at(step, kind))
    assert_equal(own, weights)


def test_a_weight_without_gradient_stays_and_has_no_moments() -> None:
    weights = start()
    outer = OuterAdam(groups(weights))
    before = weights["c"].detach().clone()
    for step in range(3):
        outer.apply(gradients(step, unused="c"))
    assert torch.equal(weights["c"], before)
    assert set(outer.state_dict()["adam"]) == {0, 1, 3, 4}


def test_a_gradient_in_another_order_of_memory_is_the_same_gradient(kind: str) -> None:
    weights, turned = start(), start()
    outer, other = OuterAdam(groups(weights)), OuterAdam(groups(turned))
    for step in range(3):
        outer.apply(gradients(step), rate=rate_at(step, kind))
        permuted = [
            g if g is None or g.dim() < 2 else g.transpose(0, 1).contiguous().transpose(0, 1)
            for g in gradients(step)
        ]
        other.apply(permuted, rate=rate_at(step, kind))
    for name, weight in weights.items():
        assert torch.equal(weight, turned[name])


def test_a_weight_in_another_order_of_memory_moves_alike() -> None:
    weights, turned = start(), start()
    turned["a"] = turned["a"].detach().t().contiguous().t().requires_grad_()
    assert not turned["a"].is_contiguous()
    outer, other = OuterAdam(groups(weights)), OuterAdam(groups(turned))
    for step in range(5):
        outer.apply(gradients(step))
        other.apply(gradients(step))
    assert_equal(turned, weights)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_the_bias_correction_keeps_its_digits_in_float32(beta: float) -> None:
    steps = torch.tensor([1, 2, 3, 10, 100, 1000, 10_000, 300_000], dtype=torch.float64)
    torch.testing.assert_close(bias_correction(beta, steps), 1 - beta**steps, rtol=1e-12, atol=0)
    short = bias_correction(beta, steps.float())
    torch.testing.assert_close(short.double(), 1 - beta**steps, rtol=3e-7, atol=0)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_checkpoint_of_torch_goes_on(name: str) -> None:
    weights, own = start(), start()
    theirs = torch_adam(weights) if name == "adam" else torch_sgd(weights, momentum=0.9)
    ours: OuterOptimizer = (
        OuterAdam(groups(own))
        if name == "adam"
        else OuterSgd(groups(own), momentum=0.9, nesterov=False)
    )
    for step in range(4):
        torch_step(theirs, weights, gradients(step, unused="e"), rate=1.0)
        # What was learned since is forgotten, also of a weight that the checkpoint lacks.
        ours.apply(gradients(step + 1))
    state = {"weights": weights, name: theirs.state_dict()["state"]}
    guard = {"norms": torch.zeros(100), "seen": 0}
    ours.load_state_dict(copy.deepcopy({**state, "guard": guard}))
    assert_equal(own, weights)
    for step in range(4, 8):
        torch_step(theirs, weights, gradients(step), rate=1.0)
        ours.apply(gradients(step))
    assert_equal(own, weights)


def test_restoring_fills_the_tensors_that_a_captured_step_uses() -> None:
    weights = start()
    outer = OuterAdam(groups(weights), skip_above=20.0)
    outer.apply(gradients(1))
    kept = copy.deepcopy(outer.state_dict())
    tensors = [t for state in outer.moments().values() for t in state.values()]
    places = [t.data_ptr() for t in (*tensors, *weights.values())]
    outer.apply(gradients(2))
    outer.load_state_dict(kept)
    again = [t for state in outer.moments().values() for t in state.values()]
    assert [t.data_ptr() for t in (*again, *weights.values())] == places
    for place, state in kept["adam"].items():
        for key, tensor in state.items():
            assert torch.equal(outer.moments()[place][key], tensor)
    assert outer.state_dict()["guard"]["seen"] == 1


@pytest.mark.parametrize("schedule", [False, True], ids=["constant rate", "schedule"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_traced_step_is_every_step(name: str, schedule: bool) -> None:
    """Traced once, it goes on as eager steps do: nothing that changes is a number in the trace."""

    def make(weights: dict[str, Tensor]) -> OuterOptimizer:
        if name == "adam":
            return OuterAdam(groups(weights), clip=5.0, skip_above=20.0)
        return OuterSgd(groups(weights), momentum=0.9, skip_above=20.0)

    eager, played = start(), start()
    expected, outer = make(eager), make(played)
    outer.apply(gradients(1))
    expected.apply(gradients(1))
    kept = copy.deepcopy(outer.state_dict())

    def step(found: list[Tensor], rate: Tensor) -> Tensor:
        return outer.apply(found, rate=rate if schedule else 0.5)

    traced = make_fx(step)(gradients(2), torch.tensor(1.0, dtype=DOUBLE))
    outer.load_state_dict(kept)  # tracing makes a step
    decisions = []
    for i in range(40):
        found = [
            g * (1e5 if i in (5, 20, 30) else 1.0) for g in gradients(1 + 3 * i) if g is not None
        ]
        rate = torch.tensor(RATES[i % 4], dtype=DOUBLE)
        with torch.no_grad():
            decisions.append(bool(traced(found, rate)))
        assert bool(expected.apply(found, rate=rate if schedule else 0.5)) == decisions[-1]
    assert [i for i, skipped in enumerate(decisions) if skipped] == [20, 30]
    for weight, other in zip(played.values(), eager.values(), strict=True):
        assert torch.equal(weight, other)
