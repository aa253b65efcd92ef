"""The text below a paper's table: the reasons of verdicts, and what is known about the numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from metabench.papers.reference import Reference, Uncertainty
from metabench.papers.table import PaperRow

_FACTS = {"queries": "query examples per class", "steps_at_test": "inner steps at test"}


def reasons(rows: Sequence[PaperRow], reference: Reference) -> Iterator[str]:
    """A sentence per row and reason: the method, the columns, the verdict, why."""
    for row in rows:
        variants = sorted({ours.variant for ours in row.ours if ours.variant})
        which = f"{row.method} ({'; '.join(variants)})" if variants else row.method
        headings: dict[str, list[str]] = defaultdict(list)
        for column in reference.columns:
            if (verdict := row.cells[column.name].verdict) is not None:
                headings[f"{verdict.outcome}: {verdict.reason}"].append(column.heading)
        for reason, where in headings.items():
            yield f"{_joined(which, row.group, *where)}: {reason}"


def remarks(reference: Reference) -> Iterator[str]:
    """What the reference says about its intervals, rows and single cells, and as a whole."""
    yield f"The paper's half-widths: {_said(reference.interval)}."
    for column in reference.columns:
        if column.interval is not None:
            yield f"{column.heading}: half-widths: {_said(column.interval)}."
    for row in reference.rows:
        if row.interval is not None:
            yield f"{_joined(row.method, row.group)}: half-widths: {_said(row.interval)}."
        if row.note:
            yield f"{_joined(row.method, row.group)}: {row.note}."
    for about, where in _single_cells(reference).items():
        yield f"{about}: {'; '.join(where)}."
    yield from _not_stated(reference)
    if reference.note:
        yield reference.note


def _said(interval: Uncertainty) -> str:
    formula = interval.formula or "formula unknown"
    n = "n unknown" if interval.n is None else f"n = {interval.n:,}"
    return f"{formula}, {n}{f' ({interval.note})' if interval.note else ''}"


def _not_stated(reference: Reference) -> Iterator[str]:
    """Which facts of the protocol are not known, and of which rows."""
    unknown: dict[str, list[str]] = defaultdict(list)
    compared = [row for row in reference.rows if row.learner is not None]
    for row in compared:
        settings = {reference.setting_of(row, column) for column in reference.columns}
        known = [reference.conditions_of(row, name).model_dump() for name in settings]
        for name in ("queries", "steps_at_test"):
            if any(facts[name] is None for facts in known):
                unknown[name].append(_joined(row.method, row.group))
    for name, rows in unknown.items():
        whose = "any row" if len(rows) == len(compared) else "; ".join(dict.fromkeys(rows))
        yield f"Not stated by the source, so not compared: {_FACTS[name]} of {whose}."


def _single_cells(reference: Reference) -> dict[str, list[str]]:
    """The places of cells that have a note or a status of their own."""
    places: dict[str, list[str]] = defaultdict(list)
    for row in reference.rows:
        for column in reference.columns:
            entry = row.cells[column.name]
            status = reference.cell(row, column).status
            second_hand = status in ("public copy", "derived") and status != reference.status
            if entry.note or second_hand:
                about = f"{status.capitalize()}{f' ({entry.note})' if entry.note else ''}"
                places[about].append(_joined(row.method, row.group, column.heading))
    return places


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
