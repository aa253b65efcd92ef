"""The whole batch-norm perceptron against the same made of primitives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metabench.inner_steps import inner_loop, share
from metabench.nn import layers as tasknn
from metabench.nn.mlp import Layer, norm_mlp
from metabench.nn.statistics import statistics_of_first
from metabench.plugin.contracts.architecture import Params

N_TASKS, N_ROWS, EPS = 3, 6, 1e-2
HIDDEN = 2
SIZES = {"wide": [2, 5, 4, 3], "one input and output": [1, 5, 4, 1]}
Forward = Callable[[Params, Tensor], Tensor]


@pytest.fixture(params=SIZES)
def sizes(request: pytest.FixtureRequest) -> list[int]:
    return SIZES[request.param]


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def weights(rng: torch.Generator, sizes: list[int]) -> Params:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    drawn = {}
    for layer in range(HIDDEN):
        drawn[f"{layer}.weight"] = normal(sizes[layer], sizes[layer + 1])
        drawn[f"{layer}.norm.shift"] = normal(sizes[layer + 1])
        drawn[f"{layer}.norm.scale"] = normal(sizes[layer + 1])
    return drawn | {"head.weight": normal(sizes[-2], sizes[-1]), "head.bias": normal(sizes[-1])}


@pytest.fixture
def data(rng: torch.Generator, sizes: list[int]) -> list[Tensor]:
    shapes = [(N_TASKS, N_ROWS, sizes[0]), (N_TASKS, N_ROWS, sizes[-1])] * 2
    return [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes]


def whole(weights: Params, x: Tensor) -> Tensor:
    layers = [
        Layer(*(weights[f"{i}.{name}"] for name in ("weight", "norm.shift", "norm.scale")))
        for i in range(HIDDEN)
    ]
    return norm_mlp(x, layers, weights["head.weight"], weights["head.bias"], eps=EPS)


def composed(weights: Params, x: Tensor) -> Tensor:
    for i in range(HIDDEN):
        x = tasknn.linear(x, weights[f"{i}.weight"])
        scale, shift = weights[f"{i}.norm.scale"], weights[f"{i}.norm.shift"]
        x = tasknn.batch_norm(x, scale, shift, eps=EPS, relu=True)
    return tasknn.linear(x, weights["head.weight"], weights["head.bias"])


def leaves_of(weights: Params) -> Params:
    return {name: weight.clone().requires_grad_() for name, weight in weights.items()}


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_values_and_first_gradients(weights: Params, data: list[Tensor]) -> None:
    x, y, *_ = data
    results = []
    for forward in (whole, composed):
        leaves = leaves_of(share(weights, N_TASKS)) | {"x": x.clone().requires_grad_()}
        out = forward(leaves, leaves["x"])
        gradients = torch.autograd.grad((out - y).square().mean(), list(leaves.values()))
        results.append([out, *gradients])
    assert_same(*results)


ADAPTED = {
    "all": lambda name: True,
    "linear": lambda name: "norm" not in name,
    "norms": lambda name: "norm" in name,
    "head": lambda name: name.startswith("head"),
    "bottom": lambda name: name.startswith("0"),
    "bias": lambda name: name == "head.bias",
}


@pytest.mark.parametrize("adapted", ADAPTED)
@pytest.mark.parametrize("order", ["second", "first"])
def test_meta_gradients_through_three_steps(
    weights: Params, data: list[Tensor], adapted: str, order: str
) -> None:
    x, y, query_x, query_y = data

    def meta_gradients(forward: Forward) -> list[Tensor]:
        leaves = leaves_of(weights)
        end = inner_loop(
            lambda w: (forward(w, x) - y).square().mean((1, 2)),
            share(leaves, N_TASKS),
            steps=3,
            lr=0.1,
            order=order,
            adapted=[name for name in weights if ADAPTED[adapted](name)],
        )
        loss = (forward(end, query_x) - query_y).square().mean()
        return [*end.values(), *torch.autograd.grad(loss, list(leaves.values()))]

    assert_same(meta_gradients(whole), meta_gradients(composed))


def test_derivatives_equal_finite_differences(weights: Params, data: list[Tensor]) -> None:
    leaves = leaves_of(share(weights, 2))
    names, inputs = list(leaves), (data[0][:2].clone().requires_grad_(), *leaves.values())

    def network(x: Tensor, *tensors: Tensor) -> Tensor:
        return whole(dict(zip(names, tensors, strict=True)), x)

    assert torch.autograd.gradcheck(network, inputs)
    assert torch.autograd.gradgradcheck(network, inputs)


def test_a_loss_linear_in_the_outputs(weights: Params, data: list[Tensor]) -> None:
    results = []
    for forward in (whole, composed):
        leaves = leaves_of(share(weights, N_TASKS))
        total = forward(leaves, data[0]).sum()
        first = torch.autograd.grad(total, list(leaves.values()), create_graph=True)
        squares = sum(gradient.square().sum() for gradient in first)
        second = torch.autograd.grad(squares, list(leaves.values())[:-1])
        results.append([*first, *second])
    assert_same(*results)


@pytest.mark.parametrize("power", [1, 2])
def test_a_third_derivative_is_refused(weights: Params, data: list[Tensor], power: int) -> None:
    leaves = leaves_of(share(weights, N_TASKS))
    total = whole(leaves, data[0]).pow(power).sum()
    (first,) = torch.autograd.grad(total, leaves["0.weight"], create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaves["0.norm.shift"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_weights_without_gradient_give_the_same_values(weights: Params, data: list[Tensor]) -> None:
    shared = share(weights, N_TASKS)
    out = whole(shared, data[0])
    assert not out.requires_grad
    assert torch.equal(out, whole(leaves_of(shared), data[0]))


def test_within_statistics_of_first_no_later_example_changes_another(
    weights: Params, data: list[Tensor]
) -> None:
    weights, (x, *_) = share(weights, N_TASKS), data
    other = x.clone()
    other[:, -1] += 1
    with statistics_of_first(4):
        found, beside = whole(weights, x), whole(weights, other)
        wanted = composed(weights, x)
    torch.testing.assert_close(found, wanted)
    assert torch.equal(found[:, :-1], beside[:, :-1])
    assert not torch.allclose(found, whole(weights, x))
