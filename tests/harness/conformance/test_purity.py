"""The pretended accelerator, and the inner loop on it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metabench.conformance.purity import assert_on, fake_accelerator
from metabench.errors import PluginError
from metabench.inner_steps import inner_loop, share
from metabench.nn.transduction import predictor
from metabench.plugin.contracts.architecture import Params
from metabench.plugin.contracts.episode import TaskShape
from metabench.plugin.contracts.space import SearchSpace
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

CPU = torch.device("cpu")
WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda x: x + torch.ones(3),
    "cat": lambda x: torch.cat([x, torch.zeros(3)]),
    "where": lambda x: torch.where(x > 0, x, torch.zeros(3)),
    "in place": lambda x: torch.ones(3).add_(x),
    "matmul": lambda x: x @ torch.zeros(3),
    "one element": lambda x: x + torch.ones(1),
    "a number that is joined": lambda x: torch.stack([x.sum(), torch.tensor(1.0)]),
    "index of the accelerator": lambda x: torch.ones(3)[x.long()] + x,
}
RIGHT: dict[str, Callable[[Tensor], Tensor]] = {
    "new": lambda x: x + x.new_ones(3),
    "like": lambda x: x * torch.zeros_like(x),
    "device": lambda x: torch.ones(3, device=x.device) + x,
    "tensor": lambda x: torch.tensor([1.0, 2.0, 3.0], device=x.device) + x,
    "moved": lambda x: torch.randn(3, generator=torch.Generator()).to(x.device) + x,
    "number": lambda x: x * torch.tensor(2.0),
    "index of the cpu": lambda x: x[torch.tensor([0, 2])],
    "view": lambda x: x.clone().view(3, 1).mul_(2),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_tensor_on_the_wrong_device_is_caught(name: str) -> None:
    WRONG[name](torch.ones(3))
    with fake_accelerator() as device, pytest.raises(RuntimeError, match="same device"):
        WRONG[name](torch.ones(3, device=device))


DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "new": lambda x: torch.rand(3, device=x.device, generator=torch.Generator()),
    "in place": lambda x: torch.empty_like(x).normal_(generator=torch.Generator()),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_of_the_cpu_draws_nothing_on_the_accelerator(name: str) -> None:
    DRAWS[name](torch.ones(3))
    with fake_accelerator() as device, pytest.raises(RuntimeError, match="draw on the CPU"):
        DRAWS[name](torch.ones(3, device=device))


def test_a_norm_without_a_scale_has_no_derivative_to_it() -> None:
    """CUDA's kernel makes that derivative like the scale."""

    def derivative(x: Tensor) -> None:
        torch.ops.aten.native_batch_norm_backward.default(
            x, x, None, None, None, x[0, :, 0, 0], x[0, :, 0, 0], True, 0.0, [False, True, True]
        )

    derivative(torch.ones(2, 3, 4, 4))
    with fake_accelerator() as device, pytest.raises(RuntimeError, match="without a scale"):
        derivative(torch.ones(2, 3, 4, 4, device=device))


def test_copies_lie_elsewhere() -> None:
    with fake_accelerator() as device:
        x = torch.ones(3, device=device)
        assert x.data_ptr() == x.detach().data_ptr() != x.clone().data_ptr()


