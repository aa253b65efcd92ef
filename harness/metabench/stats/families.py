"""P-values of pairs of configurations as a family: one rule says which differences count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metabench.stats.hypotheses import holm

MOST_PAIRS = 300
"""With more pairs, those without the best are not computed: they would take too long."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """P-values that are adjusted for all pairs of a group, and how, in words."""

    p_values: Sequence[float]
    words: str


def count_pairs(n_configs: int) -> int:
    """How many pairs so many configurations make."""
    return n_configs * (n_configs - 1) // 2


def adjust(p_values: Sequence[float], *, n_configs: int) -> Adjusted:
    """Adjust p-values of pairs for all pairs of so many configurations.

    Which one is the best is seen in the very episodes that are compared, so any pair could have
    been shown: the family is all of them. Holm's procedure needs the p-value of every pair. With
    more than :data:`MOST_PAIRS`, some of them are enough for Bonferroni's.

    >>> adjust([0.01, 0.04, 0.5], n_configs=3).p_values
    (0.03, 0.08, 0.5)
    """
    n_pairs = count_pairs(n_configs)
    if n_pairs > MOST_PAIRS:
        of_all = f"all {n_pairs:,} pairs of the {n_configs:,} configurations"
        words = f"by Bonferroni's correction for {of_all}"
        return Adjusted([min(1.0, n_pairs * p) for p in p_values], words)
    pairs = f"all {len(p_values):,} pairs of the {n_configs} configurations"
    if len(p_values) < n_pairs:
        pairs = f"{pairs} that can be compared"
    words = f"by Holm's procedure over {'the one pair' if n_configs == 2 else pairs}"
    return Adjusted(holm(p_values), words)
