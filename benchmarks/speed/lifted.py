"""The meta-gradient of a lifted Conv-4, beside the built-in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from race import Local
from revision import Params, TaskShape, inner_loop, share
from torch import Tensor, nn
from workload import Facts

from metabench_plugins.spaces.conv4 import Conv4, Conv4Params

WAYS, SHOTS, STEPS, FILTERS, SIDE = 5, 1, 2, 32, 84


def conv4(filters: int, size: int) -> nn.Module:
    """Conv-4 as one would write it in PyTorch."""
    parts: list[nn.Module] = []
    channels = 3
    for _ in range(4):
        parts += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)]
        parts += [nn.MaxPool2d(2), nn.ReLU()]
        channels, size = filters, size // 2
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(filters * size * size, WAYS))


def meta_gradient(space: Any) -> Callable[[], object]:
    """One second-order meta-gradient of one task."""
    rng = torch.Generator().manual_seed(0)
    # As a batch of a dataset lies in memory; on a CPU learners take one image task at a time.
    x = torch.rand(1, WAYS * SHOTS, SIDE, SIDE, 3, generator=rng).permute(0, 1, 4, 2, 3)
    weights = {n: w.requires_grad_() for n, w in space.init_weights(rng=rng).items()}

    def loss(w: Params) -> Tensor:
        outputs: Tensor = space.forward(w, {}, x)
        return outputs.square().mean((1, 2))

    def step() -> object:
        end = inner_loop(loss, share(weights, len(x)), steps=STEPS, lr=0.01, order="second")
        return torch.autograd.grad(loss(end).mean(), list(weights.values()))

    return step


@dataclass(frozen=True, slots=True)
class Lifted:
    """What :func:`metabench.nn.lift` costs."""

    name: str = "lifted"
    summary: str = f"meta-gradient of Conv-4-{FILTERS}, {SIDE}x{SIDE}x3, {STEPS} steps, 1 task"

    def ours(self) -> Mapping[str, Local]:
        """The built-in network."""
        task = TaskShape("classification", (3, SIDE, SIDE), WAYS)
        return {"built in": Local(meta_gradient(Conv4(Conv4Params(filters=FILTERS), task)))}

    def peers(self) -> Mapping[str, Local]:
        """The same network of modules, lifted."""
        from metabench.nn import lift

        return {"lifted": Local(meta_gradient(lift(partial(conv4, FILTERS, SIDE), head="17")))}

    def facts(self) -> Facts:
        """Nothing besides."""
        return Facts()
