"""Means with intervals: the one place where a number of a table gets its half-width.

The field's interval and the average over sources are those of the papers that the harness compares
with: mean +- 1.96 std / sqrt(n) over meta-test episodes, as MAML, HSML, T-NAS and MetaOptNet print
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.stats.distributions import quantile

Z95 = 1.96
"""The normal quantile that the papers use."""

RESAMPLES = 2000
"""Bootstrap resamples: the half-width then moves by about 2 % from one random seed to another."""

Kind = Literal["field", "average", "seeds", "bootstrap"]

FIELD_HALF_WIDTH: Literal["1.96 std/sqrt(n)"] = "1.96 std/sqrt(n)"
"""The half-width that papers print; it gives a standard deviation back where n is known."""

FORMULAS: dict[Kind, str] = {
    "field": f"mean ± {FIELD_HALF_WIDTH}, ddof 0",
    "average": "plain mean of the sources' means ± sqrt(sum of squared half-widths)/sources",
    "seeds": "mean ± t(0.975, n-1) std/sqrt(n), ddof 1, over the means of single runs",
    "bootstrap": f"mean ± half the 95 % percentile bootstrap interval ({RESAMPLES:,} resamples)",
}
"""How each kind of interval is computed, in words; captions and legends use these."""

_CHUNK = 2_000_000  # resampled scores held at once, 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the half-width of its 95 % interval.

    Attributes:
        mean: in the unit of the scores.
        half_width: in the same unit; NaN with fewer than two values.
        n: how many values it is computed from, episodes or seeds.
        kind: which function made it.
    """

    mean: float
    half_width: float
    n: int
    kind: Kind = field(default="field", repr=False, compare=False)

    def words(self) -> str:
        """Formula, unit of n and n."""
        unit = "seeds" if self.kind == "seeds" else "episodes"
        return f"{FORMULAS[self.kind]}, n = {self.n:,} {unit}"


def field_interval(scores: ArrayLike) -> Interval:
    """Mean +- 1.96 std / sqrt(n), std with ddof 0; n counts episodes.

    Source: the evaluation code of MAML, HSML, MT-Net and ARML.

    >>> field_interval([0.0, 1.0, 1.0, 0.0])
    Interval(mean=0.5, half_width=0.49, n=4)
    """
    values = row_of_scores(scores)
    n = len(values)
    half_width = Z95 * float(values.std()) / math.sqrt(n) if n > 1 else math.nan
    return Interval(float(values.mean()), half_width, n)


def average_interval(intervals: Sequence[Interval]) -> Interval:
    """Plain mean of the k source means, half-width sqrt(sum of squared half-widths) / k.

    The sources' episodes are independent of each other, so their variances add up; n counts the
    episodes of all sources.

    >>> average_interval([Interval(1.0, 0.3, 10), Interval(3.0, 0.4, 10)])
    Interval(mean=2.0, half_width=0.25, n=20)
    """
    if not intervals:
        raise ValueError("an average needs at least one source")
    k = len(intervals)
    return Interval(
        sum(i.mean for i in intervals) / k,
        math.hypot(*(i.half_width for i in intervals)) / k,
        sum(i.n for i in intervals),
        "average",
    )


def seeds_interval(means: ArrayLike) -> Interval:
    """Mean +- t(0.975, n - 1) std / sqrt(n), std with ddof 1; n counts seeds.

    Student's interval, for claims about a learner rather than about one trained network: the
    values are the means of runs that differ in their seed only.

    Raises:
        UsageError: when scipy is not installed.
    """
    values = row_of_scores(means)
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()), math.nan, n, "seeds")
    half_width = quantile(0.975, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(float(values.mean()), half_width, n, "seeds")


def bootstrap_interval(scores: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean +- half the width of the percentile bootstrap interval; n counts episodes.

    Episodes are drawn with replacement, ``resamples`` times; the interval runs from the 2.5 % to
    the 97.5 % quantile of the resampled means (Efron 1979). The same scores and seed give the same
    interval.
    """
    values = row_of_scores(scores)
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()), math.nan, n, "bootstrap")
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    means = np.concatenate(
        [
            values[rng.integers(0, n, size=(min(rows, resamples - first), n))].mean(axis=1)
            for first in range(0, resamples, rows)
        ]
    )
    lower, upper = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(upper - lower) / 2, n, "bootstrap")


def row_of_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores as an array ``[n]``; anything else is a ``ValueError``."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"an interval needs a row of scores, got shape {values.shape}")
    return values
