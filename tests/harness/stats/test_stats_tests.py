"""Wilcoxon, Holm, equivalence, power, ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metabench.stats import (
    CriticalDifference,
    Difference,
    VarianceParts,
    contrast,
    critical_difference,
    episodes_needed,
    equivalence,
    holm,
    holm_levels,
    power_above,
    power_of,
    power_within,
    seeds_needed,
    standardized_difference,
    visible_difference,
    wilcoxon,
)
from metabench.stats.distributions import quantile
from metabench.stats.words import p_value


def difference(mean: float, error: float, degrees: float = math.inf) -> Difference:
    return Difference(
        mean=mean, standard_error=error, degrees=degrees, n_episodes=100, n_seeds=(1, 1)
    )


def test_wilcoxon_of_five_pairs_by_hand():
    # All five differences positive: 2 of the 2^5 sign patterns are as extreme.
    found = wilcoxon([2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.p == pytest.approx(2 / 32)
    assert (found.n, found.n_equal) == (5, 0)


def test_wilcoxon_leaves_equal_pairs_out():
    found = wilcoxon([1.0, 1.0, 3.0, 5.0, 9.0], [1.0, 1.0, 2.0, 3.0, 5.0])
    assert (found.n, found.n_equal) == (3, 2)
    assert "3 episodes that differ (2 equal" in found.words()
    assert wilcoxon([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and no smaller than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_levels_decide_as_adjusted_p_values_do():
    rng = np.random.default_rng(0)
    for _ in range(200):
        raw = list(rng.random(5) ** 4)
        by_level = [p <= level for p, level in zip(raw, holm_levels(raw), strict=True)]
        assert by_level == [p <= 0.05 for p in holm(raw)]
    assert holm_levels([0.05, 0.025]) == (0.05, 0.025)  # at its level, a p-value rejects


def test_equivalence_is_the_interval_of_twice_alpha_within_the_margin():
    found = difference(0.1, 0.05)
    margin = 0.1 + 1.6448536 * 0.05  # the upper end of the 90 % interval
    assert equivalence(found, margin=margin).p == pytest.approx(0.05, abs=1e-6)
    assert equivalence(found, margin=0.05).p > 0.5
    assert "± 0.05" in equivalence(found, margin=0.05).words()
    with pytest.raises(ValueError, match="positive margin"):
        equivalence(found, margin=0.0)


def test_standardized_difference_by_hand():
    assert standardized_difference([1.0, 3.0], [0.0, 0.0]) == pytest.approx(2 / math.sqrt(2))
    assert standardized_difference([1.0, 1.0], [0.0, 0.0]) is None


def test_episodes_needed_by_hand():
    # (1.959964 + 0.841621)^2 = 7.848879 times (3/0.5)^2 = 36.
    assert episodes_needed(3.0, difference=-0.5).n == math.ceil(7.848879 * 36)
    assert "probability 0.8" in episodes_needed(3.0, difference=0.5).words()
    with pytest.raises(ValueError, match="no number of episodes"):
        episodes_needed(1.0, difference=0.0)


def test_as_many_seeds_as_needed_have_the_power_and_one_fewer_has_not():
    needed = seeds_needed(VarianceParts((1.0, 1.0), 0.0), difference=-1.5, n_episodes=100)
    # Cohen's table for d = 1.5 and power 0.8 asks for 8 or 9 on each side.
    assert needed.n in (8, 9)
    assert (needed.unit, needed.episodes) == ("seeds on each side", None)

    def power(n: int) -> float:
        return power_of(difference(0.0, math.sqrt(2 / n), 2 * n - 2), size=1.5)

    assert power(needed.n) >= 0.8
    assert power(needed.n - 1) < 0.8


def crossed_power(seeds: int, *, size: float, n: int = 50, trials: int = 2000) -> float:
    """How often :func:`contrast` sees a difference of ``size``, by Monte Carlo.

    Seeds have variance 1 and the rest 1, so run means have 1 + 1/n; what an episode adds to one
    learner has variance 4, so e = 8/n.
    """
    rng = np.random.default_rng(seeds)

    def scores(mean: float) -> dict[str, np.ndarray]:
        of_episode = 2 * rng.normal(size=(1, n))
        return {
            "all": mean + rng.normal(size=(seeds, 1)) + of_episode + rng.normal(size=(seeds, n))
        }

    found = [contrast(scores(size), scores(0.0), weights={"all": 1.0}) for _ in range(trials)]
    return float(np.mean([low > 0 or high < 0 for low, high in (one.interval() for one in found)]))


def test_needed_seeds_count_what_more_seeds_do_not_shrink():
    n = 50
    parts = VarianceParts((1 + 1 / n, 1 + 1 / n), 8 / n)
    needed = seeds_needed(parts, difference=1.5, n_episodes=n)
    assert needed.n == 18  # 2.04/18 + 0.16 = 0.27 < (1.5 / 2.84)^2 < 0.28 = 2.04/17 + 0.16
    assert crossed_power(needed.n, size=1.5) == pytest.approx(0.8, abs=0.03)
    without = seeds_needed(VarianceParts(parts.seeds, 0.0), difference=1.5, n_episodes=n)
    assert without.n == 9
    assert crossed_power(without.n, size=1.5) < 0.68


def test_where_no_number_of_seeds_is_enough_it_asks_for_episodes():
    parts = VarianceParts((1.0, 1.0), 8 / 50)
    needed = seeds_needed(parts, difference=1.0, n_episodes=50)
    assert needed.episodes is not None
    # 7.848879 times 8 is the variance of an episode's difference over the difference squared.
    assert needed.episodes.more_than == math.ceil(7.848879 * 8)
    assert (needed.episodes.n_tested, needed.episodes.n) == (50, 126)
    assert needed.words() == (
        "no number of seeds is enough to detect a true difference of 1 with probability 0.8 "
        "(two-sided test at 0.05) on these 50 episodes; more than 63 episodes are needed, and "
        f"{needed.n} seeds on each side at 126 episodes are enough"
    )
    assert crossed_power(needed.n, size=1.0, n=126) == pytest.approx(0.8, abs=0.03)
    assert crossed_power(60, size=1.0, trials=500) < 0.8


def test_power_does_not_depend_on_the_sign_and_holds_far_out():
    found = difference(0.0, 0.2, 5.0)
    assert power_of(found, size=-0.5) == power_of(found, size=0.5)
    assert power_of(difference(0.0, 1.0, 50.0), size=40.0) == pytest.approx(1.0)


@pytest.mark.parametrize("degrees", [1.1, 3.0, 10.0, math.inf])
def test_the_visible_difference_is_seen_four_times_of_five(degrees: float):
    found = difference(0.0, 0.2, degrees)
    power = power_of(found, size=visible_difference(found))
    assert power == pytest.approx(0.8, abs=1e-5)
    assert power_of(found, size=0.0) == pytest.approx(0.05)


def test_power_is_how_often_a_difference_is_seen():
    rng = np.random.default_rng(1)
    seen = np.mean(np.abs(rng.normal(0.5, 0.2, 20_000)) > 1.96 * 0.2)
    assert power_of(difference(0.0, 0.2), size=0.5) == pytest.approx(seen, abs=0.01)


@pytest.mark.parametrize("degrees", [3.0, 10.0, math.inf])
@pytest.mark.parametrize("margin", [0.3, 0.6, 1.0])
def test_power_within_and_above_a_margin_is_how_often_intervals_lie_there(
    degrees: float, margin: float
):
    """Intervals of a difference whose truth is 0, at three standard errors of 0.2."""
    rng = np.random.default_rng(2)
    means = rng.normal(0.0, 0.2, 40_000)
    spread = 1.0 if math.isinf(degrees) else np.sqrt(rng.chisquare(degrees, 40_000) / degrees)
    half = quantile(0.975, degrees) * 0.2 * spread
    found = difference(0.0, 0.2, degrees)
    within = np.mean((means - half > -margin) & (means + half < margin))
    assert power_within(found, margin=margin) == pytest.approx(within, abs=0.01)
    above = np.mean(means - half > -margin)
    assert power_above(found, margin=margin) == pytest.approx(above, abs=0.01)


def test_no_interval_wider_than_the_margin_lies_within_it():
    assert power_within(difference(0.0, 0.2), margin=0.39) == 0.0  # 1.96 x 0.2 = 0.392
    assert power_within(difference(0.0, 0.0, 4.0), margin=0.1) == 1.0


def test_ranks_need_learners_and_blocks():
    names = ["a", "b", "c"]
    few = critical_difference(np.ones((20, 2)), names[:2], higher_is_better=True)
    assert few == "Ranks need at least 3 learners; there are 2."
    short = critical_difference(np.ones((4, 3)), names, higher_is_better=True)
    assert isinstance(short, str)
    assert "at least 10 blocks; there are 4" in short


def test_ranks_that_differ():
    """In 12 blocks always a before b before c: Friedman's statistic is n (k - 1) = 24."""
    scores = np.tile([0.9, 0.5, 0.1], (12, 1))
    found = critical_difference(scores, ["a", "b", "c"], higher_is_better=True)
    assert isinstance(found, CriticalDifference)
    assert found.ranks == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert found.p == pytest.approx(math.exp(-12))  # chi-squared with two degrees of freedom
    # Demšar's table: q = 2.343 for three; times sqrt(3 * 4 / (6 * 12)).
    assert found.difference == pytest.approx(2.343 * math.sqrt(1 / 6), abs=1e-3)
    assert found.groups == ()
    assert "n = 12 blocks" in found.words()


