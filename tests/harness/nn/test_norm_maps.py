"""The norm of maps against PyTorch's own, and its second derivative against finite differences."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metabench.conformance.purity import fake_accelerator
from metabench.nn.derivatives import differentiated_twice
from metabench.nn.norm_maps import norm_maps

EPS = 1e-2
LAYOUTS = {"channels outermost": torch.contiguous_format, "innermost": torch.channels_last}
AFFINE = ("none", "scale", "both", "zero")


@pytest.fixture(autouse=True)
def _twice() -> Iterator[None]:
    with differentiated_twice():
        yield


def drawn(layout: torch.memory_format, affine: str) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(3, 4, 3, 2, generator=rng, dtype=torch.float64)
    inputs = [z.contiguous(memory_format=layout)]
    if affine != "none":
        inputs.append(torch.randn(4, generator=rng, dtype=torch.float64))
    if affine == "zero":  # the weight of an operation that an edge leaves out
        inputs[1][2] = 0
    if affine in ("both", "zero"):
        inputs.append(torch.randn(4, generator=rng, dtype=torch.float64))
    return [tensor.requires_grad_() for tensor in inputs]


def plain(z: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    mean = z.mean((0, 2, 3), keepdim=True)
    u = (z - mean) * ((z - mean).square().mean((0, 2, 3), keepdim=True) + EPS).rsqrt()
    u = u if scale is None else u * scale[:, None, None]
    return u if shift is None else u + shift[:, None, None]


def with_gradients(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Value, first derivatives, and second ones that come through all of the first."""
    first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
    total = sum(g.sin().sum() for g in first)
    return [y, *first, *torch.autograd.grad(total, inputs)]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affine", AFFINE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_equals_a_composition_in_plain_pytorch(layout: str, affine: str, relu: bool) -> None:
    inputs = drawn(LAYOUTS[layout], affine)
    y, expected = (
        norm_maps(*inputs, *[None] * (3 - len(inputs)), eps=EPS, relu=relu),
        plain(*inputs),
    )
    expected = expected.relu() if relu else expected
    for one, other in zip(with_gradients(y, inputs), with_gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("affine", AFFINE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives_equal_finite_differences(layout: str, affine: str, relu: bool) -> None:
    inputs = drawn(LAYOUTS[layout], affine)

    def norm(z: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return norm_maps(z, scale, shift, eps=EPS, relu=relu)

    assert torch.autograd.gradcheck(norm, inputs)
    assert torch.autograd.gradgradcheck(norm, inputs)


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (1, 2), (0, 2)], ids=str)
def test_some_of_the_gradients_are_differentiated_alone(asked: tuple[int, ...]) -> None:
    inputs = drawn(torch.channels_last, "both")
    found = []
    for y in (norm_maps(*inputs, eps=EPS, relu=False), plain(*inputs)):
        first = torch.autograd.grad(y.sin().sum(), [inputs[i] for i in asked], create_graph=True)
        total = sum(g.sin().sum() for g in first)
        found.append(torch.autograd.grad(total, inputs))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cotangents_may_be_laid_out_otherwise(layout: str) -> None:
    inputs = drawn(LAYOUTS[layout], "both")
    z = inputs[0]
    rng = torch.Generator().manual_seed(1)
    g, v = (torch.randn(3, 4, 2, 3, generator=rng, dtype=torch.float64).mT for _ in range(2))
    found = []
    for y in (norm_maps(*inputs, eps=EPS, relu=False), plain(*inputs)):
        g.requires_grad_()
        (first,) = torch.autograd.grad(y, z, g, create_graph=True)
        found.append(torch.autograd.grad(first, [g, z], v))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_in_single_precision_it_is_as_exact_as_the_library() -> None:
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(5, 8, 20, 20, generator=rng, dtype=torch.float64) + 1
    scale, shift = torch.randn(2, 8, generator=rng, dtype=torch.float64)

    def gradients(dtype: torch.dtype, library: bool) -> list[Tensor]:
        inputs = [one.detach().to(dtype).requires_grad_() for one in (maps, scale, shift)]
        z, *affine = inputs
        if library:
            y = functional.batch_norm(z, None, None, *affine, training=True, eps=1e-5)
        else:
            y = norm_maps(z, *affine, eps=1e-5, relu=False)
        return with_gradients(y, inputs)[1:]

    exact = gradients(torch.float64, library=False)
    for e, ours, theirs in zip(
        exact, gradients(torch.float32, False), gradients(torch.float32, True), strict=True
    ):
        assert (ours - e).norm() <= 2 * (theirs - e).norm() + 1e-6 * e.norm()


def test_a_third_derivative_is_refused() -> None:
    (z,) = drawn(torch.channels_last, "none")
    y = norm_maps(z, None, None, eps=EPS, relu=False)
    (first,) = torch.autograd.grad(y.pow(3).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


@pytest.mark.parametrize("affine", AFFINE)
def test_on_an_accelerator_it_is_the_same(affine: str) -> None:
    """Its kernels make the derivatives to scale and shift of a norm that has a scale alone."""
    inputs = drawn(torch.contiguous_format, affine)

    def made(own: list[Tensor]) -> list[Tensor]:
        y = norm_maps(*own, *[None] * (3 - len(own)), eps=EPS, relu=True)
        return [value.detach().cpu() for value in with_gradients(y, own)]

    expected = made(inputs)
    with fake_accelerator() as device:
        found = made([one.detach().to(device).requires_grad_() for one in inputs])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
