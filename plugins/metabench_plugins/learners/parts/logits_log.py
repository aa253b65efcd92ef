"""Logits of the tasks of a search, kept where they are until the search ends.

To decode a task's logits in every meta-step would have to wait for the device each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metabench import Params


class LogitsLog:
    """The logits of the last tasks, in the order in which they came.

    Args:
        room: tasks whose logits are kept; of more the first are lost.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._rows: Params = {}
        self._count: Tensor | None = None

    @torch.no_grad()
    def add(self, logits: Params) -> None:
        """Keep the logits of some tasks, ``[tasks, *shape]``."""
        (like, *_) = logits.values()
        if self._count is None:
            self._rows = {n: w.new_zeros(self._room, *w.shape[1:]) for n, w in logits.items()}
            self._count = torch.zeros((), dtype=torch.int64, device=like.device)
        places = (self._count + torch.arange(len(like), device=like.device)) % self._room
        for name, rows in logits.items():
            self._rows[name].index_copy_(0, places, rows)
        self._count += len(like)

    def read(self) -> Params:
        """All that is kept, ``[tasks, *shape]`` on the CPU; this waits for the device."""
        if self._count is None:
            return {}
        count = int(self._count)
        kept = {name: rows.cpu() for name, rows in self._rows.items()}
        if count <= self._room:
            return {name: rows[:count] for name, rows in kept.items()}
        return {name: rows.roll(-(count % self._room), dims=0) for name, rows in kept.items()}

    def state_dict(self) -> dict[str, Any]:
        """What is kept, and how many tasks there were."""
        return {} if self._count is None else {"rows": self._rows, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a copy of what :meth:`state_dict` gave."""
        self._rows = {name: rows.clone() for name, rows in state.get("rows", {}).items()}
        self._count = state["count"].clone() if state else None
