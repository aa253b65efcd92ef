"""The package learn2learn: one task at a time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

from revision import UsageError, torchmeta_bridge
from torch import Tensor

from peers.plain_network import gradients_of, modules

# learn2learn imports torchvision, which the bridge makes importable beside a CPU build of torch,
# and gym, which prints that nobody maintains it.
with contextlib.suppress(UsageError):
    torchmeta_bridge()
with contextlib.redirect_stderr(io.StringIO()):
    from learn2learn.algorithms import MAML


def meta_gradient(
    workload: Any, weights: Mapping[str, Tensor], data: Any
) -> Callable[[], list[Tensor]]:
    """The step."""
    network = modules(workload, weights)
    maml = MAML(network, lr=workload.lr, first_order=workload.order == "first")

    def step() -> list[Tensor]:
        network.zero_grad()
        for x, y, query_x, query_y in data.tasks():
            adapted = maml.clone()
            for _ in range(workload.steps):
                adapted.adapt(workload.loss(adapted(x), y))
            (workload.loss(adapted(query_x), query_y) / workload.tasks).backward()
        return gradients_of(network)

    return step
