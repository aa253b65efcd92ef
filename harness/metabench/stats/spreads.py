"""How far two standard deviations over episodes lie apart by sampling alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.stats.intervals import RESAMPLES

_CHUNK = 2_000_000  # drawn episodes held at once, 16 MB


@dataclass(frozen=True, slots=True)
class SpreadRatio:
    """What the ratio of another sample's standard deviation to ours is by chance.

    Attributes:
        low: 2.5 % quantile.
        high: 97.5 % quantile; infinite where a resample of ours has no spread.
    """

    low: float
    high: float

    def __contains__(self, ratio: float) -> bool:
        """Whether sampling explains the ratio."""
        return self.low <= ratio <= self.high


def spread(scores: NDArray[np.float64]) -> float:
    """Standard deviation over episodes (ddof 0) of ``[seeds, n]``, of several seeds the rms.

    >>> spread(np.array([[0.0, 2.0], [0.0, 0.0]]))
    0.7071067811865476
    """
    return float(np.sqrt(scores.var(axis=1).mean()))


def spread_ratio(
    scores: NDArray[np.float64], n_other: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> SpreadRatio:
    """Bootstrap the ratio of the spread of ``n_other`` episodes to that of ours.

    Each resample draws n of our episodes with replacement, the same for every seed, and apart from
    them ``n_other`` of one seed, as a paper has one network: under the assumption that its scores
    are distributed as ours. Too narrow where few episodes make most of the spread, as for any
    bootstrap of a heavy tail.

    Args:
        scores: ``[seeds, n]``.
        n_other: episodes of the other sample.
        resamples: how often to draw.
        seed: the same scores and seed give the same bounds.
    """
    rng = np.random.default_rng(seed)
    centered = scores - scores.mean(axis=1, keepdims=True)
    ours = np.sqrt(_variances(centered, scores.shape[1], resamples, rng).mean(axis=1))
    of_each = np.sqrt(_variances(centered, n_other, resamples, rng))
    network = rng.integers(0, len(scores), size=(resamples, 1))
    other = np.take_along_axis(of_each, network, axis=1)[:, 0]
    ratios = np.full(resamples, np.inf)
    np.divide(other, ours, out=ratios, where=ours > 0)
    ratios[(ours == 0) & (other == 0)] = 1.0
    low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
    return SpreadRatio(float(low), float(high))


def _variances(
    scores: NDArray[np.float64], n: int, resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Variances ``[resamples, seeds]`` of n episodes drawn with replacement."""
    rows = max(1, _CHUNK // n)
    parts = []
    for first in range(0, resamples, rows):
        drawn = scores[:, rng.integers(0, scores.shape[1], size=(min(rows, resamples - first), n))]
        parts.append(drawn.var(axis=2).T)
    return np.concatenate(parts)
