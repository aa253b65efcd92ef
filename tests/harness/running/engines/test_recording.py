"""A recorded graph holds both derivatives; compiling around them does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

from metabench.conformance.purity import fake_accelerator
from metabench.inner_steps import inner_loop, share
from metabench.nn import batch_norm, conv_block, linear
from metabench.running.engines.reads import PythonReads
from metabench.running.engines.recording import Recorder

N_TASKS, POINTS, STEPS = 3, 6, 2


def weights() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = {"a": (1, 5), "norm.scale": (5,), "norm.shift": (5,), "b": (5, 1)}
    return {
        name: torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }


def data() -> list[Tensor]:
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(N_TASKS, POINTS, 1, generator=rng, dtype=torch.float64) for _ in range(4)]


def losses(w: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    hidden = batch_norm(linear(x, w["a"]), w["norm.scale"], w["norm.shift"], relu=True)
    return (linear(hidden, w["b"]) - y).square().mean((1, 2))


def meta_gradients(
    w: dict[str, Tensor], x: Tensor, y: Tensor, qx: Tensor, qy: Tensor
) -> list[Tensor]:
    end = inner_loop(
        lambda own: losses(own, x, y), share(w, N_TASKS), steps=STEPS, lr=0.05, order="second"
    )
    return list(torch.autograd.grad(losses(end, qx, qy).mean(), list(w.values())))


def test_a_graph_has_the_second_derivative_and_no_gradient_left_to_take() -> None:
    w, given = weights(), data()
    wanted = meta_gradients(w, *given)
    inputs = {f"state.{name}": leaf for name, leaf in w.items()}
    inputs |= {f"tasks.{index}": tensor for index, tensor in enumerate(given)}
    recorder = Recorder(inputs, progress=torch.tensor(0.0), rng=torch.Generator())
    with PythonReads(recorder), recorder:
        gradients = meta_gradients(w, *given)
    recording = recorder.finish({str(i): g for i, g in enumerate(gradients)}, [])
    module = fx.GraphModule({}, recording.graph)
    assert len(recording.graph.nodes) > 100
    # Other numbers than those that were recorded.
    other = {name: (tensor * 1.1).detach() for name, tensor in inputs.items()}
    found = module(*[other[name] for name in recording.inputs])
    assert not any(gradient.requires_grad for gradient in found)
    moved = {name: (leaf * 1.1).detach().requires_grad_() for name, leaf in w.items()}
    wanted = meta_gradients(moved, *[tensor * 1.1 for tensor in given])
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def block_gradients(
    w: dict[str, Tensor], x: Tensor, y: Tensor, qx: Tensor, qy: Tensor
) -> list[Tensor]:
    def block_losses(own: dict[str, Tensor], images: Tensor, wanted: Tensor) -> Tensor:
        maps = conv_block(images, own["weight"], own["scale"], own["shift"])
        return (maps - wanted).square().mean((1, 2, 3, 4))

    end = inner_loop(
        lambda own: block_losses(own, x, y), share(w, N_TASKS), steps=STEPS, lr=0.05, order="second"
    )
    return list(torch.autograd.grad(block_losses(end, qx, qy).mean(), list(w.values())))


@pytest.mark.parametrize("factor", [1.1, -1.1])
def test_a_block_of_images_is_recorded_for_scales_of_either_sign(factor: float) -> None:
    rng = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 2, 3, 3), "scale": (4,), "shift": (4,)}
    w = {
        name: torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }
    assert (w["scale"] < 0).any()
    assert (w["scale"] > 0).any()
    given = [
        torch.randn(N_TASKS, 2, *shape, generator=rng, dtype=torch.float64)
        for shape in [(2, 5, 4), (4, 2, 2)] * 2
    ]
    inputs = {f"state.{name}": leaf for name, leaf in w.items()}
    inputs |= {f"tasks.{index}": tensor for index, tensor in enumerate(given)}
    recorder = Recorder(inputs, progress=torch.tensor(0.0), rng=torch.Generator())
    with PythonReads(recorder), recorder:
        gradients = block_gradients(w, *given)
    recording = recorder.finish({str(i): g for i, g in enumerate(gradients)}, [])
    module = fx.GraphModule({}, recording.graph)
    other = {name: (tensor * factor).detach() for name, tensor in inputs.items()}
    known = other | dict(recording.constants)
    found = module(*[known[name] for name in recording.inputs])
    moved = {name: (leaf * factor).detach().requires_grad_() for name, leaf in w.items()}
    wanted = block_gradients(moved, *[tensor * factor for tensor in given])
    for one, two in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def compiled_outside(w: dict[str, Tensor], given: list[Tensor]) -> list[Tensor]:
    """What one would write first: the compiler around the function that differentiates."""
    compiled = torch.compile(meta_gradients, backend="aot_eager", fullgraph=True)
    result: list[Tensor] = compiled(w, *given)
    return result


def test_compiling_around_the_inner_gradient_is_refused_or_wrong() -> None:
    """If this fails, PyTorch has learned it, and the recorder has an alternative."""
    w, given = weights(), data()
    wanted = meta_gradients(w, *given)
    try:
        found = compiled_outside(w, given)
    except Exception as error:
        assert "grad" in str(error)  # noqa: PT017 - either is right
        return
    assert not all(
        torch.allclose(one, two, rtol=1e-6) for one, two in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("name", ["detach", "alias"])
def test_what_only_names_a_tensor_again_is_no_operator(name: str) -> None:
    x = torch.ones(2)
    recorder = Recorder({"state.0": x}, progress=torch.tensor(0.0), rng=torch.Generator())
    with recorder:
        y = getattr(torch.ops.aten, name)(x) + 1.0
    recording = recorder.finish({"y": y}, [])
    assert [node.name for node in recording.graph.nodes if node.op == "call_function"] == [
        "add_tensor"
    ]
    assert recording.inputs == ("state.0",)


@pytest.mark.parametrize("layer", [torch.nn.GRU, torch.nn.LSTM, torch.nn.RNN])
def test_recurrent_layers_are_recorded_without_operators_of_libraries(
    layer: type[torch.nn.Module],
) -> None:
    """That of cuDNN counts as one that draws, so a step with it would not be captured."""
    found: list[tuple[bool, bool]] = []

    class Looking(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            enabled = torch._C._get_cudnn_enabled(), torch._C._get_mkldnn_enabled()
            found.append(enabled)
            return func(*args, **(kwargs or {}))

    network, x = layer(2, 3, batch_first=True), torch.ones(1, 4, 2)
    recorder = Recorder({"tasks.x": x}, progress=torch.tensor(0.0), rng=torch.Generator())
    with PythonReads(recorder), Looking():
        network(x)
    assert (False, False) in found
    assert torch._C._get_cudnn_enabled()
    assert torch._C._get_mkldnn_enabled()


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.clone().index_put_((x > 0,), x.new_zeros(())),
        lambda x: torch.linalg.cholesky(x @ x.mT + torch.eye(3, device=x.device)),
    ],
)
def test_what_waits_on_a_device_alone_is_refused_there(waits: Callable[[Tensor], Tensor]) -> None:
    def refusal(x: Tensor) -> str:
        recorder = Recorder({"tasks.x": x}, progress=torch.tensor(0.0), rng=torch.Generator())
        with recorder:
            waits(x)
        return recorder.refused

    assert refusal(torch.ones(3, 3)) == ""
    with fake_accelerator() as device:
        assert "waits for the values of a tensor" in refusal(torch.ones(3, 3, device=device))
