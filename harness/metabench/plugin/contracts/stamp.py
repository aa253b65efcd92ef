"""The stamps: how the numbers of a run differ from those of the full benchmark."""

from __future__ import annotations

from enum import StrEnum

PAPER_BUDGET = "paper"
"""The budget that trains and tests for as long as the papers. It gives no stamp; the name of any
other budget, such as ``smoke`` or ``lite``, is a stamp."""


class Stamp(StrEnum):
    """Why the numbers of a run are not those of the full benchmark, apart from its budget."""

    LIMIT = "limit"
    """``--limit`` set the number of meta-test episodes, in place of the suite's."""
    CUSTOM = "custom"
    """``--set`` changed data, protocol or budget of the suite, other than where files lie."""
    TF32 = "tf32"
    """``--precision tf32``: layers multiply in TF32."""
    BF16 = "bf16"
    """``--precision bf16``: layers multiply in bfloat16."""
    CROSS_DOMAIN = "cross-domain"
    """The weights were trained on other data than they are tested on."""
    FOREIGN = "foreign-weights"
    """The weights, or those that training starts from, come from a file, and metabench does not
    know how they were trained."""
    SYNTHETIC = "synthetic"
    """The images are generated look-alikes."""
    SUBSET = "subset"
    """Some images or classes of the dataset are missing."""
    SUBSTITUTE = "substitute"
    """Other images are used in place of those of the paper."""
    DRAWN_SPLIT = "drawn-split"
    """A seed chose which of a user's own classes are in which split."""
    REPEATED = "repeated-images"
    """The same picture is in two splits."""
    REBUILT_SPLIT = "rebuilt-split"
    """The classes are split by the rule of the paper, since its own split is not published."""


CUT_SHORT = frozenset({Stamp.LIMIT, Stamp.CUSTOM})
"""Runs with one of these depart from the budget that they name."""


def stamps_of_budget(budget: str) -> tuple[str, ...]:
    """The stamp that a budget gives.

    >>> stamps_of_budget("lite"), stamps_of_budget("paper")
    (('lite',), ())
    """
    return () if budget == PAPER_BUDGET else (budget,)