def test_so_it_is_in_a_backward_pass() -> None:
    class Careless(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient + torch.zeros(3)

    with fake_accelerator() as device:
        x = torch.ones(3, device=device, requires_grad=True)
        with pytest.raises(RuntimeError, match="same device"):
            Careless.apply(x).sum().backward()


@pytest.mark.parametrize("name", RIGHT)
def test_correct_code_gives_the_values_of_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    x = torch.tensor([1.0, -2.0, 3.0])
    expected = RIGHT[name](x) if name != "moved" else None
    with fake_accelerator() as device:
        y = RIGHT[name](x.to(device))
        assert_on(device, y)
        back = y.cpu()
    assert_on(CPU, back)
    if expected is not None:
        assert torch.equal(back, expected)


def test_an_index_that_is_a_list_is_named_not_misread() -> None:
    with fake_accelerator() as device:
        x = torch.ones(2, 3, device=device)
        with pytest.raises(RuntimeError, match="index with a tensor"):
            x[:, [0, 2]]


def test_values_can_be_read() -> None:
    with fake_accelerator() as device:
        x = torch.arange(3, device=device)
        assert x.tolist() == [0, 1, 2]
        assert x.sum().item() == 3
        assert float(x[1]) == 1.0


def test_in_place_changes_keep_to_their_own_device() -> None:
    x = torch.zeros(3)
    with fake_accelerator() as device:
        y = x.to(device)
        y[1:] += 1
        assert y.tolist() == [0, 1, 1]
        z = y.cpu()
        y.zero_()
    assert x.tolist() == [0, 0, 0]
    assert z.tolist() == [0, 1, 1]


def test_assert_on_looks_into_containers() -> None:
    with fake_accelerator() as device:
        good, bad = torch.zeros(2, device=device), torch.zeros(2)
        assert_on(device, {"a": [good, (good, 1)], "b": None})
        with pytest.raises(PluginError, match=r"shape \[2\] on cpu"):
            assert_on(device, {"a": [good, (bad,)]})
        with pytest.raises(PluginError, match="no tensor"):
            assert_on(device, {"a": 1})


SPACES: list[tuple[SearchSpace, tuple[int, ...], int]] = [
    (
        Mlp(MlpParams(hidden=2, width=5, norm="batch"), TaskShape("regression", (2,), 1)),
        (2,),
        1,
    ),
    *(
        (
            Conv4(
                Conv4Params(filters=3, pool=pool, head=head),
                TaskShape("classification", (1, 16, 16), 3),
            ),
            (1, 16, 16),
            3,
        )
        for pool, head in [("max", "flatten"), ("stride", "mean")]
    ),
]
IDS = ["mlp", "conv4-max", "conv4-stride"]


def data(inputs: tuple[int, ...], outputs: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = [inputs, (outputs,)] * 2
    return [torch.randn(2, 5, *s, generator=rng, dtype=torch.float64) for s in shapes]


def meta_step(
    space: SearchSpace, tensors: list[Tensor], *, order: str, device: torch.device
) -> dict[str, Params]:
    x, y, query_x, query_y = (tensor.to(device) for tensor in tensors)
    rng = torch.Generator().manual_seed(1)
    weights = {
        name: weight.double().to(device).requires_grad_()
        for name, weight in space.init_weights(rng=rng).items()
    }

    def loss(w: Params) -> Tensor:
        return (space.forward(w, {}, x) - y).square().mean((1, 2))

    end = inner_loop(loss, share(weights, len(x)), steps=2, lr=0.1, order=order)
    outer = (space.forward(end, {}, query_x) - query_y).square().mean()
    gradients = torch.autograd.grad(
        outer, list(weights.values()), allow_unused=True, materialize_grads=True
    )
    return {"end": end, "gradients": dict(zip(weights, gradients, strict=True))}


@pytest.mark.parametrize(("space", "inputs", "outputs"), SPACES, ids=IDS)
@pytest.mark.parametrize("order", ["second", "first"])
def test_a_meta_step_stays_on_its_device_and_equals_the_cpu(
    space: SearchSpace, inputs: tuple[int, ...], outputs: int, order: str
) -> None:
    tensors = data(inputs, outputs)
    expected = meta_step(space, tensors, order=order, device=CPU)
    with fake_accelerator() as device:
        found = meta_step(space, tensors, order=order, device=device)
        assert_on(device, found)
        for part, values in found.items():
            for name, value in values.items():
                torch.testing.assert_close(
                    value.detach().cpu(), expected[part][name].detach(), rtol=1e-9, atol=1e-9
                )


@pytest.mark.parametrize(("space", "inputs", "outputs"), SPACES, ids=IDS)
@pytest.mark.parametrize("transductive", [True, False])
def test_adaptation_stays_on_its_device(
    space: SearchSpace, inputs: tuple[int, ...], outputs: int, transductive: bool
) -> None:
    tensors = data(inputs, outputs)
    with fake_accelerator() as device, torch.no_grad():
        x, y, query_x, _ = (tensor.to(device) for tensor in tensors)
        weights = {
            name: weight.double().to(device)
            for name, weight in space.init_weights(rng=torch.Generator()).items()
        }
        end = inner_loop(
            lambda w: (space.forward(w, {}, x) - y).square().mean((1, 2)),
            share(weights, len(x)),
            steps=2,
            lr=0.1,
            order="none",
        )
        predict = predictor(lambda q: space.forward(end, {}, q), x, transductive=transductive)
        assert_on(device, [end, predict(query_x)])
