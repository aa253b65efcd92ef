"""Gradients of a batch of tasks; on a CPU, image tasks are differentiated a few at a time.

The numbers are the same. The graphs of few tasks live at a time, one where the network does not
ask for more, so that memory does not grow with the batch and activations stay in the cache.
Elsewhere all tasks run at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from metabench import BatchingSpace, Labelled, LearnerContext, Params, TaskBatch, task_gradients

PartLoss = Callable[[Params, slice], Tensor]
"""Maps weights ``[part, *shape]`` of a part of the tasks to one loss per task of that part."""


def parts(n_tasks: int, n_examples: int, context: LearnerContext) -> list[slice]:
    """How a batch of tasks is divided.

    Args:
        n_tasks: how many tasks there are.
        n_examples: that the network sees of each.
        context: says what device and network there are.
    """
    size = n_tasks
    if context.device.type == "cpu" and len(context.task.inputs) == 3:
        space = context.space
        size = space.tasks_at_once(n_examples) if isinstance(space, BatchingSpace) else 1
    return [slice(first, min(first + size, n_tasks)) for first in range(0, n_tasks, size)]


def even_parts(n_tasks: int, most: int) -> list[slice]:
    """Divide a batch into as few parts as there can be, whose sizes differ by at most one.

    Args:
        n_tasks: how many tasks there are.
        most: how many a part may have.

    >>> even_parts(5, 4)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    n_parts = -(-n_tasks // most)
    least, larger = divmod(n_tasks, n_parts)
    ends = [least * i + min(i, larger) for i in range(n_parts + 1)]
    return [slice(first, end) for first, end in pairwise(ends)]


def tasks_of(tasks: TaskBatch, part: slice) -> TaskBatch:
    """Some tasks of a batch; what is not of single tasks stays as it is."""
    return replace(
        tasks,
        support=Labelled(tasks.support.x[part], tasks.support.y[part]),
        query=Labelled(tasks.query.x[part], tasks.query.y[part]),
        sources=tasks.sources[part],
        keys=tasks.keys[part],
        classes=None if tasks.classes is None else tasks.classes[part],
    )


def rows(weights: Params, part: slice) -> Params:
    """The rows of some tasks; what all tasks share stays as it is."""
    return {name: w[part] if w.ndim and len(w) > 1 else w for name, w in weights.items()}


def joined(divided: Sequence[Params]) -> Params:
    """The rows of all tasks, given those of each part."""
    if len(divided) == 1:
        return divided[0]
    return {name: torch.cat([one[name] for one in divided]) for name in divided[0]}


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
    filled = [
        {n: own[n] if n in own else torch.zeros_like(weights[n][part]) for n in names}
        for own, part in zip(found, parts, strict=True)
    ]
    return joined(filled), torch.cat(losses)
