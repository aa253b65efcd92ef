"""When an interval bears a claim out: margins, Holm's levels, what could have been seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from claim_factory import add, claim, judged

from metabench.papers.claims.intervals import PairResult, deciding_p, judge_pairs, verdict_of
from metabench.papers.claims.sentences import deciding
from metabench.stats import Difference


def test_not_worse_within_a_margin(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    add(tmp_path, "maml", level=0.52)
    wide = claim(id="wide", relation="not-worse", margin=4)
    between = claim(id="between", relation="not-worse", margin=2)
    narrow = claim(id="narrow", relation="not-worse", margin=0.5)
    verdicts = [found.verdict for found in judged(tmp_path, wide, between, narrow)]
    assert verdicts == ["supported", "undecided", "refuted"]


def test_close_is_a_test_of_equivalence(tmp_path: Path) -> None:
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    add(tmp_path, "maml", level=0.52)
    verdicts = [
        found.verdict
        for found in judged(
            tmp_path,
            *(claim(id=f"m{i}", relation="close", margin=m) for i, m in enumerate((4, 2, 0.5))),
        )
    ]
    assert verdicts == ["supported", "undecided", "refuted"]


def test_an_undecided_margin_says_what_it_could_have_shown(tmp_path: Path) -> None:
    """2 % points below, +-5 points on 80 episodes: half-width 1.10, standard error 0.559."""
    add(tmp_path, "mnas", level=0.5, noise=0.05)
    add(tmp_path, "maml", level=0.52)
    wide, worse, narrow, unless = (
        deciding(found)
        for found in judged(
            tmp_path,
            claim(id="wide", relation="close", margin=1.5),
            claim(id="worse", relation="not-worse", margin=1.5),
            claim(id="narrow", relation="close", margin=1),
            claim(id="unless", relation="not-worse", margin=1),
        )
    )
    # P(|z| < 1.5/0.559 - 1.96) and P(z < the same); 1.5 + (1.96 + 0.84) 0.559 beyond.
    assert (
        "; at a true difference of 0 the claim would be supported with probability 0.53; at a true "
        in wide
    )
    assert (
        "at a true difference of ±3.07 points it would be refuted with probability 0.8. Interval"
        in wide
    )
    assert (
        "; at a true difference of 0 the claim would be supported with probability 0.77; at a true "
        in worse
    )
    assert (
        "at a true difference of -3.07 points it would be refuted with probability 0.8. Interval"
        in worse
    )
    cannot = (
        "the half-width 1.10 exceeds the margin of 1 point, so these data cannot support the claim"
    )
    assert f"; {cannot}; at a true difference of ±2.57 points it would be refuted" in narrow
    assert f"; {cannot} unless the left is better; at a true difference of -2.57 points" in unless
    assert "would be detected" not in wide + worse + narrow + unless


def test_holm_widens_the_intervals_of_a_family() -> None:
    def pair(mean: float) -> PairResult:
        number = Difference(
            mean=mean, standard_error=1.0, degrees=float("inf"), n_episodes=9, n_seeds=(1, 1)
        )
        return PairResult(left="a", right="b", column="c", difference=number)

    first, second = judge_pairs(claim(), [pair(2.1), pair(9.0)])
    assert second.level == pytest.approx(0.975)  # the smaller p is tested first
    assert (first.level, first.verdict) == (pytest.approx(0.95), "supported")
    (first, second) = judge_pairs(claim(), [pair(2.1), PairResult(left="a", right="c", column="c")])
    assert (first.level, first.verdict) == (pytest.approx(0.975), "undecided")
    assert second.p is None


@pytest.mark.parametrize("relation", ["better", "not-worse", "close"])
@pytest.mark.parametrize("mean", [-2.0, -0.9, -0.3, 0.0, 0.4, 1.3])
def test_the_deciding_p_is_the_level_at_which_the_interval_decides(
    relation: Any, mean: float
) -> None:
    found = Difference(mean=mean, standard_error=0.3, degrees=7.0, n_episodes=9, n_seeds=(4, 5))
    p = deciding_p(found, relation, 0.8)
    if p == pytest.approx(1.0):
        return
    assert verdict_of(*found.interval(p * 1.01), relation, 0.8) != "undecided"
    assert verdict_of(*found.interval(p * 0.99), relation, 0.8) == "undecided"
