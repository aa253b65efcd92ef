"""The text below a paper's table: the reasons of verdicts, and what is known about the numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from metabench.papers.conditions import Uncertainty
from metabench.papers.described import interval_in_words
from metabench.papers.protocols import unstated
from metabench.papers.reference import Column, Reference
from metabench.papers.table import PaperRow


def reasons(rows: Sequence[PaperRow], columns: Sequence[Column]) -> Iterator[str]:
    """A sentence per row and reason: the method, the columns of those given, the verdict, why."""
    for row in rows:
        variants = sorted({ours.variant for ours in row.ours if ours.variant})
        which = f"{row.method} ({'; '.join(variants)})" if variants else row.method
        headings: dict[str, list[str]] = defaultdict(list)
        for column in columns:
            if (verdict := row.cells[column.name].verdict) is not None:
                headings[f"{verdict.outcome}: {verdict.reason}"].append(column.heading)
        for reason, where in headings.items():
            yield f"{_joined(which, row.group, *where)}: {reason}"


def remarks(reference: Reference, columns: Sequence[Column]) -> Iterator[str]:
    """What the reference says about its intervals, rows and single cells, and as a whole.

    Args:
        reference: the table.
        columns: those of its columns that are shown.
    """
    yield f"The paper's half-widths: {_said(reference.interval)}."
    for column in columns:
        if column.interval is not None:
            yield f"{column.heading}: half-widths: {_said(column.interval)}."
    for row in reference.rows:
        if row.interval is not None:
            yield f"{_joined(row.method, row.group)}: half-widths: {_said(row.interval)}."
        if row.note:
            yield f"{_joined(row.method, row.group)}: {row.note}."
    for about, where in _single_cells(reference, columns).items():
        yield f"{about}: {'; '.join(where)}."
    yield from _not_stated(reference, columns)
    if reference.note:
        yield reference.note


def _said(interval: Uncertainty) -> str:
    return f"{interval_in_words(interval)}{f' ({interval.note})' if interval.note else ''}"


def _not_stated(reference: Reference, columns: Sequence[Column]) -> Iterator[str]:
    """Which facts are not known of the rows that our runs can stand in, and of which rows."""
    unknown: dict[str, list[str]] = defaultdict(list)
    compared = [row for row in reference.rows if row.learner is not None]
    for row in compared:
        facts = [fact for column in columns for fact in unstated(reference, row, column)]
        for fact in dict.fromkeys(facts):
            unknown[fact].append(_joined(row.method, row.group))
    by_rows: dict[str, list[str]] = defaultdict(list)
    for fact, rows in unknown.items():
        whose = "any row" if len(rows) == len(compared) else "; ".join(dict.fromkeys(rows))
        by_rows[whose].append(fact)
    for whose, facts in by_rows.items():
        yield f"Not stated by the source, so not compared: {', '.join(facts)} of {whose}."


def _single_cells(reference: Reference, columns: Sequence[Column]) -> dict[str, list[str]]:
    """The places of cells that have a note or a status of their own."""
    places: dict[str, list[str]] = defaultdict(list)
    for row in reference.rows:
        for column in columns:
            entry = row.cells[column.name]
            status = reference.cell(row, column).status
            second_hand = status in ("public copy", "derived") and status != reference.status
            if entry.note or second_hand:
                about = f"{status.capitalize()}{f' ({entry.note})' if entry.note else ''}"
                places[about].append(_joined(row.method, row.group, column.heading))
    return places


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
