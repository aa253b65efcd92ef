"""Ridge regression of one-hot labels on embeddings, on many tasks at once.

``W = X' (X X' + r I)^-1 Y = (X' X + r I)^-1 X' Y`` (Bertinetto et al., ICLR 2019). The
smaller of the two systems is solved.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ridge(support: Tensor, members: Tensor, *, penalty: float | Tensor) -> Tensor:
    """Return the weights of each task's classifier, ``[tasks, d, ways]``; differentiable.

    Args:
        support: X, ``[tasks, n, d]``.
        members: Y, ``[tasks, n, ways]``.
        penalty: r, above 0; a scalar.
    """
    _, n, d = support.shape
    identity = torch.eye(min(n, d), dtype=support.dtype, device=support.device)
    if n <= d:
        return support.mT @ _solve(support @ support.mT + penalty * identity, members)
    return _solve(support.mT @ support + penalty * identity, support.mT @ members)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve with positive definite matrices, without waiting for the device."""
    return torch.cholesky_solve(right, torch.linalg.cholesky_ex(matrix).L)
