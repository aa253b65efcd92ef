"""Tests: signed ranks on paired scores, equivalence within a margin, Holm over a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metabench.stats.distributions import scipy_stats
from metabench.stats.intervals import row_of_scores
from metabench.stats.paired import ROUNDING, Difference, differences


@dataclass(frozen=True, slots=True)
class SignedRank:
    """Wilcoxon's signed-rank test of paired scores.

    Attributes:
        p: two-sided.
        n: pairs that differ; equal ones say nothing about the direction.
        n_equal: pairs that do not.
    """

    p: float
    n: int
    n_equal: int

    def words(self) -> str:
        """Formula, unit of n and n."""
        return (
            f"Wilcoxon's signed-rank test, two-sided, n = {self.n:,} episodes that differ "
            f"({self.n_equal:,} equal ones left out)"
        )


def wilcoxon(first: ArrayLike, second: ArrayLike) -> SignedRank:
    """Test whether paired scores are shifted against each other.

    Equal pairs are left out (Wilcoxon 1945); without any that differs, p is 1. The p-value is
    scipy's: exact for few pairs without ties, else the normal approximation with the correction
    for ties.

    Raises:
        UsageError: when scipy is not installed.
    """
    stats = scipy_stats("Wilcoxon's test")
    found = differences(row_of_scores(first), row_of_scores(second))
    differing = found[found != 0]
    n_equal = len(found) - len(differing)
    p = float(stats.wilcoxon(differing).pvalue) if len(differing) else 1.0
    return SignedRank(p, len(differing), n_equal)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust the p-values of a family so that rejecting below alpha errs at all with alpha at most.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979. Holds under any dependence.

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    m = len(p_values)
    adjusted = [0.0] * m
    largest = 0.0
    for rank, position in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[position]))
        adjusted[position] = largest
    return tuple(adjusted)


def holm_levels(p_values: Sequence[float], *, alpha: float = 0.05) -> tuple[float, ...]:
    """The level at which Holm's procedure tests each: ``p <= level`` exactly where it rejects.

    An interval of level ``1 - level`` then decides as the adjusted p-value does. After the first
    that is not rejected, all others keep its level.

    >>> holm_levels([0.01, 0.05, 0.04], alpha=0.06)
    (0.02, 0.03, 0.03)
    """
    m = len(p_values)
    levels = [0.0] * m
    stopped = 0.0
    for rank, position in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        levels[position] = stopped or alpha / (m - rank)
        if p_values[position] > levels[position]:
            stopped = levels[position]
    return tuple(levels)


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests that a difference lies within plus and minus a margin.

    Attributes:
        margin: in the unit of the scores.
        p: the larger of the two p-values.
        n: episodes.
    """

    margin: float
    p: float
    n: int

    def words(self) -> str:
        """Formula, unit of n and n."""
        return (
            f"two one-sided tests (TOST) of a difference within ± {self.margin:g}, "
            f"n = {self.n:,} episodes"
        )


def equivalence(difference: Difference, *, margin: float) -> Equivalence:
    """Test that the true difference lies within ``-margin`` and ``margin``.

    Below alpha exactly when the interval of level ``1 - 2 alpha`` lies within the margin
    (Schuirmann 1987).

    Raises:
        ValueError: when the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"an equivalence needs a positive margin, got {margin}")
    p = max(difference.p_above(-margin), difference.p_below(margin))
    return Equivalence(margin, p, difference.n_episodes)


def standardized_difference(first: ArrayLike, second: ArrayLike) -> float | None:
    """Mean of the paired differences over their std (ddof 1): Cohen's d_z; None without spread."""
    left, right = row_of_scores(first), row_of_scores(second)
    found = differences(left, right)
    std = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    largest = float(max(np.abs(left).max(), np.abs(right).max()))
    return float(found.mean()) / std if std > ROUNDING * largest else None
