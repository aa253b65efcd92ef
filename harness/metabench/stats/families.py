"""P-values of pairs of configurations as a family: one rule says which differences count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metabench.stats.hypotheses import holm
from metabench.stats.paired import adjusted_too_far

MOST_PAIRS = 300
"""With more pairs, those without the best are not computed: they would take too long."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """P-values that are adjusted for all pairs of a group.

    Attributes:
        p_values: of each pair; None where two seeds would make it too small.
        words: how they are adjusted; "" where there is none.
        untested: why some pairs have none; "" where all have one.
    """

    p_values: Sequence[float | None]
    words: str
    untested: str = ""


def count_pairs(n_configs: int) -> int:
    """How many pairs so many configurations make."""
    return n_configs * (n_configs - 1) // 2


def adjust(
    p_values: Sequence[float], *, seeds: Sequence[tuple[int, int]], n_configs: int
) -> Adjusted:
    """Adjust p-values of pairs for all pairs of so many configurations.

    Which one is the best is seen in the very episodes that are compared, so any pair could have
    been shown: the family is all of them. Holm's procedure needs the p-value of every pair. With
    more than :data:`MOST_PAIRS`, some of them are enough for Bonferroni's.

    With several pairs, those of two seeds have no adjusted p-value
    (:func:`metabench.stats.adjusted_too_far`), and are not in the family.

    Args:
        p_values: of pairs, not adjusted.
        seeds: of the two sides of each.
        n_configs: how many configurations there are.

    >>> adjust([0.01, 0.04, 0.5], seeds=[(3, 3)] * 3, n_configs=3).p_values
    [0.03, 0.08, 0.5]
    """
    n_pairs = count_pairs(n_configs)
    many = n_pairs > MOST_PAIRS
    reasons = [adjusted_too_far(*n, n_pairs=n_pairs if many else len(p_values)) for n in seeds]
    tested = [p for p, reason in zip(p_values, reasons, strict=True) if not reason]
    found = iter([min(1.0, n_pairs * p) for p in tested] if many else holm(tested))
    return Adjusted(
        [None if reason else next(found) for reason in reasons],
        _in_words(len(tested), n_configs=n_configs, many=many) if tested else "",
        next(filter(None, reasons), ""),
    )


def _in_words(n_tested: int, *, n_configs: int, many: bool) -> str:
    n_pairs = count_pairs(n_configs)
    if many:
        of_all = f"all {n_pairs:,} pairs of the {n_configs:,} configurations"
        return f"by Bonferroni's correction for {of_all}"
    pairs = f"all {n_tested:,} pairs of the {n_configs} configurations"
    if n_tested < n_pairs:
        pairs = f"{pairs} that can be tested"
    return f"by Holm's procedure over {'the one pair' if n_configs == 2 else pairs}"
