"""The gradient of the outer loss, by parts of the meta-batch.

The inner loops of some tasks are run and differentiated at a time, as far back as to where they
start, and their graph is freed. What computed the start of all tasks, such as an encoder or gates,
is differentiated once. With start ``s(theta)`` and loss ``L = sum_parts L_part(s, theta)``,

    dL/dtheta = sum_parts dL_part/dtheta + (ds/dtheta)^T sum_parts dL_part/ds.

So memory does not grow with the meta-batch, but for the start itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from metabench import Params
from metabench_plugins.learners.parts.split_batch import rows

PartLosses = Callable[[Params, slice], Tensor]
"""Maps the start of some tasks and which tasks they are to what each adds to the sum, ``[part]``.

It may use the weights that gradients are asked for as well.
"""


def gradients_by_parts(
    losses: PartLosses,
    start: Params,
    weights: Sequence[Tensor],
    *,
    parts: Sequence[slice],
    factor: float,
    beside: Tensor | None = None,
) -> list[Tensor | None]:
    """Differentiate ``factor * sum(losses) + beside`` for weights.

    Args:
        losses: must not mix tasks.
        start: ``[tasks, *shape]`` by name, or ``[1, *shape]`` or a scalar for what tasks share;
            functions of the weights, with their graphs.
        weights: leaves.
        parts: which tasks run at a time, in order; all tasks, or those of one rank. The sum is over
            these.
        factor: of each loss.
        beside: a scalar function of the weights, through the graph of the start.

    Returns:
        The gradients, in the order of the weights; None for a weight that nothing uses.
    """
    own = slice(parts[0].start, parts[-1].stop)
    if own.stop - own.start < max((len(t) for t in start.values() if t.ndim), default=0):
        start = rows(start, own)
    if len(parts) == 1:
        loss = losses(dict(start), own).sum() * factor
        total = loss if beside is None else loss + beside
        return list(torch.autograd.grad(total, weights, allow_unused=True))
    moving = [name for name, tensor in start.items() if tensor.requires_grad]
    of_start: list[Sequence[Tensor | None]] = []
    direct: list[Tensor | None] = [None] * len(weights)
    for part in parts:
        here = _beside(part, own)
        detached = {name: tensor.detach() for name, tensor in rows(start, here).items()}
        leaves = [detached[name].requires_grad_() for name in moving]
        values = losses(detached, part)
        seeds = torch.full_like(values, factor)
        found = torch.autograd.grad(values, [*leaves, *weights], seeds, allow_unused=True)
        del values  # and its graph, before the next part runs
        of_start.append(found[: len(moving)])
        direct = [_sum(a, b) for a, b in zip(direct, found[len(moving) :], strict=True)]
    outputs, cotangents = [], []
    for name, *gradients in zip(moving, *of_start, strict=True):
        cotangent = _joined(start[name], gradients, [_beside(part, own) for part in parts])
        if cotangent is not None:
            outputs.append(start[name])
            cotangents.append(cotangent)
    if beside is not None and beside.requires_grad:
        outputs.append(beside)
        cotangents.append(torch.ones_like(beside))
    if outputs:
        through = torch.autograd.grad(outputs, weights, cotangents, allow_unused=True)
        direct = [_sum(a, b) for a, b in zip(through, direct, strict=True)]
    return direct


def _beside(part: slice, own: slice) -> slice:
    """The place of some tasks among others, which are in order."""
    return slice(part.start - own.start, part.stop - own.start)


def _joined(
    tensor: Tensor, gradients: Sequence[Tensor | None], parts: Sequence[slice]
) -> Tensor | None:
    """The gradient of a tensor, given that of each part; None where no part uses it."""
    used = [gradient for gradient in gradients if gradient is not None]
    if not used:
        return None
    if not tensor.ndim or len(tensor) == 1:
        return reduce(torch.add, used)
    filled = [
        torch.zeros_like(tensor[part]) if gradient is None else gradient
        for gradient, part in zip(gradients, parts, strict=True)
    ]
    return torch.cat(filled)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
