"""Small made-up tasks for checks, and comparisons of what comes out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metabench.conformance.base import require
from metabench.plugin.contracts.episode import (
    ClassBatch,
    EpisodeShape,
    Labelled,
    TaskBatch,
    TaskKind,
    TaskShape,
)

SHAPES: dict[TaskKind, tuple[TaskShape, EpisodeShape]] = {
    "classification": (
        TaskShape("classification", (1, 16, 16), 3),
        EpisodeShape(ways=3, shots=2, queries=2),
    ),
    "regression": (TaskShape("regression", (1,), 1), EpisodeShape(ways=1, shots=5, queries=4)),
}

TRAIN_CLASSES = 12
"""How many classes the made-up meta-training has."""


def generator(seed: int = 0) -> torch.Generator:
    """A CPU generator with a seed."""
    return torch.Generator().manual_seed(seed)


def made_up_tasks(
    kind: TaskKind, *, shape: EpisodeShape | None = None, n_tasks: int = 3, seed: int = 0
) -> TaskBatch:
    """Draw tasks that can be learned: noisy class means, or noisy lines."""
    task, default = SHAPES[kind]
    shape = shape or default
    rng = generator(seed)
    n_points = shape.shots + shape.queries
    if kind == "classification":
        means = torch.randn(n_tasks, shape.ways, 1, *task.inputs, generator=rng)
        x = means + 0.3 * torch.randn(n_tasks, shape.ways, n_points, *task.inputs, generator=rng)
        y = torch.arange(shape.ways)[:, None].expand(n_tasks, shape.ways, n_points)
    else:
        x = torch.randn(n_tasks, 1, n_points, *task.inputs, generator=rng)
        y = torch.randn(n_tasks, 1, 1, 1, generator=rng) * x + 0.1
    keys = tuple(f"{kind}-{seed}-{index}" for index in range(n_tasks))
    return TaskBatch(
        support=Labelled(
            x[:, :, : shape.shots].flatten(1, 2), y[:, :, : shape.shots].flatten(1, 2)
        ),
        query=Labelled(x[:, :, shape.shots :].flatten(1, 2), y[:, :, shape.shots :].flatten(1, 2)),
        sources=("made-up",) * n_tasks,
        keys=keys,
        classes=_made_up_classes(n_tasks, shape.ways, rng) if kind == "classification" else None,
    )


def _made_up_classes(n_tasks: int, ways: int, rng: torch.Generator) -> Tensor:
    """Ids of classes, ``[tasks, ways]``; those of one task differ where there are enough."""
    n_classes = max(TRAIN_CLASSES, ways)
    rows = [torch.randperm(n_classes, generator=rng)[:ways] for _ in range(n_tasks)]
    return torch.stack(rows) if rows else torch.zeros(0, ways, dtype=torch.int64)


def made_up_examples(n_examples: int, *, seed: int = 0) -> ClassBatch:
    """Draw labelled examples that can be learned: noisy class means."""
    inputs, rng = SHAPES["classification"][0].inputs, generator(seed)
    means = torch.randn(TRAIN_CLASSES, *inputs, generator=generator())
    y = torch.randint(TRAIN_CLASSES, (1, n_examples), generator=rng)
    x = means[y] + 0.3 * torch.randn(1, n_examples, *inputs, generator=rng)
    return ClassBatch(x, y, f"labelled-{seed}")


@contextmanager
def in_float64() -> Iterator[None]:
    """Let new tensors have double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def on(device: torch.device, tasks: TaskBatch) -> TaskBatch:
    """The same tasks on another device."""
    support, query = (
        Labelled(part.x.to(device), part.y.to(device)) for part in (tasks.support, tasks.query)
    )
    classes, labelled = tasks.classes, tasks.labelled
    return replace(
        tasks,
        support=support,
        query=query,
        classes=None if classes is None else classes.to(device),
        labelled=labelled
        and ClassBatch(labelled.x.to(device), labelled.y.to(device), labelled.key),
    )


def join(first: Labelled, rest: Labelled) -> Labelled:
    """The first task of one set, and all but the first of another."""
    return Labelled(torch.cat([first.x[:1], rest.x[1:]]), torch.cat([first.y[:1], rest.y[1:]]))


def close(first: Tensor, second: Tensor) -> bool:
    """Equal up to the rounding of another order of summation in float32."""
    return torch.allclose(first, second, rtol=1e-3, atol=1e-4)


def same(first: Any, second: Any) -> bool:
    """Whether two nested states are equal to the bit."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(v, second[k]) for k, v in first.items())
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and bool(first == second)


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Fail if the body draws from, or seeds, a global random generator."""
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    yield
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    for name, old, new in zip(("torch", "random", "numpy"), before, after, strict=True):
        require(
            same(old, new),
            f"the global random state of {name} changed; use the generator that is passed in.",
        )
