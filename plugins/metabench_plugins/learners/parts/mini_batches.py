"""Mini-batches of a support set: drawn without replacement, and shuffled again after each pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from metabench import Labelled


def walk(data: Labelled, *, size: int, steps: int, rng: torch.Generator) -> Tensor:
    """Draw which examples each step sees, ``[tasks, steps, size]``.

    A batch may span two walks, and is never larger than the set.
    """
    n_tasks, n = data.y.shape[:2]
    size = min(size, n)
    walks = -(-steps * size // n)
    order = torch.rand(n_tasks, walks, n, generator=rng).argsort(dim=2).flatten(1)
    order = order[:, : steps * size].view(n_tasks, steps, size)
    return order.to(data.x.device, non_blocking=True)


def take(data: Labelled, index: Tensor) -> Labelled:
    """The examples ``index [tasks, size]`` of each task."""
    task = torch.arange(len(index), device=index.device)[:, None]
    return Labelled(data.x[task, index], data.y[task, index])


def mini_batches(
    data: Labelled, *, size: int, steps: int, rng: torch.Generator
) -> Iterator[Labelled]:
    """Yield ``steps`` mini-batches per task, ``[tasks, size, ...]``."""
    for index in walk(data, size=size, steps=steps, rng=rng).unbind(1):
        yield take(data, index)
