"""Initial weights that several networks draw alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def glorot(shape: tuple[int, ...], *, fans: int, rng: torch.Generator) -> Tensor:
    """Draw from U(-a, a), a^2 = 6 / (fan in + fan out) (Glorot and Bengio 2010)."""
    limit = math.sqrt(6 / fans)
    return torch.empty(shape).uniform_(-limit, limit, generator=rng)
