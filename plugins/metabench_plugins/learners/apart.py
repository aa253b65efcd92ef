"""Gradients of a batch of tasks; on a CPU, image tasks are differentiated one after another.

The numbers are the same. The graph of one task lives at a time, so that memory does not grow with
the batch and activations stay in the cache. Elsewhere all tasks run at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor

from metabench.episodes import TaskShape
from metabench.functional import task_gradients
from metabench.protocols import Params

PartLoss = Callable[[Params, slice], Tensor]
"""Maps weights ``[part, *shape]`` of a part of the tasks to one loss per task of that part."""


def parts(n_tasks: int, task: TaskShape, device: torch.device) -> list[slice]:
    """How a batch of tasks is divided."""
    if device.type == "cpu" and len(task.inputs) == 3:
        return [slice(i, i + 1) for i in range(n_tasks)]
    return [slice(0, n_tasks)]


def rows(weights: Params, part: slice) -> Params:
    """The rows of some tasks; what all tasks share stays as it is."""
    return {name: w[part] if len(w) > 1 else w for name, w in weights.items()}


def gradients(
    loss: PartLoss,
    weights: Params,
    *,
    parts: Sequence[slice],
    adapted: Collection[str] | None = None,
) -> tuple[Params, Tensor]:
    """Return every task's own gradient, and the losses before the step, ``[tasks]``.

    Args:
        loss: one loss per task.
        weights: ``[tasks, *shape]``.
        parts: which tasks run at once.
        adapted: the names to differentiate for; None means all. Where a loss does not depend on
            one, its gradient is 0.
    """
    losses: list[Tensor] = []

    def recorded(candidate: Params, *, part: slice) -> Tensor:
        values = loss(candidate, part)
        losses.append(values.detach())
        return values

    found = [
        task_gradients(
            partial(recorded, part=part),
            {name: weight[part] for name, weight in weights.items()},
            adapted=adapted,
        )
        for part in parts
    ]
    names = [name for name in weights if adapted is None or name in adapted]
    filled = {
        name: [
            own[name] if name in own else torch.zeros_like(weights[name][part])
            for own, part in zip(found, parts, strict=True)
        ]
        for name in names
    }
    joined = {name: g[0] if len(g) == 1 else torch.cat(g) for name, g in filled.items()}
    return joined, torch.cat(losses)
