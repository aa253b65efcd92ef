"""When a difference supports a claim: one interval per pair, adjusted by Holm's procedure.

Every pair of a claim has one two-sided interval of the *advantage* of the left, positive where it
is better. Its level is the one at which Holm's procedure tests the pair, 5 % over the family, so
that the printed interval is the one that decides:

- ``better``: supported above 0, refuted below 0;
- ``not-worse`` within a margin m: supported above -m, refuted below -m;
- ``close`` within m: supported inside (-m, m), which is an equivalence test (TOST) at 2.5 % on
  each side, the usage of ICH E9; refuted outside.

An interval that contains a bound is undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metabench.papers.claims.schema import Claim, Relation
from metabench.papers.claims.scope import WHOLE, Scope, Verdict
from metabench.stats import (
    Difference,
    equivalence,
    holm,
    holm_levels,
    power_above,
    power_within,
    visible_difference,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """One comparison of a claim.

    Attributes:
        left: what the claim is about.
        right: what it is compared with.
        column: of the table, or the measure.
        verdict: of this pair alone.
        scope: what the verdict holds for; empty if there is no number.
        reason: why there is no number, or what a reader must know of it; may be empty.
        difference: the advantage of the left, positive where it is better; None without a number.
        low: lower end of its interval.
        high: upper end.
        level: of the interval, such as 0.95.
        p: the smallest level at which the pair is decided, adjusted after Holm.
        visible: how far from 0, or beyond the margin, the true difference must be so that the pair
            is decided with probability 0.8.
        if_equal: probability that it would have been supported at a true difference of 0; None for
            ``better``, which 0 does not support.
        unit: ``%``, or the name of the metric.
    """

    left: str
    right: str
    column: str
    verdict: Verdict = "undecided"
    scope: Scope = WHOLE
    reason: str = ""
    difference: Difference | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    p: float | None = None
    visible: float | None = None
    if_equal: float | None = None
    unit: str = ""

    @property
    def said(self) -> str:
        """The verdict with its scope."""
        return self.scope.of(self.verdict)


def judge_pairs(claim: Claim, pairs: Sequence[PairResult]) -> list[PairResult]:
    """Give every pair with a difference its interval and verdict; the others count as p = 1."""
    margin = claim.margin or 0.0
    raw = [
        1.0 if pair.difference is None else deciding_p(pair.difference, claim.relation, margin)
        for pair in pairs
    ]
    judged = []
    for pair, alpha, p in zip(pairs, holm_levels(raw), holm(raw), strict=True):
        if pair.difference is None:
            judged.append(pair)
            continue
        low, high = pair.difference.interval(alpha)
        judged.append(
            replace(
                pair,
                verdict=verdict_of(low, high, claim.relation, margin),
                low=low,
                high=high,
                level=1 - alpha,
                p=p,
                visible=visible_difference(pair.difference, alpha=alpha),
                if_equal=_if_equal(pair.difference, claim.relation, margin, alpha),
            )
        )
    return judged


def _if_equal(
    difference: Difference, relation: Relation, margin: float, alpha: float
) -> float | None:
    if relation == "better":
        return None
    power = power_within if relation == "close" else power_above
    return power(difference, margin=margin, alpha=alpha)


def deciding_p(difference: Difference, relation: Relation, margin: float) -> float:
    """The smallest alpha at which the interval of level 1 - alpha decides, either way."""
    above, below = difference.p_above, difference.p_below
    if relation == "close":
        inside = equivalence(difference, margin=margin).p
        return 2 * min(inside, above(margin), below(-margin))
    bound = 0.0 if relation == "better" else -margin
    return 2 * min(above(bound), below(bound))


def verdict_of(low: float, high: float, relation: Relation, margin: float) -> Verdict:
    """What an interval of the advantage says.

    >>> verdict_of(-0.2, 0.1, "not-worse", 0.3)
    'supported'
    """
    if relation == "close":
        if -margin < low and high < margin:
            return "supported"
        return "refuted" if high < -margin or low > margin else "undecided"
    bound = 0.0 if relation == "better" else -margin
    if low > bound:
        return "supported"
    return "refuted" if high < bound else "undecided"
