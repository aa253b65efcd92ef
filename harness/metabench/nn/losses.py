"""Losses of a batch of tasks, and what a meta-step logs of its query sets: one number per task.

Reductions: ``per_shot`` is the sum of cross-entropies divided by K, as in the code of MAML;
``mean`` is the usual mean. For a support set of N ways, ``per_shot`` is N times ``mean``.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from metabench.plugin.contracts.episode import TaskKind
from metabench.plugin.contracts.learner import QUERY_ACCURACY, QUERY_LOSS

Reduction = Literal["per_shot", "mean"]
"""How the cross-entropies of one task become one loss."""


def task_losses(
    outputs: Tensor, y: Tensor, *, kind: TaskKind, reduction: Reduction, shots: int
) -> Tensor:
    """Return the loss of each task, ``[tasks]``.

    Args:
        outputs: logits or targets ``[tasks, n, outputs]``.
        y: ``[tasks, n]`` class indices, or ``[tasks, n, outputs]``.
        kind: cross-entropy or squared error (always its mean).
        reduction: how cross-entropies of one task are combined.
        shots: K, the divisor of ``per_shot``.
    """
    if kind == "regression":
        return (outputs - y).square().mean(dim=(1, 2))
    entropies = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
    return entropies.sum(dim=1) / shots if reduction == "per_shot" else entropies.mean(dim=1)


def query_scalars(outputs: Tensor, y: Tensor, *, kind: TaskKind) -> dict[str, Tensor]:
    """What every learner logs of its query sets, by name, one number per task: ``[tasks]``.

    They are the mean loss of the examples and in classification the accuracy, without a graph.

    Args:
        outputs: logits or targets ``[tasks, n, outputs]`` after adaptation.
        y: ``[tasks, n]`` class indices, or ``[tasks, n, outputs]``.
        kind: of the task.

    >>> import torch
    >>> logits, y = torch.tensor([[[0.0, 9.0], [9.0, 0.0]]]), torch.tensor([[1, 1]])
    >>> query_scalars(logits, y, kind="classification")["query_accuracy"]
    tensor([0.5000])
    """
    outputs = outputs.detach()
    found = {QUERY_LOSS: task_losses(outputs, y, kind=kind, reduction="mean", shots=1)}
    if kind == "classification":
        found[QUERY_ACCURACY] = (outputs.argmax(dim=2) == y).to(outputs.dtype).mean(dim=1)
    return found
