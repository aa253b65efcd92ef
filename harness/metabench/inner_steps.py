"""The inner loop: from weights to weights, for all tasks at once.

Every adapted tensor carries a leading task axis. Tasks are independent, so one gradient of the
*sum* of the task losses is every task's own gradient; nothing is cloned, patched or looped over.
The update is ``w <- w - lr * grad_w loss(w)`` (MAML, Finn et al. 2017, equation 1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from metabench.nn.derivatives import differentiated_twice
from metabench.plugin.contracts.architecture import Params

Order = Literal["second", "first", "none"]
"""How the adapted weights depend on the start weights, for an outer gradient.

``second``: exactly, through every inner gradient. ``first``: as if each inner gradient were a
constant, so that the outer gradient at the adapted weights is that at the start weights
(first-order MAML). ``none``: not at all, for evaluation. Only ``second`` keeps a graph of the loss.
"""
TaskLoss = Callable[[Params], Tensor]
"""Maps weights ``[tasks, *shape]`` to one loss per task, ``[tasks]``."""


def is_norm(name: str) -> bool:
    """Whether a weight belongs to a normalization layer, which some learners do not adapt.

    >>> is_norm("layer1.norm.scale"), is_norm("layer1.weight")
    (True, False)
    """
    return "norm" in name.split(".")[:-1]


def share(weights: Params, n_tasks: int) -> Params:
    """Give every task the same weights, ``[*shape] -> [n_tasks, *shape]``, without copying."""
    return {name: weight.expand(n_tasks, *weight.shape) for name, weight in weights.items()}


def task_gradients(
    loss: TaskLoss,
    weights: Params,
    *,
    scale: float = 1.0,
    create_graph: bool = False,
    adapted: Collection[str] | None = None,
) -> Params:
    """Return every task's own gradient of ``scale`` times its loss.

    Args:
        loss: one loss per task. It must not mix tasks.
        weights: ``[tasks, *shape]`` each.
        scale: factor of the loss; cheaper than scaling the gradients.
        create_graph: keep the graph that an outer gradient goes through. Without it, and under
            ``torch.no_grad()``, the gradient is taken at detached weights.
        adapted: the names to differentiate for; None means all.

    Returns:
        ``[tasks, *shape]`` by name, without the names that the loss does not depend on.
    """
    create_graph = create_graph and torch.is_grad_enabled()
    names = [name for name in weights if adapted is None or name in adapted]
    inputs = dict(weights) if create_graph else _detach(weights)
    for name in names:
        if not inputs[name].requires_grad:
            inputs[name] = inputs[name].detach().requires_grad_()
    with torch.enable_grad(), differentiated_twice(on=create_graph):
        total = loss(inputs).sum() * scale
        if not names or not total.requires_grad:  # it depends on none of them
            return {}
        gradients = torch.autograd.grad(
            total, [inputs[n] for n in names], create_graph=create_graph, allow_unused=True
        )
    return {n: g for n, g in zip(names, gradients, strict=True) if g is not None}


def inner_path(
    loss: TaskLoss | Sequence[TaskLoss],
    weights: Params,
    *,
    steps: int,
    lr: float,
    order: Order,
    adapted: Collection[str] | None = None,
    masks: Params | Sequence[Params] | None = None,
    clip: float | None = None,
) -> Iterator[Params]:
    """Yield the weights after 0, 1, ..., ``steps`` steps of gradient descent.

    Works under ``torch.no_grad()`` too; the path is then detached.

    Args:
        loss: one loss per task on its support set; or a sequence of them, one for each step, if
            the loss is annealed.
        weights: start weights ``[tasks, *shape]``, see :func:`share`.
        steps: number of steps.
        lr: the inner learning rate.
        order: how the outer gradient depends on the steps, see :data:`Order`.
        adapted: the names of the weights that change; None means all. A weight that the loss does
            not use stays the same.
        masks: factors of the updates by name, broadcast to ``[tasks, *shape]`` (MT-Net); or a
            sequence of them, one for each step (MAML++).
        clip: bound of each element of the inner gradient; None for no bound.
    """
    if order == "none":
        weights = _detach(weights)
    yield weights
    for step in range(steps):
        # The scaled loss gives the whole update, so that no copy of the weights is multiplied.
        updates = task_gradients(
            loss if callable(loss) else loss[step],
            weights,
            scale=-lr,
            create_graph=order == "second",
            adapted=adapted,
        )
        if clip is not None:
            updates = _clamped(updates, lr * clip)
        if masks is not None:
            own = masks if isinstance(masks, Mapping) else masks[step]
            updates = {name: u * own[name] if name in own else u for name, u in updates.items()}
        weights = weights | _moved(weights, updates, graph=order != "none", own=clip is not None)
        yield weights


def inner_loop(
    loss: TaskLoss | Sequence[TaskLoss],
    weights: Params,
    *,
    steps: int,
    lr: float,
    order: Order,
    adapted: Collection[str] | None = None,
    masks: Params | Sequence[Params] | None = None,
    clip: float | None = None,
) -> Params:
    """Return the weights after ``steps`` steps; see :func:`inner_path`."""
    path = inner_path(
        loss, weights, steps=steps, lr=lr, order=order, adapted=adapted, masks=masks, clip=clip
    )
    return deque(path, maxlen=1).pop()


def _moved(weights: Params, updates: Params, *, graph: bool, own: bool) -> Params:
    """The weights that have an update, after it; without a graph, on CUDA in one kernel.

    Args:
        weights: before it; they stay as they are.
        updates: by name.
        graph: whether an outer gradient goes through.
        own: whether nobody else has the memory of the updates. The new weights then take it, which
            saves a CPU a tenth of an inner step. A gradient may be a view of another tensor.
    """
    if graph or not updates:
        return {name: weights[name] + update for name, update in updates.items()}
    before = [weights[name] for name in updates]
    if own:
        torch._foreach_add_(list(updates.values()), before)
        return dict(updates)
    return dict(zip(updates, torch._foreach_add(before, list(updates.values())), strict=True))


def _clamped(updates: Params, bound: float) -> Params:
    """Each element of the updates, at most ``bound`` from 0.

    In one piece this takes few kernels. A CPU prefers the pieces, whose memory is in order.
    """
    if all(update.device.type == "cpu" for update in updates.values()):
        return {name: update.clamp(-bound, bound) for name, update in updates.items()}
    flat = torch.cat([update.flatten(1) for update in updates.values()], dim=1)
    sizes = [update[0].numel() for update in updates.values()]
    parts = torch.split(flat.clamp(-bound, bound), sizes, dim=1)
    return {
        name: part.view(update.shape)
        for (name, update), part in zip(updates.items(), parts, strict=True)
    }


def _detach(weights: Params) -> Params:
    return {name: weight.detach() for name, weight in weights.items()}
