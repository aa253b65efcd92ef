"""The hierarchical bootstrap: seeds, and the episodes that all of them face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench.stats.intervals import RESAMPLES
from metabench.stats.paired import Blocks

_CHUNK = 2_000_000  # drawn episodes held at once, 16 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """A mean with the 95 % percentile interval of its bootstrap.

    Attributes:
        mean: in the unit of the scores.
        low: 2.5 % quantile of the resampled means.
        high: 97.5 % quantile.
        n_episodes: episodes behind it.
        n_seeds: seeds on the left and on the right; 0 where there is no right side.
        resamples: how often was drawn.
    """

    mean: float
    low: float
    high: float
    n_episodes: int
    n_seeds: tuple[int, int]
    resamples: int

    def words(self) -> str:
        """Formula, unit of n and n."""
        left, right = self.n_seeds
        seeds = f"{left} and {right} seeds" if right else f"{left} seeds"
        return (
            f"95 % percentile interval of {self.resamples:,} hierarchical bootstrap resamples: "
            f"seeds drawn first, then episodes; {seeds}, n = {self.n_episodes:,} episodes"
        )


def hierarchical_bootstrap(
    left: Blocks,
    right: Blocks | None = None,
    *,
    weights: Mapping[str, float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bootstrap:
    """Bootstrap ``sum_k weight_k (mean left_k - mean right_k)`` over seeds and episodes.

    Each resample draws as many seeds as there are, on each side for itself, and as many episodes
    of each source as there are, with replacement. The drawn episodes are the same for every seed
    and for both sides, because the seeds do face the same ones: drawn anew within each seed, they
    would count as independent and the interval be too narrow (Owen, The pigeonhole bootstrap,
    2007).

    **Too narrow at few seeds**, as any bootstrap of few values. Where seeds make most of the
    spread, the nominal 95 % are 80 % for differences of 3 + 3 seeds, 87 % for 5 + 5 and 92 % for
    10 + 10 (tests/harness/stats/test_stats_coverage.py measures it). Decisions therefore rest on
    :func:`~metabench.stats.contrast`.

    Args:
        left: scores ``[seeds, episodes]`` by source.
        right: the same episodes in the same order.
        weights: by source; others are left out.
        resamples: how often to draw.
        seed: the same scores and seed give the same interval.
    """
    rng = np.random.default_rng(seed)
    sides = [left] if right is None else [left, right]
    n_seeds = [len(next(iter(side.values()))) for side in sides]
    drawn = [np.zeros((resamples, n)) for n in n_seeds]
    mean = 0.0
    for source, weight in weights.items():
        blocks = np.concatenate([side[source] for side in sides])
        means = weight * _resampled_means(blocks, resamples=resamples, rng=rng)
        parts = np.split(means, np.cumsum(n_seeds)[:-1], axis=1)
        for total, part in zip(drawn, parts, strict=True):
            total += part
        for sign, side in zip((1, -1), sides, strict=False):
            mean += sign * weight * float(side[source].mean())
    values = np.zeros(resamples)
    for sign, total in zip((1, -1), drawn, strict=False):
        choice = rng.integers(0, total.shape[1], size=total.shape)
        values += sign * np.take_along_axis(total, choice, axis=1).mean(axis=1)
    low, high = np.quantile(values, [0.025, 0.975])
    return Bootstrap(
        mean=mean,
        low=float(low),
        high=float(high),
        n_episodes=sum(left[source].shape[1] for source in weights),
        n_seeds=(n_seeds[0], n_seeds[1] if right is not None else 0),
        resamples=resamples,
    )


def _resampled_means(
    scores: NDArray[np.float64], *, resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Means ``[resamples, seeds]`` over drawn episodes of scores ``[seeds, episodes]``."""
    n = scores.shape[1]
    rows = max(1, _CHUNK // n)
    parts = []
    for first in range(0, resamples, rows):
        size = min(rows, resamples - first)
        drawn = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        parts.append(counts @ scores.T / n)
    return np.concatenate(parts)
