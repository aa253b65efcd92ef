import math

import numpy as np
import pytest

from metabench.stats import spread, spread_ratio


def test_the_spread_of_several_seeds_is_the_rms_of_theirs():
    scores = np.array([[0.0, 6.0], [1.0, 3.0]])
    assert spread(scores) == pytest.approx(math.sqrt((9 + 1) / 2))


@pytest.mark.parametrize(("n", "n_other"), [(1000, 1000), (400, 4000), (4000, 400)])
def test_for_normal_scores_the_bounds_are_those_of_theory(n, n_other):
    """The log of a normal sample's standard deviation varies by sqrt(1 / 2n)."""
    scores = np.random.default_rng(0).normal(3.0, 2.0, (1, n))
    found = spread_ratio(scores, n_other)
    expected = 1.96 * math.sqrt(1 / (2 * n) + 1 / (2 * n_other))
    assert math.log(found.high) == pytest.approx(expected, rel=0.25)
    assert -math.log(found.low) == pytest.approx(expected, rel=0.25)


def test_another_sample_of_the_same_scores_lies_within_nearly_always():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        mine, other = rng.exponential(size=(1, 500)), rng.exponential(size=(1, 300))
        hits += spread(other) / spread(mine) in spread_ratio(mine, 300, resamples=200)
    assert 0.88 <= hits / 200 <= 1.0


def test_heavier_tails_widen_the_bounds():
    rng = np.random.default_rng(2)
    light = spread_ratio(rng.normal(size=(1, 500)), 500)
    heavy = spread_ratio(rng.standard_t(3, size=(1, 500)), 500)
    assert heavy.low < light.low < 1 < light.high < heavy.high


def test_seeds_of_different_spread_widen_them_as_the_other_is_one_network():
    scores = np.random.default_rng(3).normal(size=(2, 500))
    alike, apart = spread_ratio(scores, 500), spread_ratio(scores * [[1.0], [3.0]], 500)
    assert apart.low < 0.5 < alike.low
    assert alike.high < 1.3 < apart.high


def test_the_unit_does_not_matter_and_the_same_seed_gives_the_same():
    scores = np.random.default_rng(4).uniform(size=(1, 100))
    found = spread_ratio(scores, 50)
    assert spread_ratio(scores, 50) == found
    assert spread_ratio(100 * scores, 50).high == pytest.approx(found.high)


@pytest.mark.parametrize(("score", "low", "high"), [([1.0] * 5, 1, 1), ([0, 0, 0, 1], 0, math.inf)])
def test_resamples_without_spread_are_counted(score, low, high):
    found = spread_ratio(np.array([score], dtype=float), 4)
    assert (found.low, found.high) == (low, high)
    assert 1.0 in found
