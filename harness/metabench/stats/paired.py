"""Differences on equal episodes, in which the difficulty of an episode cancels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench.stats.distributions import quantile, upper_tail
from metabench.stats.words import degrees_of_freedom_in_words

Blocks = Mapping[str, NDArray[np.float64]]
"""Scores ``[seeds, episodes]`` by source."""

OF_NETWORKS = (
    "mean paired difference ± z std/sqrt(n), ddof 0, combined over sources by the root of the sum "
    "of squares"
)
"""How the interval of a difference is computed where a side has one seed, in words."""

OF_LEARNERS = (
    "difference of the means over seeds ± t standard error, with seeds and episodes both random "
    "and degrees of freedom after Satterthwaite, divided by the share of the seeds in the variance"
)
"""How it is computed with several seeds on each side. Texts about differences use these two."""

SEEDS_AVERAGED = "scores of several seeds are averaged per episode"
"""What is done first with the seeds of one side where the other side has one seed."""

ENOUGH_SEEDS = 3
"""Seeds that each side needs where the two sides have several, but not equally many."""


ROUNDING = 1e-12
"""Relative to two scores, what they differ by if they are equal: rounding of means over seeds."""


def differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """First minus second; 0 where no more is left than rounding leaves.

    >>> 0.1 + 0.2 - 0.3 == 0, float(differences(0.1 + 0.2, 0.3))
    (False, 0.0)
    """
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    found = left - right
    by_rounding = np.abs(found) <= ROUNDING * np.maximum(np.abs(left), np.abs(right))
    return np.where(by_rounding, 0.0, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An estimated difference, as its mean, its standard error and the degrees of freedom.

    Attributes:
        mean: left minus right, in the unit of the scores.
        standard_error: of the mean.
        degrees: of Student's t; infinite where the normal distribution is used.
        n_episodes: episodes behind it.
        n_seeds: seeds on the left and on the right; 0 of a fixed number, and of a predictor that
            has none.
    """

    mean: float
    standard_error: float
    degrees: float
    n_episodes: int
    n_seeds: tuple[int, int]

    @property
    def speaks_of_learners(self) -> bool:
        """Whether it holds for newly trained networks, not for the tested ones alone."""
        return not math.isinf(self.degrees)

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The two-sided interval of level ``1 - alpha``."""
        half_width = quantile(1 - alpha / 2, self.degrees) * self.standard_error
        return self.mean - half_width, self.mean + half_width

    def p_above(self, value: float) -> float:
        """One-sided p-value for "the true difference is above ``value``"."""
        return self._tail(self.mean - value)

    def p_below(self, value: float) -> float:
        """One-sided p-value for "the true difference is below ``value``"."""
        return self._tail(value - self.mean)

    def p_two_sided(self) -> float:
        """p-value for the hypothesis that the difference is 0."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    def _tail(self, excess: float) -> float:
        if self.standard_error == 0:
            return 0.5 if excess == 0 else float(excess < 0)
        return upper_tail(excess / self.standard_error, self.degrees)

    def words(self) -> str:
        """Formula, unit of n and n."""
        episodes = f"n = {self.n_episodes:,} episodes"
        if not self.speaks_of_learners:
            return f"{OF_NETWORKS}, {episodes}"
        seeds = f"{' and '.join(str(n) for n in self.n_seeds if n)} seeds"
        degrees = f"{degrees_of_freedom_in_words(self.degrees)} degrees of freedom"
        return f"{OF_LEARNERS}; {degrees}, {seeds}, {episodes}"


