"""Contrasts and the hierarchical bootstrap, on numbers worked out by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from metabench.stats import (
    Difference,
    average_interval,
    contrast,
    field_interval,
    hierarchical_bootstrap,
)
from metabench.stats.paired import degrees_of_freedom


def blocks(**scores: list[list[float]]) -> dict[str, np.ndarray]:
    return {name: np.array(rows, dtype=np.float64) for name, rows in scores.items()}


def test_one_seed_gives_the_field_interval_of_the_differences():
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 50))
    found = contrast({"a": left[None]}, {"a": right[None]}, weights={"a": 1.0})
    field = field_interval(left - right)
    low, high = found.interval()
    assert found.mean == pytest.approx(field.mean)
    assert (high - low) / 2 == pytest.approx(field.half_width, rel=1e-4)  # 1.95996, not 1.96
    assert (found.n_episodes, found.n_seeds) == (50, (1, 1))
    assert not found.speaks_of_learners


def test_the_average_adds_the_sources_variances():
    rng = np.random.default_rng(1)
    left = {name: rng.random((1, n)) for name, n in (("a", 40), ("b", 60))}
    found = contrast(left, weights={"a": 0.5, "b": 0.5})
    average = average_interval([field_interval(left[name][0]) for name in "ab"])
    assert found.mean == pytest.approx(average.mean)
    assert 1.96 * found.standard_error == pytest.approx(average.half_width)
    assert found.n_episodes == 100


def test_a_fixed_number_is_taken_off():
    found = contrast(blocks(a=[[0.0, 2.0]]), weights={"a": 1.0}, value=0.25)
    assert found.mean == pytest.approx(0.75)
    assert found.standard_error == pytest.approx(1 / math.sqrt(2))


def test_seeds_and_episodes_without_interaction():
    """Additive effects: run means 1, 3 on the left, 0, 4 on the right; no episode differs."""
    left = blocks(a=[[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]])
    right = blocks(a=[[-1.0, 0.0, 1.0], [3.0, 4.0, 5.0]])
    found = contrast(left, right, weights={"a": 1.0})
    # s^2 is 2 and 8, each over 2 seeds: 1 + 4. Degrees: 25 / (1 + 16).
    assert found.mean == pytest.approx(0.0)
    assert found.standard_error == pytest.approx(math.sqrt(5))
    assert found.degrees == pytest.approx(25 / 17)
    assert found.n_seeds == (2, 2)
    assert found.speaks_of_learners


def test_degrees_are_those_of_the_seeds_over_their_share_of_the_variance():
    # Parts 1 and 2 of a total of 6, of 3 and 5 seeds: 9 / (1/2 + 4/4) = 6, over a share of 1/2.
    assert degrees_of_freedom(6.0, [1.0, 2.0], [3, 5]) == pytest.approx(12.0)
    assert degrees_of_freedom(3.0, [1.0, 2.0], [3, 5]) == pytest.approx(6.0)
    assert degrees_of_freedom(1.0, [0.0, 0.0], [3, 5]) == 6.0
    assert math.isinf(degrees_of_freedom(1.0, [], []))


def test_the_interaction_is_counted_once():
    """Seeds differ in the episodes that they find hard, not in their means."""
    right = blocks(a=[[0.0, 0.0], [0.0, 0.0]])
    found = contrast(blocks(a=[[7.0, -5.0], [3.0, -1.0]]), right, weights={"a": 1.0})
    # The episodes' means 5 and -3 have variance 32, of which 16/2 is the interaction's.
    assert found.standard_error == pytest.approx(math.sqrt((32 - 16 / 2) / 2))
    found = contrast(blocks(a=[[1.0, -1.0], [-1.0, 1.0]]), right, weights={"a": 1.0})
    assert found.standard_error == 0.0  # (0 - 4/2)/2 for the episodes: floored


def test_the_variance_of_crossed_seeds_and_episodes_is_that_of_plain_loops():
    rng = np.random.default_rng(5)
    sizes, weights = {"a": 7, "b": 5}, {"a": 0.75, "b": 0.25}
    sides = [
        {
            k: 3 * rng.normal(size=n) + rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, n))
            for k, n in sizes.items()
        }
        for seeds in (3, 4)
    ]
    parts = []
    for side in sides:
        runs = [
            sum(w * statistics.mean(side[k][s]) for k, w in weights.items())
            for s in range(len(side["a"]))
        ]
        parts.append(statistics.variance(runs) / len(runs))
    episodes = counted = 0.0
    for k, n in sizes.items():
        gaps = [
            statistics.mean(sides[0][k][:, e]) - statistics.mean(sides[1][k][:, e])
            for e in range(n)
        ]
        own = sum(interaction(side[k].tolist()) / len(side[k]) for side in sides)
        counted += weights[k] ** 2 * own / n
        episodes += weights[k] ** 2 * (statistics.variance(gaps) - own) / n
    total = sum(parts) + episodes
    assert min(*parts, episodes, counted) > 0.01 * total
    found = contrast(*sides, weights=weights)
    assert found.standard_error == pytest.approx(math.sqrt(total))
    spread = parts[0] ** 2 / 2 + parts[1] ** 2 / 3
    assert found.degrees == pytest.approx(sum(parts) * total / spread)
    low, high = found.interval()
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, found.degrees) * math.sqrt(total))


def interaction(rows: list[list[float]]) -> float:
    """The mean square of what neither seed nor episode explains, of ``rows[seed][episode]``."""
    seeds, n = len(rows), len(rows[0])
    of_seed = [statistics.mean(row) for row in rows]
    of_episode = [statistics.mean(row[e] for row in rows) for e in range(n)]
    mean = statistics.mean(of_seed)
    rest = [
        (rows[s][e] - of_seed[s] - of_episode[e] + mean) ** 2
        for s in range(seeds)
        for e in range(n)
    ]
    return sum(rest) / ((seeds - 1) * (n - 1))


def test_a_single_episode_leaves_the_seeds_alone():
    found = contrast(blocks(a=[[1.0], [3.0]]), weights={"a": 1.0})
    assert found.standard_error == pytest.approx(1.0)  # std sqrt(2) over sqrt(2)
    assert found.degrees == 1
    assert math.isnan(contrast(blocks(a=[[1.0]]), weights={"a": 1.0}).standard_error)


def test_one_side_with_one_seed_speaks_of_these_networks():
    found = contrast(blocks(a=[[1.0, 2.0], [3.0, 4.0]]), blocks(a=[[1.0, 1.0]]), weights={"a": 1.0})
    assert found.mean == pytest.approx(1.5)
    assert not found.speaks_of_learners
    assert "n = 2 episodes" in found.words()


def test_a_source_without_episodes_is_refused():
    with pytest.raises(ValueError, match="no episode of a"):
        contrast({"a": np.empty((1, 0))}, weights={"a": 1.0})


def test_p_values_and_intervals_agree():
    found = Difference(mean=1.0, standard_error=0.5, degrees=4.0, n_episodes=9, n_seeds=(3, 3))
    # t = 2 with 4 degrees of freedom: 0.0581 on one side.
    assert found.p_above(0.0) == pytest.approx(0.058058, abs=1e-6)
    assert found.p_below(0.0) == pytest.approx(1 - 0.058058, abs=1e-6)
    low, _ = found.interval(2 * found.p_above(0.0))
    assert low == pytest.approx(0.0, abs=1e-8)
    low, high = found.interval(found.p_two_sided())
    assert min(abs(low), abs(high)) == pytest.approx(0.0, abs=1e-8)
    assert found.p_two_sided() == pytest.approx(2 * stats.t.sf(2.0, 4))


def test_equal_scores_leave_everything_open():
    found = contrast(blocks(a=[[1.0, 1.0]]), blocks(a=[[1.0, 1.0]]), weights={"a": 1.0})
    assert found.interval() == (0.0, 0.0)
    assert (found.p_above(0.0), found.p_above(-1.0), found.p_above(1.0)) == (0.5, 0.0, 1.0)
    assert found.p_two_sided() == 1.0


def test_the_bootstrap_of_one_seed_is_near_the_field_interval():
    rng = np.random.default_rng(2)
    left, right = ({"a": rng.random((1, 500)), "b": rng.random((1, 400))} for _ in range(2))
    weights = {"a": 0.5, "b": 0.5}
    found = hierarchical_bootstrap(left, right, weights=weights)
    field = contrast(left, right, weights=weights)
    assert found.mean == pytest.approx(field.mean)
    low, high = field.interval()
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))
    assert found.high - found.low == pytest.approx(high - low, rel=0.05)  # of 90 %: 0.84 times
    assert "2,000 hierarchical bootstrap" in found.words()
    assert found.words().endswith("1 and 1 seeds, n = 900 episodes")


def test_the_bootstrap_draws_seeds_on_each_side():
    """Two runs each, without spread over episodes: a side's mean is its low, middle or high one."""
    left, right = blocks(a=[[0.0] * 9, [1.0] * 9]), blocks(a=[[5.0] * 9, [5.0] * 9])
    found = hierarchical_bootstrap(left, right, weights={"a": 1.0})
    assert (found.low, found.mean, found.high) == (-5.0, -4.5, -4.0)
    assert found.n_seeds == (2, 2)


def test_the_bootstrap_shares_the_episodes_between_seeds():
    """All seeds find the same episode hard: drawn anew in each, the interval were narrower."""
    rng = np.random.default_rng(3)
    episodes = rng.random((1, 100))
    many = hierarchical_bootstrap({"a": np.repeat(episodes, 8, axis=0)}, weights={"a": 1.0})
    one = hierarchical_bootstrap({"a": episodes}, weights={"a": 1.0})
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.1)


def test_the_bootstrap_is_deterministic():
    scores = {"a": np.random.default_rng(4).random((3, 30))}
    first, again, other = (
        hierarchical_bootstrap(scores, weights={"a": 1.0}, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
