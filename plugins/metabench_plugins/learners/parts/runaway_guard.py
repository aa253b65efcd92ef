"""A guard against runaway tasks: an outer step whose gradient is far larger than usual is skipped.

The inner loop of a single task can diverge. The gradient of its batch is then larger than others by
powers of ten. Adam divides by the root of a running mean of squares, which forgets a gradient 1,000
times the usual one only after some 6,000 steps; until then the learner hardly moves.

A step is skipped if the norm of its gradient is not finite, or is more than ``ratio`` times the
median of the last :data:`WINDOW` norms. The norms of skipped steps count in the median, so a change
that lasts is followed after half a window. Nothing here waits for the device, and what changes from
step to step is a tensor on it, so a step can be captured and played again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WINDOW = 100
"""Norms whose median is the usual one."""

FIRST = 10
"""Norms before which only a gradient that is not finite is skipped."""


class RunawayGuard:
    """Decides which outer steps are skipped.

    Args:
        ratio: of a norm to the usual one, above which the step is skipped; None for never, not
            even where the gradient is not finite.
        device: where the gradients are.
    """

    def __init__(self, ratio: float | None, device: torch.device) -> None:
        self._ratio = ratio
        self._norms = torch.zeros(WINDOW, device=device)
        self._places = torch.arange(WINDOW, device=device)
        self._seen = torch.zeros((), dtype=torch.int64, device=device)

    def skips(self, gradients: Sequence[Tensor]) -> Tensor:
        """Whether a step is skipped, as a boolean scalar; its norm is remembered.

        Args:
            gradients: of all weights, on one device.
        """
        if self._ratio is None:
            return torch.zeros((), dtype=torch.bool, device=self._norms.device)
        norms = torch.stack(torch._foreach_norm(list(gradients)))
        norm: Tensor = torch.linalg.vector_norm(norms).to(self._norms.dtype)
        runaway = ~norm.isfinite() | ((self._seen >= FIRST) & (norm > self._ratio * self._usual()))
        here = self._places == self._seen % WINDOW
        known = torch.where(here, norm.nan_to_num(nan=torch.inf, posinf=torch.inf), self._norms)
        self._norms.copy_(known)
        self._seen.add_(1)
        return runaway

    def _usual(self) -> Tensor:
        """The median of the known norms, of an even number the lower one."""
        n_known = self._seen.clamp(max=WINDOW)
        norms = self._norms.masked_fill(self._places >= n_known, torch.inf)
        # `median` is not deterministic on CUDA.
        middle = (n_known - 1).clamp(min=0) // 2
        return norms.sort().values.gather(0, middle.view(1)).view(())

    def state_dict(self) -> dict[str, Any]:
        """The norms, and how many there were."""
        return {"norms": self._norms, "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._norms.copy_(state["norms"])
        self._seen.fill_(state["seen"])