def contrast(
    left: Blocks,
    right: Blocks | None = None,
    *,
    weights: Mapping[str, float],
    value: float = 0.0,
    seedless: tuple[bool, bool] = (False, False),
) -> Difference:
    """Estimate ``sum_k weight_k (mean left_k - mean right_k) - value`` over sources k.

    Weights of 1/k give the difference of the averages over sources; weights of +1 and -1 without
    ``right`` compare two columns of one learner.

    With one seed on a side the networks are taken as given: the variance is that of
    :func:`~metabench.stats.field_interval` of the differences per episode (scores averaged over
    the seeds of the other side), the distribution normal.

    With several seeds on both sides, seeds and episodes are random and crossed, since all seeds
    face the same episodes. The variance is ``s_l^2/S_l + s_r^2/S_r + e``: s^2 is the variance of
    the means of single runs, and e the variance of the episodes' differences over their number,
    less what of it is in s^2 already (the interaction's mean square). :func:`degrees_of_freedom`
    gives those of Student's t. The 95 % interval holds the truth in 93 to 97 % of cases at 2 + 2,
    3 + 3 and 10 + 3 seeds, also where the seeds of one side spread four times as far and where
    seeds or episodes have heavy tails (tests/harness/stats/test_stats_coverage.py). Two seeds
    against more have no interval: it would hold in 90 % (:func:`uneven_seeds`).

    A predictor without training has no seeds: its runs are equal. The seeds of the other side are
    then the only random ones, and between two of them only the episodes are.

    Args:
        left: scores ``[seeds, episodes]`` by source.
        right: the same episodes in the same order.
        weights: by source; others are left out.
        value: a fixed number to compare with.
        seedless: which side has no seeds; it has one row.

    Raises:
        ValueError: when a source has no episode, or two seeds are held against more.
    """
    sides = [left] if right is None else [left, right]
    runs = [run_means(side, weights) for side in sides]
    n_seeds = [0 if none else len(run) for run, none in zip(runs, seedless, strict=False)]
    if min(n_seeds) and right is not None and (reason := uneven_seeds(*n_seeds)):
        raise ValueError(reason)
    mean = float(differences(runs[0].mean(), value + (runs[1].mean() if len(runs) > 1 else 0.0)))
    parts = variance_parts(left, right, weights=weights, seedless=seedless)
    drawn = [n for n in n_seeds if n]
    seeds = [var / n for var, n in zip(parts.seeds, drawn, strict=True)] if parts.seeds else []
    total = sum(seeds) + parts.episodes
    return Difference(
        mean=mean,
        standard_error=math.sqrt(total),
        degrees=degrees_of_freedom(total, seeds, drawn),
        n_episodes=sum(left[source].shape[1] for source in weights),
        n_seeds=(n_seeds[0], n_seeds[1] if right is not None else 0),
    )


@dataclass(frozen=True, slots=True)
class VarianceParts:
    """What the variance of a difference is made of, in the squared unit of the scores.

    Attributes:
        seeds: variance of the means of single runs on each side that has seeds, which more seeds
            divide; empty with one seed on a side.
        episodes: what more seeds do not shrink, and more episodes do.
    """

    seeds: tuple[float, ...]
    episodes: float


def variance_parts(
    left: Blocks,
    right: Blocks | None = None,
    *,
    weights: Mapping[str, float],
    seedless: tuple[bool, bool] = (False, False),
) -> VarianceParts:
    """Split the variance that :func:`contrast` describes; it takes the same arguments."""
    sides = [left] if right is None else [left, right]
    seeded = [side for side, none in zip(sides, seedless, strict=False) if not none]
    runs = [run_means(side, weights) for side in seeded]
    several = min((len(run) for run in runs), default=0) > 1
    ddof = 1 if several else 0
    episodes = 0.0
    for source, weight in weights.items():
        means = [side[source].mean(axis=0) for side in sides]
        values = means[0] - (means[1] if right is not None else 0.0)
        # A single episode, such as a whole test set, is no sample: only the seeds are random.
        alone = 0.0 if several else math.nan
        variance = float(values.var(ddof=ddof)) if len(values) > 1 else alone
        if several and len(values) > 1:
            blocks = (side[source] for side in seeded)
            variance -= sum(_interaction(block) / len(block) for block in blocks)
        episodes += weight**2 * variance / len(values)
    seeds = tuple(float(run.var(ddof=1)) for run in runs) if several else ()
    return VarianceParts(seeds, max(episodes, 0.0))


def run_means(side: Blocks, weights: Mapping[str, float]) -> NDArray[np.float64]:
    """The weighted sum of the sources' means, one per run.

    Raises:
        ValueError: when a source has no episode.
    """
    for source in weights:
        if not side[source].size:
            raise ValueError(f"there is no episode of {source}")
    means = [w * side[source].mean(axis=1) for source, w in weights.items()]
    return np.asarray(np.sum(means, axis=0), dtype=np.float64)


