"""Arithmetic on the progress of meta-training, which is a number or a scalar tensor.

While a meta-step is recorded, progress is a tensor, so that its program follows a schedule.
Functions of Python's ``math`` would read it; these take both. Numbers give numbers.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

Scalar = TypeVar("Scalar", float, Tensor)


def cos(x: Scalar) -> Scalar:
    """The cosine.

    >>> cos(0.0), cos(torch.tensor(0.0))
    (1.0, tensor(1.))
    """
    return x.cos() if isinstance(x, Tensor) else math.cos(x)


def floor(x: Scalar) -> Scalar:
    """The largest whole number that is not above ``x``, in floating point.

    >>> floor(2.5)
    2.0
    """
    return x.floor() if isinstance(x, Tensor) else float(math.floor(x))


def towards(start: Tensor, end: Tensor, share: float | Tensor) -> Tensor:
    """Go a share of the way from ``start`` to ``end``; with 1 it is ``end`` to the bit."""
    if isinstance(share, Tensor):
        return torch.lerp(start, end, share.to(start, non_blocking=True))
    return torch.lerp(start, end, share)
