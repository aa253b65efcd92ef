"""Verdicts on claims as text: for a terminal, as Markdown, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from metabench.papers.claims.evaluate import ClaimResult
from metabench.papers.claims.intervals import PairResult
from metabench.papers.claims.sentences import LEGEND, advantage, deciding, interval, says
from metabench.papers.deviation_list import ListedDeviation, joined
from metabench.plugin.source_deviation import DEVIATIONS
from metabench.render.columns import columns
from metabench.stats.words import p_value
from metabench.text import plain

HEADER = ("left", "right", "column", "advantage", "interval", "p", "episodes", "seeds", "verdict")


def render_claims(
    evaluations: Sequence[ClaimResult], format: Literal["table", "md", "json"]
) -> str:
    """Write verdicts down; the text ends with a line end."""
    if format == "json":
        values = {
            "claims": [_values(evaluation) for evaluation in evaluations],
            "deviations": [one.values() for one in deviations_of(evaluations)],
            "legend": LEGEND,
        }
        return json.dumps(values, indent=2) + "\n"
    block = _markdown if format == "md" else _plain
    listed = [plain(str(one)) for one in deviations_of(evaluations)]
    if format == "md":
        listed = [_escaped(line) for line in listed]
    lines = "\n".join(f"- {line}" for line in listed)
    below = [f"{DEVIATIONS}:\n\n{lines}"] if listed else []
    return "\n\n".join([*map(block, evaluations), *below, LEGEND]) + "\n"


def deviations_of(evaluations: Sequence[ClaimResult]) -> tuple[ListedDeviation, ...]:
    """What any of the claims' sides does otherwise than its sources, in one list."""
    return joined(evaluation.deviations for evaluation in evaluations)


def _plain(evaluation: ClaimResult) -> str:
    table = columns(HEADER, _rows(evaluation)).splitlines() if _rows(evaluation) else []
    verdict = evaluation.said.replace(evaluation.verdict, evaluation.verdict.upper(), 1)
    lines = [f"{evaluation.claim.id}: {plain(verdict)}", *_about(evaluation)]
    return "\n".join([lines[0], *(f"  {line}" for line in [*lines[1:], *table])])


def _markdown(evaluation: ClaimResult) -> str:
    claim = evaluation.claim
    about = "\n".join(f"- {_escaped(line)}" for line in _about(evaluation))
    blocks = [f"## {claim.id}: {_escaped(plain(evaluation.said))}", about]
    if rows := _rows(evaluation):
        lines = [HEADER, ["---"] * len(HEADER), *rows]
        blocks.append("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))
    return "\n\n".join(blocks)


def _about(evaluation: ClaimResult) -> list[str]:
    claim = evaluation.claim
    budget = f", budget {evaluation.budget}" if evaluation.budget else ""
    stamps = f"Stamps: {', '.join(evaluation.stamps)}." if evaluation.stamps else ""
    labels = [one.label for one in evaluation.deviations]
    lines = [
        f"{claim.sentence} ({evaluation.paper}, {claim.source})",
        f"Compared: {says(claim)}; {claim.suite} @ {claim.setting}{budget}.",
        f"{evaluation.said[:1].upper()}{evaluation.said[1:]}: {deciding(evaluation)}",
        stamps,
        *evaluation.notes,
        f"{DEVIATIONS}, listed below: {', '.join(labels)}." if labels else "",
    ]
    return [plain(line) for line in lines if line]


def _rows(evaluation: ClaimResult) -> list[list[str]]:
    """A row per pair; none if no pair says more than that a learner is missing."""
    known = [p for p in evaluation.pairs if p.difference or p.verdict != "undecided"]
    return [_row(pair) for pair in evaluation.pairs] if known else []


def _row(pair: PairResult) -> list[str]:
    names = [pair.left, pair.right, pair.column]
    verdict = f"{pair.said} ({pair.reason})" if pair.reason else pair.said
    difference = pair.difference
    if difference is None:
        return [plain(text) for text in (*names, "", "", "", "", "", verdict)]
    seeds = " / ".join(str(n) for n in difference.n_seeds if n)
    numbers = [
        advantage(pair),
        interval(pair),
        p_value(pair.p),
        f"{difference.n_episodes:,}",
        seeds,
    ]
    return [plain(text) for text in (*names, *numbers, verdict)]


def _values(evaluation: ClaimResult) -> dict[str, Any]:
    claim = evaluation.claim
    return {
        "id": claim.id,
        "verdict": evaluation.said,
        "outcome": evaluation.verdict,
        "scope": asdict(evaluation.scope),
        "sentence": claim.sentence,
        "paper": evaluation.paper,
        "citation": claim.citation,
        "reading": claim.reading,
        "compared": says(claim),
        "suite": claim.suite,
        "setting": claim.setting,
        "budget": evaluation.budget,
        "decided_by": deciding(evaluation),
        "stamps": list(evaluation.stamps),
        "notes": list(evaluation.notes),
        "deviations": [one.label for one in evaluation.deviations],
        "pairs": [_pair_values(pair) for pair in evaluation.pairs],
    }


def _pair_values(pair: PairResult) -> dict[str, Any]:
    values = {name: value for name, value in asdict(pair).items() if name != "difference"}
    values |= {"verdict": pair.said, "outcome": pair.verdict}
    if (found := pair.difference) is not None:
        values |= {
            "advantage": found.mean,
            "standard_error": found.standard_error,
            "n_episodes": found.n_episodes,
            "n_seeds": list(found.n_seeds),
            "formula": found.words(),
        }
    return values


def _escaped(text: str) -> str:
    """Text that Markdown neither takes for markup nor for the end of a cell."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in text)
