"""One of our cells against one printed number: a verdict, with the reason in a sentence.

The rule, from the first line that applies:

``not comparable``
    Nothing is printed; or our runs are stamped (smoke, lite, limit, custom, synthetic, subset,
    substitute, ...); or they differ from the paper in protocol or budget; or we have no interval;
    or the spread over episodes that the printed half-width implies (half-width * sqrt(n) / 1.96,
    where n and formula are known) differs from ours by more than a factor of 2: then something in
    the protocol is not the same, whatever the means say.
``match``
    Our 95 % interval lies inside the printed one: equivalent within the paper's own resolution.
``close``
    The difference is not larger than sqrt(our half-width^2 + printed half-width^2): not separable.
    Without a printed half-width: the printed value lies in our interval.
``differs``
    Neither; the signed difference is ours minus printed.

A printed number is one training run of unknown seed, and neither interval covers the variation
between trainings; a verdict is about the two trained networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metabench.references import PrintedCell
from metabench.tables import DECIMALS, Cell

Outcome = Literal["match", "close", "differs", "not comparable"]

SPREAD_FACTOR = 2.0
"""How far the two spreads over episodes may lie apart."""

_DASH = "the paper prints a dash"
_LOST = "what the paper prints here is not known"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says.

    Attributes:
        outcome: one of four.
        reason: one sentence, with the numbers.
        difference: ours minus printed, in the unit; None where nothing is printed.
    """

    outcome: Outcome
    reason: str
    difference: float | None


def judge(
    ours: Cell, printed: PrintedCell, *, spread: float | None, obstacles: Sequence[str]
) -> Verdict:
    """Compare our cell with a printed one by the rule of this module.

    Args:
        ours: the cell of the table.
        printed: the cell of the paper, in the same unit.
        spread: standard deviation over the episodes of a run, None where it is not known.
        obstacles: what else keeps the two apart (stamps, protocol), in words.
    """
    if printed.value is None:
        absence = _DASH if printed.status == "not reported" else _LOST
        note = f" ({printed.note})" if printed.note else ""
        return Verdict("not comparable", f"{absence}{note}.", None)
    difference = ours.mean - printed.value
    if found := [*obstacles, *_unlike(ours, printed, spread=spread)]:
        return Verdict("not comparable", f"{'; '.join(found)}.", difference)
    outcome, reason = _compare(ours, printed, printed.value)
    return Verdict(outcome, f"{reason}{_spreads(printed, spread=spread)}.", difference)


def _unlike(ours: Cell, printed: PrintedCell, *, spread: float | None) -> list[str]:
    """What the numbers themselves say against a comparison."""
    if math.isnan(ours.half_width):
        return [f"our {_number(ours.mean, ours.unit)} has no interval"]
    implied = printed.implied_std
    if implied is None or spread is None:
        return []
    low, high = sorted((implied, spread))
    if high <= SPREAD_FACTOR * low:
        return []
    return [
        f"the spread over episodes is {_number(spread, ours.unit)} here, and the printed "
        f"{printed.text} over {printed.n:,} episodes implies {_number(implied, ours.unit)}: "
        "the protocols cannot be the same"
    ]


def _compare(ours: Cell, printed: PrintedCell, value: float) -> tuple[Outcome, str]:
    def said(number: float) -> str:
        return _number(number, ours.unit)

    difference = ours.mean - value
    mine = f"our {said(ours.mean)} ± {said(ours.half_width)}"
    apart = f"{mine} is {difference:+.{DECIMALS[ours.unit]}f} from the printed {printed.text}"
    if printed.half_width is None:
        if abs(difference) <= ours.half_width:
            return "close", f"{apart}, which has no interval and lies in ours"
        return "differs", f"{apart}, which has no interval and lies outside ours"
    if abs(difference) + ours.half_width <= printed.half_width:
        return "match", f"{mine} lies inside the printed {printed.text}"
    bound = math.hypot(ours.half_width, printed.half_width)
    if abs(difference) <= bound:
        return "close", f"{apart}, within the {said(bound)} of both intervals"
    return "differs", f"{apart}, beyond the {said(bound)} of both intervals"


def _spreads(printed: PrintedCell, *, spread: float | None) -> str:
    if spread is None or (implied := printed.implied_std) is None:
        return ""
    here, there = _number(spread, printed.unit), _number(implied, printed.unit)
    return f" (spread over episodes: {here} here, {there} implied)"


def _number(value: float, unit: str) -> str:
    return f"{value:.{DECIMALS[unit]}f}"