def test_ranks_turn_round_for_errors_and_group_what_is_near():
    scores = np.tile([[0.9, 0.5, 0.1, 0.11], [0.9, 0.5, 0.11, 0.1]], (6, 1))
    found = critical_difference(scores, ["a", "b", "c", "d"], higher_is_better=False)
    assert isinstance(found, CriticalDifference)
    assert found.ranks == {"c": 1.5, "d": 1.5, "b": 3.0, "a": 4.0}
    # q = 2.569 for four; times sqrt(4 * 5 / (6 * 12)) is 1.35: b is 1.5 off, and 1 from a.
    assert found.groups == (("c", "d"), ("b", "a"))


def test_a_group_that_is_part_of_another_is_not_named():
    turns = [np.roll([0.9, 0.5, 0.1], by) for by in range(3)] * 4
    scores = np.column_stack([turns, np.zeros(12)])
    found = critical_difference(scores, ["a", "b", "c", "d"], higher_is_better=True)
    assert isinstance(found, CriticalDifference)
    assert found.ranks == {"a": 2.0, "b": 2.0, "c": 2.0, "d": 4.0}
    assert found.groups == (("a", "b", "c"),)


@pytest.mark.parametrize("scores", [np.ones((12, 3)), np.random.default_rng(2).random((12, 3))])
def test_without_friedmans_consent_no_pair_is_told_apart(scores: np.ndarray):
    found = critical_difference(scores, ["a", "b", "c"], higher_is_better=True)
    assert isinstance(found, CriticalDifference)
    assert found.p > 0.05
    assert found.difference is None
    assert len(found.groups) == 1


