"""Products in bfloat16: what is rounded, what is not, and that derivatives follow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metabench import nn
from metabench.nn.products import are_in_bf16, products_in_bf16


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=rng).requires_grad_() for shape in shapes]


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return nn.linear(x, weight, bias)


def images(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return nn.conv2d(x, weight, bias, padding=1)


LAYERS = {
    "linear": (dense, [(2, 6, 5), (2, 5, 3), (2, 3)]),
    "linear of shared weights": (dense, [(2, 6, 5), (1, 5, 3), (1, 3)]),
    "conv2d": (images, [(2, 3, 4, 8, 8), (2, 6, 4, 3, 3), (2, 6)]),
    "conv2d of one pixel": (nn.conv2d, [(2, 3, 4, 8, 8), (2, 6, 4, 1, 1), (2, 6)]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_inputs_and_result_are_rounded_and_derivatives_are_close(name: str) -> None:
    layer: Callable[..., Tensor] = LAYERS[name][0]
    inputs = tensors(*LAYERS[name][1])
    with products_in_bf16():
        y = layer(*inputs)
    assert y.dtype == torch.float32
    assert torch.equal(y, y.bfloat16().float())
    exact = layer(*inputs)
    assert not torch.equal(y, exact)
    torch.testing.assert_close(y, exact, rtol=0.02, atol=0.1)

    def second(y: Tensor) -> list[Tensor]:
        first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        size = sum(g.square().sum() for g in first)
        return [*first, *torch.autograd.grad(size, inputs)]

    for ours, other in zip(second(y), second(exact), strict=True):
        assert ours.dtype == torch.float32
        assert float((ours - other).detach().norm() / other.detach().norm()) < 0.03


def test_a_norm_and_a_network_of_norms_round_products_alone() -> None:
    x, scale, shift, head, bias, weight = tensors(
        (2, 10, 5), (2, 7), (2, 7), (2, 7, 3), (2, 3), (2, 5, 7)
    )
    layers = [nn.Layer(weight, shift, scale)]
    z = nn.linear(x, weight)
    before = nn.batch_norm(z, scale, shift, eps=1e-5)
    with products_in_bf16():
        assert torch.equal(nn.batch_norm(z, scale, shift, eps=1e-5), before)
        short = nn.norm_mlp(x, layers, head, bias, eps=1e-5)
        z = nn.linear(x, weight)
    normal = nn.batch_norm(z, scale, shift, eps=1e-5, relu=True)
    with products_in_bf16():
        torch.testing.assert_close(short, nn.linear(normal, head, bias), rtol=0.02, atol=0.02)
    exact = nn.norm_mlp(x, layers, head, bias, eps=1e-5)
    assert 0 < float((short - exact).detach().norm() / exact.detach().norm()) < 0.03


def test_it_ends_with_its_block_also_after_an_error() -> None:
    def fail() -> None:
        with products_in_bf16():
            assert are_in_bf16()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert not are_in_bf16()
