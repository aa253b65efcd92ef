"""The convolution's second derivative against finite differences, and what is not asked for."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metabench.nn.convolution import Geometry, convolve
from metabench.nn.derivatives import differentiated_twice

GEOMETRIES = {
    "plain": Geometry((1, 1), (0, 0), (1, 1), 1),
    "padded": Geometry((1, 1), (1, 0), (1, 1), 1),
    "strided": Geometry((2, 1), (1, 1), (1, 1), 1),
    "dilated": Geometry((1, 1), (2, 2), (2, 2), 1),
    "depthwise": Geometry((2, 2), (1, 1), (1, 1), 4),
}
PARTS = 2


@pytest.fixture(autouse=True)
def _twice() -> Iterator[None]:
    with differentiated_twice():
        yield


def drawn(groups: int, *, bias: bool = True) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = (PARTS * 2, 4, 5, 4), (PARTS, 4, 4 // groups, 3, 3), (PARTS, 4)
    inputs = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes]
    return [one.requires_grad_() for one in (inputs if bias else inputs[:2])]


@pytest.mark.parametrize("name", GEOMETRIES)
def test_derivatives_equal_finite_differences(name: str) -> None:
    geometry = GEOMETRIES[name]

    def convolved(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return convolve(x, w, b, geometry)

    assert torch.autograd.gradcheck(convolved, drawn(geometry.groups))
    assert torch.autograd.gradgradcheck(convolved, drawn(geometry.groups))


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_some_of_the_gradients_are_differentiated_alone(asked: tuple[int, ...]) -> None:
    inputs = drawn(1)
    found = []
    for on in (True, False):
        with differentiated_twice(on=on):
            y = convolve(*inputs, GEOMETRIES["strided"])
        first = torch.autograd.grad(y.sin().sum(), [inputs[i] for i in asked], create_graph=True)
        found.append(torch.autograd.grad(sum(g.sin().sum() for g in first), inputs))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


class _Calls(TorchDispatchMode):
    """Counts the convolutions of any kind."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if "conv" in str(func):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_second_derivative_takes_four_calls_for_any_number_of_groups() -> None:
    x, w = (one[: len(one) // PARTS].detach().requires_grad_() for one in drawn(4, bias=False))
    y = convolve(x, w, None, GEOMETRIES["depthwise"])
    first = torch.autograd.grad(y.sin().sum(), [x, w], create_graph=True)
    with _Calls() as calls:
        torch.autograd.grad(sum(g.sin().sum() for g in first), [x, w])
    assert len(calls.names) == 4 + 1  # and the first derivative, for what comes back to y


def test_images_without_a_gradient_take_fewer() -> None:
    x, w = (one[: len(one) // PARTS].detach() for one in drawn(1, bias=False))
    w.requires_grad_()
    y = convolve(x, w, None, GEOMETRIES["plain"])
    (first,) = torch.autograd.grad(y.sin().sum(), w, create_graph=True)
    with _Calls() as calls:
        torch.autograd.grad(first.sin().sum(), w)
    assert len(calls.names) == 1 + 1


def test_a_third_derivative_is_refused() -> None:
    x, w = drawn(1, bias=False)
    y = convolve(x, w, None, GEOMETRIES["plain"])
    (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_without_a_word_derivatives_of_any_order_exist() -> None:
    x, w = drawn(1, bias=False)
    with differentiated_twice(on=False):
        y = convolve(x, w, None, GEOMETRIES["plain"])
    (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), x)
    assert third.abs().max() > 0
