"""Mini-batches of a support set, in the two ways of Reptile's and MetaNAS's released code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from metabench import Labelled

Sampling = Literal["walk", "replacement"]
"""How examples are drawn.

``walk``: without replacement, shuffled again after each pass; a batch may span two (Reptile).
``replacement``: each independently; a batch of the size of the set is the set (MetaNAS).
"""


def draw(
    data: Labelled, *, size: int, steps: int, sampling: Sampling, rng: torch.Generator
) -> Tensor:
    """Draw which examples each step sees, ``[tasks, steps, size]``.

    Args:
        data: of each task.
        size: of a batch; at most that of the set is used.
        steps: how many batches.
        sampling: see :data:`Sampling`.
        rng: a CPU generator.
    """
    n_tasks, n = data.y.shape[:2]
    size = min(size, n)
    if sampling == "replacement" and size < n:
        index = torch.randint(n, (n_tasks, steps, size), generator=rng)
        return index.to(data.x.device, non_blocking=True)
    walks = -(-steps * size // n)
    order = torch.rand(n_tasks, walks, n, generator=rng).argsort(dim=2).flatten(1)
    order = order[:, : steps * size].view(n_tasks, steps, size)
    return order.to(data.x.device, non_blocking=True)


def take(data: Labelled, index: Tensor) -> Labelled:
    """The examples ``index [tasks, size]`` of each task."""
    task = torch.arange(len(index), device=index.device)[:, None]
    return Labelled(data.x[task, index], data.y[task, index])


def mini_batches(
    data: Labelled, *, size: int, steps: int, sampling: Sampling, rng: torch.Generator
) -> Iterator[Labelled]:
    """Yield ``steps`` mini-batches per task, ``[tasks, size, ...]``; see :func:`draw`."""
    for index in draw(data, size=size, steps=steps, sampling=sampling, rng=rng).unbind(1):
        yield take(data, index)
