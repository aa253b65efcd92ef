"""Verdicts on claims as text: for a terminal, as Markdown, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.cells import cell_len

from metabench.papers.claims.evaluate import ONE_SEED, ClaimResult
from metabench.papers.claims.intervals import PairResult
from metabench.papers.claims.sentences import (
    LEGEND,
    advantage,
    decided,
    deciding,
    interval,
    says,
)
from metabench.papers.deviation_list import ListedDeviation, joined
from metabench.plugin.source_deviation import DEVIATIONS
from metabench.render.as_md import escape
from metabench.render.layout import (
    PLAIN,
    Cell,
    Column,
    Grid,
    Kind,
    Screen,
    lay_out,
    without_constants,
    wrap,
)
from metabench.render.verdict_signs import signed
from metabench.results.labels import told_apart
from metabench.stats.words import p_entry
from metabench.text import capitalized, counted, plain

HEADER = ("left", "right", "column", "advantage", "interval", "p", "episodes", "seeds", "verdict")
_KINDS: tuple[Kind, ...] = (
    *("key", "key", "text", "number", "number", "number", "number", "text", "text"),
)


def claims_overview(evaluations: Sequence[ClaimResult], screen: Screen = PLAIN) -> str:
    """A line for each claim and verdict, then what each says and what decided it."""
    told = runs_in_words(evaluations)
    counts = Counter(one.claim.id for one in evaluations)
    rows = [
        (
            signed(plain(one.said)),
            Cell(f"{one.claim.id} ({of_runs})" if counts[one.claim.id] > 1 else one.claim.id),
        )
        for one, of_runs in zip(evaluations, told, strict=True)
    ]
    grid = Grid((Column("", style=""), Column("", style="")), tuple(rows))
    lines = lay_out(grid, screen.of_rows, rule=False, styled=screen.styled).splitlines()
    blocks = ["\n".join(line for line in lines if line)]
    for one, of_runs in zip(evaluations, told, strict=True):
        place = ", ".join(filter(None, (_place(one), of_runs)))
        said = f"{one.claim.sentence} {_begun(one)}{decided(one)}"
        head = screen.said(f"{plain(one.claim.id)} ({place})", indent="  ")
        title = [screen.painted(line, "bold") for line in head]
        blocks.append("\n".join([*title, *(f"  {line}" for line in _within(screen, said))]))
    blocks.append("\n".join(screen.said(*_legend(evaluations))))
    return "\n\n".join(blocks) + "\n"


def runs_in_words(evaluations: Sequence[ClaimResult]) -> list[str]:
    """The budget of each, and what else tells apart runs that one claim was judged by."""
    places = [(one.claim.id, one.budget) for one in evaluations]
    facts = told_apart(places, [one.conditions for one in evaluations])
    budgets = [f"budget {one.budget}" if one.budget else "" for one in evaluations]
    return [
        plain(", ".join(filter(None, (budget, *said))))
        for budget, said in zip(budgets, facts, strict=True)
    ]


def _place(evaluation: ClaimResult) -> str:
    claim = evaluation.claim
    return ", ".join(filter(None, (f"{claim.suite} @ {claim.setting}", claim.evaluation)))


def _legend(evaluations: Sequence[ClaimResult]) -> Iterator[str]:
    """What the numbers are, what a verdict holds for, and where more is said."""
    yield "An advantage above 0 says that the side that is named first is better."
    if any(pair.unit == "%" for one in evaluations for pair in one.pairs):
        yield "Points are percentage points."
    yield "The levels of the intervals are Holm's, over all pairs of a claim."
    if any(ONE_SEED in one.notes for one in evaluations):
        yield 'A verdict "(one seed)" holds for these trained networks, not for the learners.'
    unequal = sum(one.decided_by is not None and bool(one.unequal) for one in evaluations)
    if unequal:
        verdicts = counted(len(evaluations), "verdict")
        yield f"{unequal} of {verdicts} compare runs that differ; metabench claims DIR ID says how."
    else:
        yield "metabench claims DIR ID says all about one."


def _begun(evaluation: ClaimResult) -> str:
    return f"{capitalized(evaluation.said)}: "


def _within(screen: Screen, *sentences: str) -> list[str]:
    """Lines that are indented by two."""
    width = screen.of_words - 2
    return [line for text in sentences for line in wrap(plain(text), width)]


def render_claims(
    evaluations: Sequence[ClaimResult],
    format: Literal["table", "md", "json"],
    screen: Screen = PLAIN,
) -> str:
    """Write all about verdicts down; the text ends with a line end."""
    if format == "json":
        values = {
            "claims": [_values(evaluation) for evaluation in evaluations],
            "deviations": [one.values() for one in deviations_of(evaluations)],
            "legend": LEGEND,
        }
        return json.dumps(values, indent=2) + "\n"
    listed = [f"- {plain(str(one))}" for one in deviations_of(evaluations)]
    if format == "md":
        blocks, legend = [_markdown(one) for one in evaluations], [LEGEND]
        listed = [f"- {escape(line.removeprefix('- '))}" for line in listed]
    else:
        blocks, legend = [_plain(one, screen) for one in evaluations], screen.said(LEGEND)
        listed = screen.said(*listed, indent="  ")
    below = [f"{DEVIATIONS}:\n\n" + "\n".join(listed)] if listed else []
    return "\n\n".join([*blocks, *below, "\n".join(legend)]) + "\n"


def deviations_of(evaluations: Sequence[ClaimResult]) -> tuple[ListedDeviation, ...]:
    """What any of the claims' sides does otherwise than its sources, in one list."""
    return joined(evaluation.deviations for evaluation in evaluations)


