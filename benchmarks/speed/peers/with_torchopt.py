"""The package TorchOpt: a differentiable SGD, one task at a time. It has no first order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torchopt
from torch import Tensor

from peers.plain_network import gradients_of, modules


def meta_gradient(
    workload: Any, weights: Mapping[str, Tensor], data: Any
) -> Callable[[], list[Tensor]] | None:
    """The step; None for first order."""
    if workload.order == "first":
        return None
    network = modules(workload, weights)
    parameters = list(network.parameters())
    inner = torchopt.MetaSGD(network, lr=workload.lr)

    def step() -> list[Tensor]:
        for parameter in parameters:
            parameter.grad = None
        start = torchopt.extract_state_dict(network, by="reference", detach_buffers=True)
        state = torchopt.extract_state_dict(inner, by="reference")
        for x, y, query_x, query_y in data.tasks():
            for _ in range(workload.steps):
                inner.step(workload.loss(network(x), y))
            (workload.loss(network(query_x), query_y) / workload.tasks).backward()
            torchopt.recover_state_dict(network, start)
            torchopt.recover_state_dict(inner, state)
        return gradients_of(network)

    return step