@pytest.mark.parametrize(("p", "text"), [(None, ""), (0.0, "< 0.0001"), (0.5, "= 0.5")])
def test_p_values_in_words(p: float | None, text: str):
    assert p_value(p) == text


SHUFFLED = np.random.default_rng(0).integers(0, 76, (3, 600)) / 75
"""Accuracies of three seeds; their mean depends on the order by rounding alone."""


def test_what_rounding_leaves_of_equal_means_is_no_difference():
    left, right = SHUFFLED.mean(axis=0), SHUFFLED[[2, 0, 1]].mean(axis=0)
    assert (left != right).any()
    found = wilcoxon(left, right)
    assert (found.p, found.n, found.n_equal) == (1.0, 0, 600)
    assert standardized_difference(left, right) is None
    changed = right.copy()
    changed[:20] += 1 / 75
    assert (wilcoxon(left, changed).n, wilcoxon(changed, left).n_equal) == (20, 580)


def test_equal_differences_have_no_spread_but_that_of_rounding():
    assert standardized_difference([0.3, 0.4, 0.5], [0.2, 0.3, 0.4]) is None
    assert standardized_difference([0.3, 0.4, 0.6], [0.2, 0.3, 0.4]) == pytest.approx(4 / 3**0.5)


def test_one_network_against_itself_with_several_seeds_is_undecided():
    """Three times 0.1 over 3 is more than 0.1."""
    one, three = np.full((1, 40), 0.1), np.full((3, 40), 0.1)
    found = contrast({"a": three}, {"a": one}, weights={"a": 1.0})
    assert found.mean == 0
    low, high = found.interval()
    assert low <= 0 <= high


def test_learners_with_equal_means_are_tied_whatever_the_order_of_their_seeds():
    orders = ([0, 1, 2], [2, 0, 1], [1, 2, 0])
    scores = np.stack([SHUFFLED[order].mean(axis=0) for order in orders], axis=1)
    assert (scores != scores[:, :1]).any()
    found = critical_difference(scores, ["a", "b", "c"], higher_is_better=True)
    assert isinstance(found, CriticalDifference)
    assert (found.p, set(found.ranks.values())) == (1.0, {2.0})
