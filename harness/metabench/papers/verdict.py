"""One of our cells against one printed number: a verdict, with the reason in a sentence.

The rule, from the first line that applies:

``not comparable``
    Nothing is printed; or our runs are stamped (smoke, lite, limit, custom, synthetic, subset,
    substitute, ...); or they differ from the paper in protocol or budget, or from the suite in
    parameters; or what suite or learner do otherwise makes another experiment; or we have no
    interval or another unit; or the spread over episodes that the printed half-width implies
    (half-width * sqrt(n) / 1.96, where n and formula are known) is more than a factor of 2 from
    ours, and more than sampling gives: then something in the protocol is not the same, whatever
    the means say.
``differs``
    The difference is larger than sqrt(our half-width^2 + printed half-width^2); without a printed
    half-width: the printed value lies outside our interval. It is signed, ours minus printed.
``inconclusive``
    The means agree, but the two spreads are further apart than sampling gives, or our interval does
    not lie in the printed one and is wider: then the agreement says little.
``match``
    Our 95 % interval lies inside the printed one: equivalent within the paper's own resolution.
``close``
    What is left: the difference is within both intervals, and ours is not wider than the printed.
    Without a printed half-width: the printed value lies in our interval.

The reason names the other deviations of suite and learner from their sources.

What sampling gives is bootstrapped from our episodes (:func:`metabench.stats.spread_ratio`).

Our interval is the one of the table: over seeds where there are several, and the verdict is then
about our learner, not about single networks. With one seed it is over episodes, and the verdict is
about that network. A printed number is mostly one training run of unknown seed, whose interval does
not cover the variation between trainings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metabench.papers.deviation_list import ListedDeviation
from metabench.papers.reference import PrintedCell
from metabench.reports.tables import TableCell
from metabench.results.metrics import number
from metabench.stats import SpreadRatio
from metabench.text import counted

Outcome = Literal["match", "close", "inconclusive", "differs", "not comparable"]

SPREAD_FACTOR = 2.0
"""How far the spreads of two learners under one protocol may lie apart."""

WIDTH_FACTOR = 1.1
"""Above this factor our interval counts as wider. Less is chance: two half-widths of 1,000 normal
scores each lie within 1.96 sqrt(2 / 2,000) = 6 % of each other in 95 % of cases, and heavier tails
vary more."""

_DASH = "the paper prints a dash"
_LOST = "the number that the paper prints here is not known"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says.

    Attributes:
        outcome: one of five.
        reason: why, with the numbers.
        difference: ours minus printed, in the unit; None where nothing is printed, or in another.
        unstated: facts of the protocol that the source does not state, where the numbers were
            compared all the same.
    """

    outcome: Outcome
    reason: str
    difference: float | None
    unstated: tuple[str, ...] = ()


def verdict_on_cell(
    ours: TableCell,
    printed: PrintedCell,
    *,
    spread: float | None,
    chance: SpreadRatio | None,
    deviations: Sequence[str],
    listed: Sequence[ListedDeviation] = (),
) -> Verdict:
    """Compare our cell with a printed one by the rule of this module.

    Args:
        ours: the cell of the table.
        printed: the cell of the paper, in the same unit.
        spread: standard deviation over the episodes of a run, None where it is not known.
        chance: what sampling gives for the ratio of the implied spread to ours; None where one of
            them is not known.
        deviations: what else keeps the two apart (stamps, protocol), in words.
        listed: what suite and learner do otherwise than their sources.
    """
    if printed.value is None:
        absence = _DASH if printed.status == "not reported" else _LOST
        note = f" ({printed.note})" if printed.note else ""
        return Verdict("not comparable", f"{absence}{note}.", None)
    difference = ours.mean - printed.value if ours.unit == printed.unit else None
    spreads = _spreads(printed, spread=spread, chance=chance)
    other = [one.label for one in listed if not one.deviation.comparable]
    apart = [f"{', '.join(other)} makes it another experiment than the source's"] if other else []
    if found := [*deviations, *apart, *_unlike(ours, printed, spreads)]:
        reason = f"{'; '.join(found)}.{_named_deviations(listed)}"
        return Verdict("not comparable", reason, difference)
    outcome, reason = _compare(ours, printed, printed.value)
    if outcome != "differs" and (doubts := _doubts(ours, printed, spreads, outcome=outcome)):
        reason = f"{reason}, but {' and '.join(doubts)}, so the agreement says little"
        outcome = "inconclusive"
    said = f" (standard deviation over episodes: {spreads.words})" if spreads else ""
    return Verdict(outcome, f"{reason}{said}.{_named_deviations(listed)}", difference)


