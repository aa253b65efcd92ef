"""Optimizers in simple operators make the steps of the fused ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from metabench.running.engines.lowering import lower
from metabench.running.engines.recording import Recorder, Recording

SHAPES = ((3,), (2, 4), ())


def adam(state: dict[str, list[Tensor]], **options: Any) -> None:
    torch._foreach_add_(state["steps"], 1.0)
    torch._fused_adam_(
        state["weights"], state["gradients"], state["moments"], state["squares"],
        state["squares"] if "amsgrad" in options else [],
        state["steps"], lr=0.1, beta1=options.get("beta1", 0.9), beta2=0.99,
        weight_decay=options.get("decay", 0.0), eps=1e-8, amsgrad="amsgrad" in options,
        maximize="maximize" in options,
    )  # fmt: skip


def sgd(state: dict[str, list[Tensor]], **options: Any) -> None:
    momentum = options.get("momentum", 0.0)
    torch._fused_sgd_(
        state["weights"], state["gradients"], state["moments"] if momentum else [],
        weight_decay=options.get("decay", 0.0), momentum=momentum, lr=0.1,
        dampening=options.get("dampening", 0.0), nesterov=options.get("nesterov", False),
        maximize="maximize" in options, is_first_step="is_first_step" in options,
    )  # fmt: skip


def made_up() -> dict[str, list[Tensor]]:
    rng = torch.Generator().manual_seed(0)

    def some(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    names = ("weights", "gradients", "moments")
    state = {name: [some(shape) for shape in SHAPES] for name in names}
    state["squares"] = [some(shape).square() for shape in SHAPES]
    state["steps"] = [torch.tensor(float(n)) for n in range(len(SHAPES))]
    return state


def recorded(step: Callable[..., None], options: dict[str, Any]) -> Recording:
    state = made_up()
    inputs = {
        f"state.{name}.{index}": tensor
        for name, tensors in state.items()
        for index, tensor in enumerate(tensors)
    }
    recorder = Recorder(inputs, progress=torch.tensor(0.0), rng=torch.Generator())
    with recorder:
        step(state, **options)
    return recorder.finish({}, [])


@pytest.mark.parametrize(
    ("step", "options"),
    [
        (adam, {}),
        (adam, {"beta1": 0.0, "decay": 0.1}),
        (sgd, {}),
        (sgd, {"momentum": 0.9, "decay": 0.1}),
        (sgd, {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_a_lowered_step_is_the_fused_one(
    step: Callable[..., None], options: dict[str, Any]
) -> None:
    own, other, recording = made_up(), made_up(), recorded(step, options)
    lower(recording.graph)
    assert not any("fused" in str(node.target) for node in recording.graph.nodes)
    module = fx.GraphModule({}, recording.graph)
    given = {
        f"state.{name}.{index}": tensor
        for name, tensors in other.items()
        for index, tensor in enumerate(tensors)
    }
    for _ in range(3):
        step(own, **options)
        module(*[given[name] for name in recording.inputs])
    for name in ("weights", "moments", "squares", "steps"):
        for one, two in zip(own[name], other[name], strict=True):
            torch.testing.assert_close(two, one, rtol=1e-12, atol=1e-14)
    assert not torch.equal(own["weights"][0], made_up()["weights"][0])


@pytest.mark.parametrize(
    ("step", "options"),
    [
        (adam, {"amsgrad": True}),
        (adam, {"maximize": True}),
        (sgd, {"maximize": True}),
        (sgd, {"momentum": 0.9, "dampening": 0.1}),
        (sgd, {"momentum": 0.9, "is_first_step": True}),
    ],
)
def test_an_option_that_is_not_written_out_is_refused(
    step: Callable[..., None], options: dict[str, Any]
) -> None:
    with pytest.raises(NotImplementedError, match=[*options][-1]):
        lower(recorded(step, options).graph)
