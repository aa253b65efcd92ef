"""The networks as plain functions of a list of weights, and as plain modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def in_torch_layout(weights: Mapping[str, Tensor]) -> list[Tensor]:
    """Our weights in our order, with matrices as `torch.nn.Linear` has them."""
    return [(w.T if w.dim() == 2 else w).clone().contiguous() for w in weights.values()]


def in_our_layout(gradients: Iterable[Tensor | None]) -> list[Tensor]:
    """The way back."""
    return [g.T if g.dim() == 2 else g for g in gradients if g is not None]


def leaves(weights: Mapping[str, Tensor]) -> list[Tensor]:
    """Weights to differentiate by."""
    return [w.requires_grad_() for w in in_torch_layout(weights)]


def forward(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Outputs of one task, with the library's own norm."""
    for i in range(0, len(weights) - 2, 4):
        weight, bias, scale, shift = weights[i : i + 4]
        if weight.dim() == 4:
            x = functional.conv2d(x, weight, bias, padding=1)
        else:
            x = functional.linear(x, weight, bias)
        x = torch.relu(functional.batch_norm(x, None, None, scale, shift, training=True))
        if weight.dim() == 4:
            x = functional.max_pool2d(x, 2)
    return functional.linear(x.flatten(1), weights[-2], weights[-1])


def forward_written_out(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """The same with a norm of elementary operations.

    Second derivatives of `batch_norm` are wrong under `torch.func.vmap`.
    """
    for i in range(0, len(weights) - 2, 4):
        weight, bias, scale, shift = weights[i : i + 4]
        if weight.dim() == 4:
            x = functional.conv2d(x, weight, bias, padding=1)
            axes, shape = (0, 2, 3), (1, -1, 1, 1)
        else:
            x = functional.linear(x, weight, bias)
            axes, shape = (0,), (1, -1)  # type: ignore[assignment]
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        x = (x - mean) * (variance + 1e-5).rsqrt() * scale.view(shape) + shift.view(shape)
        x = torch.relu(x)
        if weight.dim() == 4:
            x = functional.max_pool2d(x, 2)
    return functional.linear(x.flatten(1), weights[-2], weights[-1])


def modules(workload: Any, weights: Mapping[str, Tensor]) -> nn.Sequential:
    """The network of `torch.nn` modules, with these weights."""
    return fill(
        build(
            workload, weights, nn.Sequential, nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d
        ),
        weights,
    )


def build(
    workload: Any,
    weights: Mapping[str, Tensor],
    sequential: Any,
    linear: Any,
    conv: Any,
    norm1: Any,
    norm2: Any,
) -> Any:
    """The network of modules of any make."""
    parts: list[Any] = []
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        shape = weights[f"{layer}.weight"].shape
        if workload.is_image:
            parts += [conv(shape[1], shape[0], 3, padding=1)]
            parts += [norm2(shape[0], track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2)]
        else:
            parts += [linear(*shape), norm1(shape[1], track_running_stats=False), nn.ReLU()]
    return sequential(*parts, nn.Flatten(), linear(*weights["head.weight"].shape))


def fill(network: Any, weights: Mapping[str, Tensor]) -> Any:
    """Give a network our weights."""
    network.to(weights["head.weight"].dtype)
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), in_torch_layout(weights), strict=True):
            parameter.copy_(weight)
    return network


def gradients_of(network: Any) -> list[Tensor]:
    """What `backward` has left in a network, in our order."""
    return in_our_layout(parameter.grad for parameter in network.parameters())
