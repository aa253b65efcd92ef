"""Norm, pool and ReLU in one against one after another, and against finite differences."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metabench.nn import batch_norm, conv2d, conv_block, max_pool2d, statistics_of_first
from metabench.nn.derivatives import differentiated_twice
from metabench.nn.norm_pool import norm_pool

EPS = 1e-2
LAYOUTS = {"channels outermost": torch.contiguous_format, "innermost": torch.channels_last}
SIZES = [(4, 6), (5, 4), (3, 7), (2, 2)]
"""Even and odd; of the odd ones the last row or column is in no window."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def norm_inputs(layout: str, size: tuple[int, int], channels: int = 3) -> list[Tensor]:
    z = drawn(2, channels, *size).contiguous(memory_format=LAYOUTS[layout])
    scale = drawn(channels, seed=1).abs()
    return [one.requires_grad_() for one in (z, scale, drawn(channels, seed=2))]


def plain(z: Tensor, scale: Tensor, shift: Tensor, *, relu: bool) -> Tensor:
    mean = z.mean((0, 2, 3), keepdim=True)
    deviation = ((z - mean).square().mean((0, 2, 3), keepdim=True) + EPS).sqrt()
    y = (z - mean) / deviation * scale[:, None, None] + shift[:, None, None]
    height, width = z.shape[2] // 2, z.shape[3] // 2
    windows = y[:, :, : 2 * height, : 2 * width].unflatten(3, (width, 2)).unflatten(2, (height, 2))
    y = windows.amax((3, 5))
    return y.clamp_min(0) if relu else y


