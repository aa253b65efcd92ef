"""Claims and what decided them, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from metabench.papers.claims.evaluate import ClaimResult
from metabench.papers.claims.intervals import PairResult
from metabench.papers.claims.schema import Claim, Measure
from metabench.papers.claims.scope import Verdict
from metabench.results.evaluations import HEADLINE
from metabench.results.metrics import number, unit_of_difference
from metabench.stats.words import p_value

LEGEND = (
    "The advantage is that of the left side and is positive if the left side is better. The "
    "interval decides the verdict: its level comes from Holm's procedure at 5 % over all pairs of "
    "the claim, and p is adjusted in the same way. If a claim has a margin, p tests the difference "
    'against that margin, not against 0. A verdict "(one seed)" holds for these trained '
    "networks, not for the learners. Points are percentage points. Stamps in brackets, if any, say "
    "how the runs differ from the "
    "paper's."
)
"""What a reader of the comparisons must know."""

_MEASURES: dict[Measure, str] = {
    "genotypes": "number of different genotypes",
    "genotype_share": "share of the most common genotype",
    "genotype_source_p": "p-value of the association of genotype and source",
    "own_genotype_trained": "share of the tasks whose own genotype was trained",
    "embedding_silhouette": "silhouette of the task embeddings by source",
    "embedding_probe": "accuracy of a linear probe of the task embeddings for the source",
}


def says(claim: Claim, unit: str = "") -> str:
    """What is compared, in a line; ``unit`` is that of the scores.

    >>> from metabench.papers.claims.schema import Claim
    >>> says(Claim(id="a", sentence="", citation="", suite="s", setting="t", left=["mnas"],
    ...     relation="not-worse", margin=0.1, right=["maml", "hsml"]), "mse")
    'mnas not worse than maml and hsml by more than 0.1 mse, on average'
    """
    left = _listed([str(party) for party in claim.left])
    if claim.measure is not None:
        return f"{left}: {_MEASURES[claim.measure]} {_bound(claim)}, in each run"
    right = _listed([str(party) for party in claim.right]) or claim.baseline
    right = right or f"{claim.value:g} {unit}".strip()
    margin = _margin(claim.margin, unit)
    words = {
        "better": f"better than {right}",
        "not-worse": f"not worse than {right} by more than {margin}",
        "close": f"within {margin} of {right}",
    }
    compared, column = words[claim.relation], _listed(claim.columns)
    if claim.baseline is not None:  # two evaluations of the same learner
        return f"{left}: {claim.evaluation or HEADLINE} {compared}, on {column}"
    place = f" in {claim.evaluation}" if claim.evaluation else ""
    if claim.metric is not None:
        place = f" by {claim.metric}"
    return f"{left} {compared}{place}, on {column}"


def _margin(margin: float | None, unit: str) -> str:
    """A margin in the unit of differences."""
    if margin is None:
        return ""
    in_words = "point" if unit == "%" and margin == 1 else unit_of_difference(unit)
    return f"{margin:g} {in_words}".strip()


def _bound(claim: Claim) -> str:
    return f"{claim.relation.replace('-', ' ')} {claim.value:g}"


def deciding(evaluation: ClaimResult) -> str:
    """What decided the verdict, and how its interval is computed, in sentences."""
    pair = evaluation.decided_by
    if pair is None or pair.difference is None:
        return decided(evaluation)
    return f"{decided(evaluation)} Interval: {pair.difference.words()}."


def decided(evaluation: ClaimResult) -> str:
    """What decided the verdict, in a sentence."""
    pair = evaluation.decided_by
    if pair is None:
        return f"{evaluation.reason}."
    if (measure := evaluation.claim.measure) is not None:
        said = f"{pair.left}, {_MEASURES[measure]}, claimed {_bound(evaluation.claim)}"
        return f"{said}: {pair.reason}."
    left, right = pair.left, _right(evaluation.claim, pair)
    if evaluation.claim.baseline is not None:
        left = evaluation.claim.evaluation or HEADLINE
        right = f"{pair.right} predictions of {pair.left}"
    if pair.difference is None:
        return f"{left} against {right} on {pair.column}: {pair.reason}."
    between = f"advantage of {left} over {right} on {pair.column}"
    if tally := _tally(evaluation):
        between = f"{tally}. A{between[1:]}"
    text = f"{between}: {advantage(pair)} {interval(pair)}, p {p_value(pair.p)}"
    if pair.verdict == "undecided" and pair.visible is not None:
        text += f"; {_could_have_been(evaluation.claim, pair, pair.visible)}"
    return f"{text}."


def _tally(evaluation: ClaimResult) -> str:
    """How many pairs decide a claim that not all of several support; "" for other claims."""
    pairs = evaluation.pairs
    if evaluation.verdict == "supported" or len(pairs) == 1:
        return ""
    counts = Counter(pair.verdict for pair in pairs)
    words: dict[Verdict, tuple[str, str]] = {
        "refuted": ("refutes it", "refute it"),
        "undecided": ("is undecided", "are undecided"),
        "not comparable": ("is not comparable", "are not comparable"),
        "supported": ("supports it", "support it"),
    }
    if len(counts) == 1:
        every = "both" if len(pairs) == 2 else f"all {len(pairs)}"
        return f"{every} pairs {words[pairs[0].verdict][1]}"
    said = [f"{counts[v]} {forms[counts[v] > 1]}" for v, forms in words.items() if counts[v]]
    return f"of {len(pairs)} pairs, {_listed(said)}"


def _right(claim: Claim, pair: PairResult) -> str:
    """The right side: a learner, or a value with its unit."""
    return pair.right if claim.value is None else f"{pair.right} {pair.unit}"


def _could_have_been(claim: Claim, pair: PairResult, visible: float) -> str:
    """What a comparison like this decides with which probability, from the claim's bound."""
    in_words = unit_of_difference(pair.unit)
    if claim.margin is None:
        seen = number(visible, pair.unit)
        return f"a true difference of {seen} {in_words} would be detected with probability 0.8"
    assert pair.low is not None
    assert pair.high is not None
    half_width, margin = (pair.high - pair.low) / 2, claim.margin
    close = claim.relation == "close"
    sign = "±" if close else "-"
    refuted = f"{sign}{number(margin + visible, pair.unit)} {in_words}"
    if half_width > margin:
        unless = "" if close else " unless the left is better"
        supported = (
            f"the half-width {number(half_width, pair.unit)} exceeds the margin of "
            f"{_margin(margin, pair.unit)}, so these data cannot support the claim{unless}"
        )
    else:
        supported = (
            f"at a true difference of 0 the claim would be supported with probability "
            f"{pair.if_equal:.2f}"
        )
    return (
        f"{supported}; at a true difference of {refuted} it would be refuted with probability 0.8"
    )


def advantage(pair: PairResult) -> str:
    """The advantage of the left with its sign and unit; the pair must have a number."""
    assert pair.difference is not None
    mean = number(pair.difference.mean, pair.unit, signed=True)
    return f"{mean} {unit_of_difference(pair.unit)}"


def interval(pair: PairResult) -> str:
    """The interval that decides, with its level; the pair must have a number."""
    assert pair.low is not None
    assert pair.high is not None
    assert pair.level is not None
    low, high = (number(end, pair.unit, signed=True) for end in (pair.low, pair.high))
    return f"[{low}, {high}] at {100 * pair.level:.4g} %"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
