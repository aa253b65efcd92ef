"""What must be said beside every number of a run: the stamps, and when each is given."""

from __future__ import annotations

from enum import StrEnum

PAPER_BUDGET = "paper"
"""The budget that trains and tests for as long as the papers. It gives no stamp; the name of every
other budget is a stamp itself, such as ``smoke`` or ``lite``."""


class Stamp(StrEnum):
    """Why numbers of a run are not those of the full benchmark, beside the name of its budget."""

    LIMIT = "limit"
    """``--limit``: fewer meta-test episodes than the suite asks for."""
    CUSTOM = "custom"
    """``--set`` changed the data, the protocol or the budget of the suite."""
    SYNTHETIC = "synthetic"
    """The images are generated look-alikes."""
    SUBSET = "subset"
    """Some images or classes of the dataset are missing."""
    SUBSTITUTE = "substitute"
    """Other images stand in for those of the paper."""
    REBUILT_SPLIT = "rebuilt-split"
    """The classes are split by the rule of the paper, whose own split is not published."""


CUT_SHORT = frozenset({Stamp.LIMIT, Stamp.CUSTOM})
"""Runs with one of these are not the budget that they are named after."""


def stamps_of_budget(budget: str) -> tuple[str, ...]:
    """The stamp that a budget gives.

    >>> stamps_of_budget("lite"), stamps_of_budget("paper")
    (('lite',), ())
    """
    return () if budget == PAPER_BUDGET else (budget,)