def with_gradients(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Value, first derivatives, and second ones that come through all of the first."""
    first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
    total = sum(g.sin().sum() for g in first)
    return [y, *first, *torch.autograd.grad(total, inputs)]


def assert_equal(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_equals_a_composition_in_plain_pytorch(
    layout: str, size: tuple[int, int], relu: bool, twice: bool
) -> None:
    inputs = norm_inputs(layout, size)
    with differentiated_twice(on=twice):
        y = norm_pool(*inputs, eps=EPS, relu=relu)
    expected = plain(*inputs, relu=relu)
    assert_equal(with_gradients(y, inputs), with_gradients(expected, inputs))


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives_equal_finite_differences(layout: str, relu: bool, twice: bool) -> None:
    def norm(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        with differentiated_twice(on=twice):
            return norm_pool(z, scale, shift, eps=EPS, relu=relu)

    inputs = norm_inputs(layout, (4, 5))
    assert torch.autograd.gradcheck(norm, inputs)
    assert torch.autograd.gradgradcheck(norm, inputs)


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (1, 2), (0, 2)], ids=str)
@pytest.mark.parametrize("twice", [False, True])
def test_some_of_the_gradients_are_differentiated_alone(
    asked: tuple[int, ...], twice: bool
) -> None:
    inputs = norm_inputs("innermost", (4, 4))
    found = []
    with differentiated_twice(on=twice):
        y = norm_pool(*inputs, eps=EPS, relu=True)
    for one in (y, plain(*inputs, relu=True)):
        first = torch.autograd.grad(one.sin().sum(), [inputs[i] for i in asked], create_graph=True)
        total = sum(g.sin().sum() for g in first)
        found.append(torch.autograd.grad(total, inputs))
    assert_equal(*map(list, found))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cotangents_may_be_laid_out_otherwise(layout: str, channels: int) -> None:
    inputs = norm_inputs(layout, (4, 6), channels)
    z = inputs[0]
    g, v = drawn(2, channels, 3, 2, seed=3).mT, drawn(2, channels, 6, 4, seed=4).mT
    found = []
    with differentiated_twice():
        y = norm_pool(*inputs, eps=EPS, relu=False)
    for one in (y, plain(*inputs, relu=False)):
        g.requires_grad_()
        (first,) = torch.autograd.grad(one, z, g, create_graph=True)
        found.append([first, *torch.autograd.grad(first, [g, z], v)])
    assert_equal(*found)


def test_of_equal_numbers_the_first_of_a_window_counts() -> None:
    z, scale, shift = norm_inputs("innermost", (4, 4))
    with torch.no_grad():
        z[:, :, :2] = 7  # as in the white margin of a drawing
    with differentiated_twice():
        y = norm_pool(z, scale, shift, eps=EPS, relu=False)
    normal = functional.batch_norm(z, None, None, scale, shift, training=True, eps=EPS)
    expected = functional.max_pool2d(normal, 2)
    assert_equal(with_gradients(y, [z, scale, shift]), with_gradients(expected, [z, scale, shift]))


def test_in_single_precision_it_is_as_exact_as_the_library() -> None:
    maps, scale, shift = drawn(5, 8, 20, 20) + 1, drawn(8, seed=1).abs(), drawn(8, seed=2)

    def gradients(dtype: torch.dtype, ours: Callable[..., Tensor]) -> list[Tensor]:
        inputs = [one.to(dtype).requires_grad_() for one in (maps, scale, shift)]
        with differentiated_twice():
            return with_gradients(ours(*inputs), inputs)[1:]

    def library(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        y = functional.batch_norm(z, None, None, scale, shift, training=True, eps=1e-5)
        return functional.max_pool2d(y, 2).relu()

    def ours(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return norm_pool(z, scale, shift, eps=1e-5, relu=True)

    exact = gradients(torch.float64, ours)
    for e, one, other in zip(
        exact, gradients(torch.float32, ours), gradients(torch.float32, library), strict=True
    ):
        assert (one - e).norm() <= 2 * (other - e).norm() + 1e-6 * e.norm()


def test_a_third_derivative_is_refused_where_two_are_fast_and_given_elsewhere() -> None:
    def third(twice: bool) -> Tensor:
        z, scale, shift = norm_inputs("innermost", (4, 4))
        with differentiated_twice(on=twice):
            y = norm_pool(z, scale, shift, eps=EPS, relu=True)
        (first,) = torch.autograd.grad(y.pow(3).sum(), z, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), z, create_graph=True)
        second.square().sum().backward()
        assert z.grad is not None
        return z.grad

    with pytest.raises(RuntimeError, match="once_differentiable"):
        third(twice=True)
    assert third(twice=False).abs().sum() > 0


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shared", ["none", "weight", "all"])
def test_a_block_equals_its_parts_whatever_the_sign_of_the_scale(shared: str, relu: bool) -> None:
    own_weight, own_norm = 1 if shared != "none" else 3, 1 if shared == "all" else 3
    x = drawn(3, 2, 2, 5, 6)
    weight = drawn(own_weight, 4, 2, 3, 3, seed=1)
    scale, shift = drawn(own_norm, 4, seed=2), drawn(own_norm, 4, seed=3)
    assert (scale < 0).any()
    assert (scale > 0).any()
    inputs = [one.requires_grad_() for one in (x, weight, scale, shift)]
    with differentiated_twice():
        y = conv_block(*inputs, eps=EPS, relu=relu)
    parts = max_pool2d(batch_norm(conv2d(x, weight, padding=1), scale, shift, eps=EPS), kernel=2)
    parts = parts.relu() if relu else parts
    assert_equal(with_gradients(y, inputs), with_gradients(parts, inputs))


def test_a_block_may_take_the_statistics_of_the_first_examples() -> None:
    x, weight = drawn(2, 5, 1, 4, 4), drawn(2, 3, 1, 3, 3, seed=1)
    scale, shift = drawn(2, 3, seed=2), drawn(2, 3, seed=3)
    with statistics_of_first(4):
        found = conv_block(x, weight, scale, shift)
        alone = conv_block(x[:, :4], weight, scale, shift)
    torch.testing.assert_close(found[:, :4], alone)
    changed = torch.cat([x[:, :4], 2 * x[:, 4:]], dim=1)
    with statistics_of_first(4):
        torch.testing.assert_close(conv_block(changed, weight, scale, shift)[:, :4], alone)
