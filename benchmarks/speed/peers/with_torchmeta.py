"""The package torchmeta: modules that take their weights, one task at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from revision import UsageError, torchmeta_bridge
from torch import Tensor

from peers.plain_network import build, fill, gradients_of

try:
    torchmeta_bridge()
except UsageError as error:
    raise ImportError(error.message) from error

from torchmeta.modules import (
    MetaBatchNorm1d,
    MetaBatchNorm2d,
    MetaConv2d,
    MetaLinear,
    MetaSequential,
)
from torchmeta.utils.gradient_based import gradient_update_parameters


def meta_gradient(
    workload: Any, weights: Mapping[str, Tensor], data: Any
) -> Callable[[], list[Tensor]]:
    """The step."""
    parts = (MetaSequential, MetaLinear, MetaConv2d, MetaBatchNorm1d, MetaBatchNorm2d)
    network = fill(build(workload, weights, *parts), weights)
    first = workload.order == "first"

    def step() -> list[Tensor]:
        network.zero_grad()
        for x, y, query_x, query_y in data.tasks():
            adapted = None
            for _ in range(workload.steps):
                adapted = gradient_update_parameters(
                    network,
                    workload.loss(network(x, params=adapted), y),
                    params=adapted,
                    step_size=workload.lr,
                    first_order=first,
                )
            loss = workload.loss(network(query_x, params=adapted), query_y)
            (loss / workload.tasks).backward()
        return gradients_of(network)

    return step
