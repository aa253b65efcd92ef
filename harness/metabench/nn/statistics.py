"""Whose statistics batch norm uses: those of all examples, or those of the first ones alone."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar

from metabench.nn.holding import holding

_first: ContextVar[int | None] = ContextVar("first_examples", default=None)


def statistics_of_first(n: int) -> AbstractContextManager[None]:
    """Let :func:`metabench.nn.batch_norm` use the statistics of the first ``n`` examples alone.

    The other examples of a task are normalized by these too, so that none of them depends on
    another. Put examples that are not asked about first: a network then predicts for the rest as
    one whose statistics were estimated on the first.

    Args:
        n: how many examples of each task, at least 1.
    """
    return holding(_first, n)


def first_examples() -> int | None:
    """How many examples make the statistics; None for all."""
    return _first.get()
