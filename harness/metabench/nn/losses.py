"""Losses and scores of a batch of tasks: one number per task.

Reductions: ``per_shot`` is the sum of cross-entropies divided by K, as in the code of MAML;
``mean`` is the usual mean. For a support set of N ways, ``per_shot`` is N times ``mean``.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from metabench.plugin.contracts.episode import TaskKind

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
