"""A loop over tasks with `torch.autograd.grad`, as one would write it without a library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from peers.plain_network import forward, in_our_layout, leaves


def meta_gradient(
    workload: Any, weights: Mapping[str, Tensor], data: Any
) -> Callable[[], list[Tensor]]:
    """The step."""
    start = leaves(weights)
    second = workload.order == "second"

    def step() -> list[Tensor]:
        total = [torch.zeros_like(w) for w in start]
        for x, y, query_x, query_y in data.tasks():
            adapted = start
            for _ in range(workload.steps):
                loss = workload.loss(forward(adapted, x), y)
                gradients = torch.autograd.grad(loss, adapted, create_graph=second)
                adapted = [w - workload.lr * g for w, g in zip(adapted, gradients, strict=True)]
            loss = workload.loss(forward(adapted, query_x), query_y) / workload.tasks
            for sum_, g in zip(total, torch.autograd.grad(loss, start), strict=True):
                sum_ += g
        return in_our_layout(total)

    return step
