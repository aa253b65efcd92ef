"""The package `higher`: one task at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import higher
import torch
from torch import Tensor

from peers.plain_network import gradients_of, in_our_layout, modules


def meta_gradient(
    workload: Any, weights: Mapping[str, Tensor], data: Any
) -> Callable[[], list[Tensor]]:
    """The step."""
    network = modules(workload, weights)
    optimizer = torch.optim.SGD(network.parameters(), lr=workload.lr)
    second = workload.order == "second"

    def step() -> list[Tensor]:
        network.zero_grad()
        total: list[Tensor] = []
        for x, y, query_x, query_y in data.tasks():
            with higher.innerloop_ctx(
                network, optimizer, copy_initial_weights=False, track_higher_grads=second
            ) as (adapted, inner):
                for _ in range(workload.steps):
                    inner.step(workload.loss(adapted(x), y))
                loss = workload.loss(adapted(query_x), query_y) / workload.tasks
                if second:
                    loss.backward()
                    continue
                gradients = torch.autograd.grad(loss, list(adapted.parameters()))
                if total:
                    gradients = [a + g for a, g in zip(total, gradients, strict=True)]
                total = list(gradients)
        return gradients_of(network) if second else in_our_layout(total)

    return step