def _named_deviations(listed: Sequence[ListedDeviation]) -> str:
    """The deviations that do not decide, as the end of a reason."""
    labels = [one.label for one in listed if one.deviation.comparable]
    return f" With deviations from the sources: {', '.join(labels)}." if labels else ""


@dataclass(frozen=True, slots=True)
class _Spreads:
    """Our spread and the implied one: their ratio, and whether sampling explains it."""

    words: str
    ratio: float
    by_chance: bool


def _spreads(
    printed: PrintedCell, *, spread: float | None, chance: SpreadRatio | None
) -> _Spreads | None:
    implied = printed.implied_std
    if implied is None or spread is None or chance is None:
        return None
    here, there = number(spread, printed.unit), number(implied, printed.unit)
    without_spread = math.inf if implied > 0 else 1.0
    ratio = implied / spread if spread > 0 else without_spread
    words = (
        f"{here} in our runs, {there} implied by the printed half-width, a ratio of {ratio:.2f}; "
        f"sampling alone gives {chance.low:.2f} to {chance.high:.2f}"
    )
    return _Spreads(words, ratio, ratio in chance)


def _unlike(ours: TableCell, printed: PrintedCell, spreads: _Spreads | None) -> list[str]:
    """What the numbers themselves say against a comparison."""
    if ours.unit != printed.unit:
        return [f"our number is in {ours.unit}, the printed one in {printed.unit}"]
    if math.isnan(ours.half_width):
        return [f"our {number(ours.mean, ours.unit)} has no interval"]
    if spreads is None or spreads.by_chance:
        return []
    if 1 / SPREAD_FACTOR <= spreads.ratio <= SPREAD_FACTOR:
        return []
    return [f"the protocols cannot be the same (standard deviation over episodes: {spreads.words})"]


def _doubts(
    ours: TableCell, printed: PrintedCell, spreads: _Spreads | None, *, outcome: Outcome
) -> list[str]:
    """Why means that agree say little."""
    found = []
    wide = printed.half_width is not None and ours.half_width > WIDTH_FACTOR * printed.half_width
    if outcome == "close" and wide:
        found.append("our interval is wider than the printed one")
    if spreads is not None and not spreads.by_chance:
        found.append("the standard deviations over episodes differ by more than sampling gives")
    return found


def _compare(ours: TableCell, printed: PrintedCell, theirs: float) -> tuple[Outcome, str]:
    def said(value: float) -> str:
        return number(value, ours.unit)

    difference = ours.mean - theirs
    over = f" (over {counted(ours.n, 'seed')})" if ours.over == "seeds" else ""
    mine = f"our {said(ours.mean)} ± {said(ours.half_width)}{over}"
    apart = (
        f"{mine} differs by {number(difference, ours.unit, signed=True)} from the printed "
        f"{printed.text}"
    )
    if printed.half_width is None:
        if abs(difference) <= ours.half_width:
            return "close", f"{apart}, which has no interval and lies inside ours"
        return "differs", f"{apart}, which has no interval and lies outside ours"
    if abs(difference) + ours.half_width <= printed.half_width:
        return "match", f"{mine} lies inside the printed {printed.text}"
    bound = math.hypot(ours.half_width, printed.half_width)
    if abs(difference) <= bound:
        return "close", f"{apart}, within the {said(bound)} that both intervals allow"
    return "differs", f"{apart}, beyond the {said(bound)} that both intervals allow"
