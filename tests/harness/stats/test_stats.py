import builtins
import math

import numpy as np
import pytest

from metabench.errors import UsageError
from metabench.stats import (
    Interval,
    average_interval,
    bootstrap_interval,
    field_interval,
    seeds_interval,
    shared_positions,
)

FIXED = [0.2, 0.4, 0.4, 0.8, 1.0]


def covers(interval: Interval, truth: float) -> bool:
    return abs(interval.mean - truth) <= interval.half_width


def keys(*names: str) -> np.ndarray:
    return np.array(names, dtype=object)


def test_field_interval_of_a_fixed_vector():
    interval = field_interval(FIXED)
    # Squared deviations from 0.56: .1296 + .0256 + .0256 + .0576 + .1936 = .432; ddof 0.
    assert interval.mean == pytest.approx(0.56, abs=1e-15)
    assert interval.half_width == pytest.approx(
        1.96 * math.sqrt(0.432 / 5) / math.sqrt(5), rel=1e-14
    )
    assert interval.n == 5


def test_field_interval_of_ones_and_zeros_is_that_of_a_proportion():
    p, n = 0.3, 1000
    interval = field_interval([1.0] * 300 + [0.0] * 700)
    assert interval.half_width == pytest.approx(1.96 * math.sqrt(p * (1 - p) / n), rel=1e-12)


def test_average_is_the_plain_mean_whatever_the_sizes():
    average = average_interval([Interval(0.9, 0.01, 10), Interval(0.5, 0.02, 1000)])
    assert average.mean == pytest.approx(0.7)
    assert average.half_width == pytest.approx(math.sqrt(0.01**2 + 0.02**2) / 2)
    assert average.n == 1010


def test_average_of_one_source_is_that_source():
    interval = field_interval(FIXED)
    assert average_interval([interval]) == interval


def test_seeds_interval_uses_student_with_ddof_1():
    interval = seeds_interval([0.9, 0.92, 0.94])
    # t(0.975, 2) = 4.302653, std with ddof 1 = 0.02.
    assert interval.mean == pytest.approx(0.92)
    assert interval.half_width == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)
    assert interval.n == 3


@pytest.mark.parametrize("make", [field_interval, seeds_interval, bootstrap_interval])
def test_one_value_has_no_half_width(make):
    interval = make([0.5])
    assert interval.mean == 0.5
    assert interval.n == 1
    assert math.isnan(interval.half_width)


@pytest.mark.parametrize("make", [field_interval, seeds_interval, bootstrap_interval])
@pytest.mark.parametrize("scores", [[], [[0.1, 0.2]]])
def test_what_is_not_a_row_of_scores_is_refused(make, scores):
    with pytest.raises(ValueError, match="row of scores"):
        make(scores)


def test_bootstrap_is_deterministic_and_depends_on_its_seed():
    scores = np.random.default_rng(1).random(50)
    assert bootstrap_interval(scores) == bootstrap_interval(scores)
    assert bootstrap_interval(scores, seed=1) != bootstrap_interval(scores)


def test_bootstrap_of_many_episodes_is_near_the_field_interval():
    scores = np.random.default_rng(2).random(3000)  # more than one chunk of resamples
    field, bootstrap = field_interval(scores), bootstrap_interval(scores)
    assert bootstrap.mean == field.mean
    assert bootstrap.half_width == pytest.approx(field.half_width, rel=0.08)


def test_bootstrap_of_skewed_scores_is_as_wide_as_of_their_mirror_image():
    scores = np.random.default_rng(8).exponential(size=30)
    found, mirrored = bootstrap_interval(scores), bootstrap_interval(-scores)
    assert found.half_width == pytest.approx(mirrored.half_width, rel=1e-9)


def test_scipy_missing_is_a_usage_error_with_the_command_that_helps(monkeypatch):
    importer = builtins.__import__

    def without_scipy(name, *arguments, **keywords):
        if name.startswith("scipy"):
            raise ImportError(name)
        return importer(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(UsageError, match="scipy") as caught:
        seeds_interval([0.1, 0.2])
    assert caught.value.hint == 'pip install "metabench[stats]"'


def test_coverage_is_near_nominal():
    """95 % of the intervals hold the truth; 1,000 draws leave a standard error of 0.7 points."""
    rng = np.random.default_rng(3)
    normal = rng.normal(0.6, 0.12, size=(1000, 200))
    fields = np.mean([covers(field_interval(row), 0.6) for row in normal])
    seeds = np.mean([covers(seeds_interval(row[:5]), 0.6) for row in normal])
    assert fields == pytest.approx(0.95, abs=0.02)
    assert seeds == pytest.approx(0.95, abs=0.02)


def test_coverage_over_five_seeds_needs_student():
    rng = np.random.default_rng(4)
    normal = rng.normal(size=(1000, 5))
    assert np.mean([covers(field_interval(row), 0.0) for row in normal]) < 0.9


def test_bootstrap_coverage_on_skewed_errors_is_near_nominal():
    rng = np.random.default_rng(5)
    errors = rng.exponential(size=(400, 100))
    found = np.mean([covers(bootstrap_interval(row, resamples=400), 1.0) for row in errors])
    assert found == pytest.approx(0.95, abs=0.035)


def test_coverage_of_the_average_over_unequal_sources_is_near_nominal():
    rng = np.random.default_rng(6)
    found = []
    for _ in range(1000):
        sources = [
            rng.normal(mean, std, 100) for mean, std in ((0.5, 0.1), (0.7, 0.2), (0.9, 0.05))
        ]
        found.append(covers(average_interval([field_interval(s) for s in sources]), 0.7))
    assert np.mean(found) == pytest.approx(0.95, abs=0.02)


def test_paired_is_narrower_than_unpaired_on_correlated_scores():
    rng = np.random.default_rng(7)
    hard = rng.normal(0.6, 0.2, 500)
    first, second = hard + rng.normal(0.02, 0.02, 500), hard + rng.normal(0, 0.02, 500)
    paired = field_interval(first - second)
    unpaired = math.hypot(field_interval(first).half_width, field_interval(second).half_width)
    assert paired.mean == pytest.approx((first - second).mean())
    assert paired.half_width < unpaired / 5
    assert paired.mean - paired.half_width > 0 > (first - second).mean() - unpaired


def test_shared_positions_match_by_key_not_by_position():
    first, second = shared_positions([keys("a", "b", "x"), keys("y", "b", "a")])
    assert first.tolist() == [0, 1]
    assert second.tolist() == [2, 1]


def test_shared_positions_match_repeated_keys_in_their_order():
    first, second = shared_positions([keys("a", "b", "a", "c"), keys("a", "a", "b", "a")])
    assert first.tolist() == [0, 1, 2]
    assert second.tolist() == [0, 2, 1]
