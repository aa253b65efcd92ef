"""Means with intervals: the one place where a number of a table gets its half-width.

The field's interval and the average over sources are those of the papers that the harness stands
beside: mean +- 1.96 std / sqrt(n) over meta-test episodes, as MAML, HSML, T-NAS and MetaOptNet
print it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.errors import UsageError

Z95 = 1.96
"""The normal quantile that the papers use."""

RESAMPLES = 2000
"""Bootstrap resamples: the half-width then moves by about 2 % from one random seed to another."""

_CHUNK = 2_000_000  # resampled scores held at once, 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the half-width of its 95 % interval.

    Attributes:
        mean: in the unit of the scores.
        half_width: likewise; NaN where fewer than two values leave nothing to estimate it from.
        n: how many values stand behind it, in the unit that the making function names.
    """

    mean: float
    half_width: float
    n: int


def field_interval(scores: ArrayLike) -> Interval:
    """Mean +- 1.96 std / sqrt(n), std with ddof 0; n counts episodes.

    Source: the evaluation code of MAML, HSML, MT-Net and ARML.

    >>> field_interval([0.0, 1.0, 1.0, 0.0])
    Interval(mean=0.5, half_width=0.49, n=4)
    """
    values = _values(scores)
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
    )


def seeds_interval(means: ArrayLike) -> Interval:
    """Mean +- t(0.975, n - 1) std / sqrt(n), std with ddof 1; n counts seeds.

    Student's interval, for claims about a learner rather than about one trained network: the
    values are the means of runs that differ in their seed only.

    Raises:
        UsageError: when scipy is not installed.
    """
    values = _values(means)
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()), math.nan, n)
    half_width = _t_quantile(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(float(values.mean()), half_width, n)


def bootstrap_interval(scores: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean +- half the width of the percentile bootstrap interval; n counts episodes.

    Episodes are drawn with replacement, ``resamples`` times; the interval runs from the 2.5 % to
    the 97.5 % quantile of the resampled means (Efron 1979). The same scores and seed give the same
    interval.
    """
    values = _values(scores)
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()), math.nan, n)
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    means = np.concatenate(
        [
            values[rng.integers(0, n, size=(min(rows, resamples - first), n))].mean(axis=1)
            for first in range(0, resamples, rows)
        ]
    )
    lower, upper = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(upper - lower) / 2, n)


def shared_positions(keys: Sequence[NDArray[np.object_]]) -> list[NDArray[np.int64]]:
    """Where the episodes that all sequences of keys have stand in each, in the first's order.

    A key that stands several times is matched first with first, second with second.
    """
    first = keys[0]
    if all(np.array_equal(first, other) for other in keys[1:]):
        return [np.arange(len(first))] * len(keys)
    places = [_places(sequence) for sequence in keys]
    common = [key for key in places[0] if all(key in other for other in places[1:])]
    return [np.array([place[key] for key in common], dtype=np.int64) for place in places]


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    first_keys: Sequence[str],
    second_keys: Sequence[str],
) -> Interval:
    """Interval of ``first - second`` over the episodes that both have; n counts these episodes.

    :func:`field_interval` of the differences, equal key by equal key: what makes one episode
    harder than another falls out, so the interval is narrower than that of unpaired scores.

    Raises:
        ValueError: when the two share no episode.
    """
    keys = [np.asarray(sequence, dtype=object) for sequence in (first_keys, second_keys)]
    here, there = shared_positions(keys)
    return field_interval(_values(first)[here] - _values(second)[there])


def _values(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"an interval needs a row of scores, got shape {values.shape}")
    return values


def _places(keys: NDArray[np.object_]) -> dict[tuple[str, int], int]:
    """From (key, how often it stood before) to its position."""
    seen: dict[str, int] = {}
    places = {}
    for position, key in enumerate(keys):
        occurrence = seen.get(key, 0)
        seen[key] = occurrence + 1
        places[key, occurrence] = position
    return places


def _t_quantile(degrees: int) -> float:
    try:
        from scipy.stats import t
    except ImportError as error:
        raise UsageError(
            "The interval over seeds needs scipy, which is not installed.",
            hint='pip install "metabench[stats]"',
        ) from error
    return float(t.ppf(0.975, degrees))
