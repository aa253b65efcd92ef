"""Whose statistics batch norm uses: those of all examples, or those of the first ones alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_first: ContextVar[int | None] = ContextVar("first_examples", default=None)


@contextmanager
def statistics_of_first(n: int) -> Iterator[None]:
    """Let :func:`metabench.nn.batch_norm` use the statistics of the first ``n`` examples alone.

    The other examples of a task are normalized by these too, so that none of them depends on
    another. Put examples that are not asked about first: a network then predicts for the rest as
    one whose statistics were estimated on the first.

    Args:
        n: how many examples of each task, at least 1.
    """
    token = _first.set(n)
    try:
        yield
    finally:
        _first.reset(token)


def first_examples() -> int | None:
    """How many examples make the statistics; None for all."""
    return _first.get()