def _interaction(scores: NDArray[np.float64]) -> float:
    """Mean square of what neither the seed nor the episode explains."""
    seeds, n = scores.shape
    by_seed = scores.mean(axis=1, keepdims=True)
    by_episode = scores.mean(axis=0, keepdims=True)
    rest = scores - by_seed - by_episode + scores.mean()
    return float((rest**2).sum() / ((seeds - 1) * (n - 1)))


def uneven_seeds(left: int, right: int) -> str:
    """Why so many seeds on the two sides give no interval of the learners; "" where they do.

    Two seeds may lie close together by chance. Against more seeds, which then seem to make most of
    the variance, the degrees of freedom come out too many.

    >>> uneven_seeds(5, 2)
    'with 5 and 2 seeds, each side needs at least 3'
    >>> uneven_seeds(2, 2), uneven_seeds(5, 3), uneven_seeds(5, 1)
    ('', '', '')
    """
    if left == right or min(left, right) == 1 or min(left, right) >= ENOUGH_SEEDS:
        return ""
    return f"with {left} and {right} seeds, each side needs at least {ENOUGH_SEEDS}"


def adjusted_too_far(left: int, right: int, *, n_pairs: int) -> str:
    """Why so many seeds give no interval that is adjusted for several pairs; "" where they do.

    Two seeds may lie close together by chance. Intervals of 95 % allow for that, those of higher
    levels too little: of 99.8 %, they miss the truth in up to 1.7 % of cases, not in 0.2 %, and in
    up to 3.6 % where the other side has no seeds.

    Args:
        left: seeds of one side; 0 of a fixed number, and of a predictor that has none.
        right: of the other side.
        n_pairs: how many pairs the interval is adjusted for.

    >>> adjusted_too_far(2, 2, n_pairs=25)
    'with 2 seeds, intervals adjusted for 25 pairs are too narrow: each side needs at least 3'
    >>> adjusted_too_far(0, 2, n_pairs=25)
    'with 2 seeds, intervals adjusted for 25 pairs are too narrow: it takes at least 3'
    >>> adjusted_too_far(2, 2, n_pairs=1), adjusted_too_far(3, 3, n_pairs=25)
    ('', '')
    """
    seeds = [n for n in (left, right) if n]
    if n_pairs == 1 or min(seeds, default=0) != ENOUGH_SEEDS - 1:
        return ""
    return (
        f"with {min(seeds)} seeds, intervals adjusted for {n_pairs:,} pairs are too narrow: "
        f"{'each side needs' if len(seeds) > 1 else 'it takes'} at least {ENOUGH_SEEDS}"
    )


def degrees_of_freedom(total: float, parts: Sequence[float], n_seeds: Sequence[int]) -> float:
    """Satterthwaite's of the parts, divided by their share of the total; infinite with no part.

    With V the sum of the parts, these are ``V^2 / sum(part^2 / (n - 1)) * total / V``
    (Satterthwaite 1946). His formula for the total has ``(total / V)^2``, as if the parts were
    known. But where few seeds lie close together by chance, V and the total are both too small: at
    2 + 2 seeds that spread unequally, the interval would then hold the truth in 90 % of cases.

    Args:
        total: the variance, which may hold more than the parts.
        parts: variances that are estimated from seeds, over their number.
        n_seeds: of each part.
    """
    if not parts:
        return math.inf
    spread = sum(part * part / (n - 1) for part, n in zip(parts, n_seeds, strict=True))
    return sum(parts) * total / spread if spread else float(sum(n_seeds) - len(n_seeds))


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


def left_out(keys: Sequence[NDArray[np.object_]]) -> int:
    """How many episodes only some of the sequences of keys have.

    >>> left_out([np.array(list("abc")), np.array(list("cd"))])
    3
    """
    first = keys[0]
    if all(np.array_equal(first, other) for other in keys[1:]):
        return 0
    places = [_places(sequence).keys() for sequence in keys]
    return len(set().union(*places)) - len(set(places[0]).intersection(*places[1:]))


def _places(keys: NDArray[np.object_]) -> dict[tuple[str, int], int]:
    """From (key, how often it stood before) to its position."""
    seen: dict[str, int] = {}
    places = {}
    for position, key in enumerate(keys):
        occurrence = seen.get(key, 0)
        seen[key] = occurrence + 1
        places[key, occurrence] = position
    return places
