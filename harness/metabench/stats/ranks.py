"""Average ranks of several learners with their critical difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.stats.distributions import scipy_stats

MIN_LEARNERS = 3
MIN_BLOCKS = 10
"""Friedman's chi-squared and Nemenyi's test are asymptotic in the blocks (Demšar 2006)."""


@dataclass(frozen=True, slots=True)
class CriticalDifference:
    """What a critical-difference diagram shows.

    Attributes:
        ranks: average rank by name, best first; rank 1 is the best.
        p: of Friedman's test that all are alike.
        difference: average ranks further apart than this differ at 5 % (Nemenyi); None where
            Friedman's test does not reject, so that no pair is distinguishable.
        groups: names that are not distinguishable, each group as large as possible.
        n_blocks: what was ranked within: sources of suites, or episodes.
    """

    ranks: dict[str, float]
    p: float
    difference: float | None
    groups: tuple[tuple[str, ...], ...]
    n_blocks: int

    def words(self, *, blocks: str = "blocks") -> str:
        """Formula, unit of n and n; ``blocks`` says what was ranked within."""
        return (
            f"average ranks within {blocks}, Friedman's test, Nemenyi's critical difference "
            f"q(0.05, k) sqrt(k(k+1)/(6n)), k = {len(self.ranks)}, n = {self.n_blocks:,} {blocks}"
        )


def critical_difference(
    scores: NDArray[np.float64], names: Sequence[str], *, higher_is_better: bool
) -> CriticalDifference | str:
    """Rank learners within blocks and say which of them differ, or why that is not sound.

    Friedman's test first; only if it rejects at 5 %, Nemenyi's critical difference (Demšar,
    Journal of Machine Learning Research 7, 2006).

    Args:
        scores: ``[blocks, learners]``.
        names: of the learners.
        higher_is_better: true for an accuracy, false for an error.

    Raises:
        UsageError: when scipy is not installed.
    """
    n, k = scores.shape
    if k < MIN_LEARNERS:
        return f"Ranks need at least {MIN_LEARNERS} learners; there are {k}."
    if n < MIN_BLOCKS:
        return f"Friedman's and Nemenyi's tests need at least {MIN_BLOCKS} blocks; there are {n}."
    stats = scipy_stats("The critical difference")
    # Means over seeds of equal scores differ by rounding.
    scores = np.array([[float(f"{score:.12g}") for score in row] for row in scores])
    ranked = stats.rankdata(-scores if higher_is_better else scores, axis=1)
    means = ranked.mean(axis=0)
    # All tied in every block: scipy's statistic is 0/0 there.
    alike = bool((ranked == ranked[:, :1]).all())
    p = 1.0 if alike else float(stats.friedmanchisquare(*ranked.T).pvalue)
    ranks = {names[i]: float(means[i]) for i in np.argsort(means, kind="stable")}
    if p >= 0.05:
        return CriticalDifference(ranks, p, None, (tuple(ranks),), n)
    quantile = float(stats.studentized_range.ppf(0.95, k, math.inf)) / math.sqrt(2)
    difference = quantile * math.sqrt(k * (k + 1) / (6 * n))
    return CriticalDifference(ranks, p, difference, _groups(ranks, difference), n)


def _groups(ranks: dict[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Runs of neighbours within the difference; none that is part of another."""
    groups: list[tuple[str, ...]] = []
    for first, start in enumerate(ranks.values()):
        names = tuple(n for n in list(ranks)[first:] if ranks[n] - start <= difference)
        if not groups or names[-1] != groups[-1][-1]:
            groups.append(names)
    return tuple(group for group in groups if len(group) > 1)
