"""Claims and what decided them, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.papers.claims.evaluate import ClaimResult
from metabench.papers.claims.intervals import PairResult
from metabench.papers.claims.schema import Claim
from metabench.results.metrics import number
from metabench.stats.words import p_value


def says(claim: Claim) -> str:
    """What is compared, in a line.

    >>> from metabench.papers.claims.schema import Claim
    >>> says(Claim(id="a", sentence="", citation="", suite="s", setting="t", left=["mnas"],
    ...     relation="not-worse", margin=0.1, right=["maml", "hsml"]))
    'mnas not worse by more than 0.1 than maml and hsml, on average'
    """
    left = _listed([str(party) for party in claim.left])
    if claim.measure is not None:
        bound = f"{claim.relation.replace('-', ' ')} {claim.value:g}"
        return f"{left}: {bound} {claim.measure.replace('_', ' ')} in each run"
    right = _listed([str(party) for party in claim.right]) or claim.baseline or f"{claim.value:g}"
    words = {
        "better": "better than",
        "not-worse": f"not worse by more than {claim.margin} than",
        "close": f"within {claim.margin} of",
    }
    place = f" in {claim.evaluation}" if claim.evaluation else ""
    return f"{left} {words[claim.relation]} {right}{place}, on {_listed(claim.columns)}"


def deciding(evaluation: ClaimResult) -> str:
    """What decided the verdict, in a sentence."""
    pair = evaluation.decided_by
    if pair is None:
        return f"{evaluation.reason}."
    between = f"{pair.left} against {pair.right} on {pair.column}"
    if pair.difference is None:
        return f"{between}: {pair.reason}."
    text = f"{between}: {advantage(pair)} {interval(pair)}, p {p_value(pair.p)}"
    if pair.verdict == "undecided" and pair.visible is not None:
        text += f"; {_could_have_been(evaluation.claim, pair, pair.visible)}"
    return f"{text}. Interval: {pair.difference.words()}."


def _could_have_been(claim: Claim, pair: PairResult, visible: float) -> str:
    """What such a comparison decides with which probability, measured from the claim's bound."""
    if claim.margin is None:
        seen = number(visible, pair.unit)
        return f"a difference of {seen} {pair.unit} would have been seen with probability 0.8"
    assert pair.low is not None
    assert pair.high is not None
    half_width, margin = (pair.high - pair.low) / 2, claim.margin
    close = claim.relation == "close"
    sign = "±" if close else "-"
    refuted = f"{sign}{number(margin + visible, pair.unit)} {pair.unit}"
    if half_width > margin:
        unless = "" if close else " unless the left is better"
        supported = (
            f"the half-width {number(half_width, pair.unit)} exceeds the margin {margin:g}: these "
            f"data cannot support it{unless}"
        )
    else:
        supported = (
            f"at a true difference of 0 it is supported with probability {pair.if_equal:.2f}"
        )
    return f"{supported}; at a true difference of {refuted} it is refuted with probability 0.8"


def advantage(pair: PairResult) -> str:
    """The advantage of the left with its sign and unit; the pair must have a number."""
    assert pair.difference is not None
    return f"{number(pair.difference.mean, pair.unit, signed=True)} {pair.unit}"


def interval(pair: PairResult) -> str:
    """The interval that decides, with its level; the pair must have a number."""
    assert pair.low is not None
    assert pair.high is not None
    assert pair.level is not None
    low, high = (number(end, pair.unit, signed=True) for end in (pair.low, pair.high))
    return f"[{low}, {high}] at {100 * pair.level:.4g} %"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
