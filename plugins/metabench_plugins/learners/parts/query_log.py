"""What a meta-step logs of its query sets, gathered part by part of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench import TaskKind, query_scalars


class QueryLog:
    """Losses and accuracies of the tasks of one meta-step.

    Args:
        kind: of the tasks.
    """

    def __init__(self, kind: TaskKind) -> None:
        self._kind = kind
        self._parts: list[dict[str, Tensor]] = []

    def note(self, outputs: Tensor, y: Tensor) -> None:
        """Add the predictions ``[tasks, n, outputs]`` of some tasks, after adaptation."""
        self._parts.append(query_scalars(outputs, y, kind=self._kind))

    def means(self) -> dict[str, Tensor]:
        """The mean of each scalar over all tasks; nothing if none were noted."""
        names = self._parts[0] if self._parts else ()
        return {name: torch.cat([part[name] for part in self._parts]).mean() for name in names}
