"""A loop over tasks, each differentiated by `torch.func.grad` inside `torch.func.grad`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from peers.plain_network import forward, in_our_layout, in_torch_layout


def task_loss(workload: Any, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The query loss of one task as a function of the start weights."""

    def loss(start: list[Tensor], x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        adapted = start
        for _ in range(workload.steps):
            gradients = torch.func.grad(lambda w: workload.loss(forward(w, x), y))(adapted)
            if workload.order == "first":
                gradients = [g.detach() for g in gradients]
            adapted = [w - workload.lr * g for w, g in zip(adapted, gradients, strict=True)]
        result: Tensor = workload.loss(forward(adapted, query_x), query_y) / workload.tasks
        return result

    return loss


def meta_gradient(
    workload: Any, weights: Mapping[str, Tensor], data: Any
) -> Callable[[], list[Tensor]]:
    """The step."""
    start = in_torch_layout(weights)
    gradient = torch.func.grad(task_loss(workload, forward))

    def step() -> list[Tensor]:
        total = [torch.zeros_like(w) for w in start]
        for task in data.tasks():
            for sum_, g in zip(total, gradient(start, *task), strict=True):
                sum_ += g
        return in_our_layout(total)

    return step
