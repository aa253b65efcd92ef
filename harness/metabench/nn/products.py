"""Whether layers multiply in bfloat16, for which many GPUs have faster units."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec

import torch
from torch import Tensor

from metabench.nn.holding import holding

P = ParamSpec("P")

_in_bf16: ContextVar[bool] = ContextVar("products_in_bf16", default=False)


def products_in_bf16() -> AbstractContextManager[None]:
    """Let :func:`metabench.nn.linear` and :func:`metabench.nn.conv2d` multiply in bfloat16.

    They round their inputs and their result to its 8 bits, in the derivatives too. What they return
    has the type of what they were given: norms, losses, optimizers and scores compute as ever.
    """
    return holding(_in_bf16, True)


def are_in_bf16() -> bool:
    """Whether products are in bfloat16 here."""
    return _in_bf16.get()


def product(layer: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """A layer that multiplies, in the precision of products."""

    @wraps(layer)
    def in_precision(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if not are_in_bf16():
            return layer(*args, **kwargs)
        given = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        rounded = (_rounded(x) for x in args)
        named = {name: _rounded(x) for name, x in kwargs.items()}
        return layer(*rounded, **named).to(given.dtype)  # type: ignore[arg-type]

    return in_precision


def _rounded(value: object) -> object:
    return value.to(torch.bfloat16) if isinstance(value, Tensor) else value
