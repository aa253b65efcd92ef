"""Each bootstrap has the level that its caption says: at 94 % it were 4 % narrower.

With this many resamples, chance moves a width by 0.5 %. The scores are quantiles of the normal
distribution, so that the width is known.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from metabench.stats import bootstrap_interval, hierarchical_bootstrap, spread_ratio

RESAMPLES = 40_000
N = 200
NORMAL = NormalDist()
SCORES = np.array([NORMAL.inv_cdf((i + 0.5) / N) for i in range(N)])
WIDTH = 2 * NORMAL.inv_cdf(0.975)
"""Of a 95 % interval, in standard errors."""
NEAR = 0.015
"""More than three standard errors of a width, and far less than one level of 94 % would make."""


def test_a_row_of_episodes() -> None:
    found = bootstrap_interval(SCORES, resamples=RESAMPLES)
    assert 2 * found.half_width == pytest.approx(WIDTH * SCORES.std() / math.sqrt(N), rel=NEAR)


def test_one_seed_on_each_side() -> None:
    left, right = ({"all": scores[None]} for scores in (SCORES, np.zeros(N)))
    found = hierarchical_bootstrap(left, right, weights={"all": 1.0}, resamples=RESAMPLES)
    error = SCORES.std() / math.sqrt(N)
    assert found.high - found.low == pytest.approx(WIDTH * error, rel=NEAR)
    assert -found.low == pytest.approx(found.high, rel=2 * NEAR)  # as much on either side


def test_the_ratio_of_two_spreads() -> None:
    """The log of a standard deviation varies by (k - 1) / 4n, with the kurtosis k of the scores."""
    kurtosis = float((SCORES**4).mean() / (SCORES**2).mean() ** 2)
    error = math.sqrt((kurtosis - 1) / 4 * (2 / N))
    found = spread_ratio(SCORES[None], N, resamples=RESAMPLES)
    assert math.log(found.high / found.low) == pytest.approx(WIDTH * error, rel=NEAR)