def _plain(evaluation: ClaimResult, screen: Screen) -> str:
    said = evaluation.said.replace(evaluation.verdict, evaluation.verdict.upper(), 1)
    verdict = signed(plain(said))
    fits = cell_len(f"{evaluation.claim.id}: {verdict.text}") <= screen.of_words
    head = [f"{evaluation.claim.id}:", screen.painted(verdict.text, verdict.style)]
    blocks = [" ".join(head)] if fits else [head[0], f"  {head[1]}"]
    blocks += [f"  {line}" for line in _within(screen, *_about(evaluation))]
    width = screen.of_rows and screen.of_rows - 2
    if rows := _rows(evaluation):
        heads = (Column(name, kind, style="") for name, kind in zip(HEADER, _KINDS, strict=True))
        grid = Grid(tuple(heads), tuple(tuple(map(_cell, row)) for row in rows))
        common: list[tuple[str, str]] = []
        if not screen.wide and len(rows) > 1:
            grid, common = without_constants(grid, but=("left", "right", "verdict"))
        text = lay_out(grid, width, rule=False, styled=screen.styled)
        alike = [f"Every pair: {', '.join(f'{name} {value}' for name, value in common)}."]
        more = [*(_within(screen, *alike) if common else []), "", *text.splitlines()]
        blocks += [f"  {line}".rstrip() for line in more]
    return "\n".join(blocks)


def _cell(text: str) -> Cell:
    """An entry; a verdict has its sign, and the level of an interval may stand below it."""
    if text.startswith(("supported", "refuted", "undecided", "not comparable")):
        return signed(text)
    ends, at, level = text.partition(" at ")
    return Cell(ends, f"at {level}") if at and ends.startswith("[") else Cell(text)


def _markdown(evaluation: ClaimResult) -> str:
    claim = evaluation.claim
    about = "\n".join(f"- {escape(line)}" for line in _about(evaluation))
    blocks = [f"## {claim.id}: {escape(plain(evaluation.said))}", about]
    if rows := _rows(evaluation):
        lines = [HEADER, ["---"] * len(HEADER), *rows]
        blocks.append("\n".join(f"| {' | '.join(map(escape, line))} |" for line in lines))
    return "\n\n".join(blocks)


def _about(evaluation: ClaimResult) -> list[str]:
    claim = evaluation.claim
    budget = f", budget {evaluation.budget}" if evaluation.budget else ""
    stamps = f"Stamps: {', '.join(evaluation.stamps)}." if evaluation.stamps else ""
    labels = [one.label for one in evaluation.deviations]
    lines = [
        f"{claim.sentence} ({evaluation.paper}, {claim.source})",
        f"Compared: {says(claim, evaluation.unit)}; {claim.suite} @ {claim.setting}{budget}.",
        f"{_begun(evaluation)}{deciding(evaluation)}",
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
        p_entry(pair.p),
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
        "compared": says(claim, evaluation.unit),
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
