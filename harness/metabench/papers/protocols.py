"""Our protocol against a row of a paper: what differs, and what the source leaves open.

A different fact makes two numbers incomparable, except for the number of episodes: this changes
how precise a number is, not what it estimates, and the half-width has it. Where no half-width is
printed, a number over fewer episodes than ours is less certain than it looks, and this is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from metabench.papers.conditions import FACTS, HALF_WIDTH, Conditions, known
from metabench.papers.reference import Column, PrintedCell, PrintedRow, Reference
from metabench.reports.tables import Over
from metabench.results.configurations import Configuration

_TRAINED_ON = "meta-train"
"""The classes of our meta-training; those of meta-validation choose weights at most."""


def differences(conditions: Conditions, config: Configuration) -> Iterator[str]:
    """What our runs do differently, ``queries: 1 here, 15 in the paper``."""
    ours = _of_runs(config)
    for name, mine in ours.items():
        theirs = known(getattr(conditions, name))
        if theirs is not None and theirs != mine:
            yield f"{FACTS.get(name, name)}: {mine} here, {theirs} in the paper"


def _of_runs(config: Configuration) -> dict[str, object]:
    """The facts of our runs that must be those of the paper."""
    record, protocol = config.runs[0].record, config.spec.protocol
    normalization = record.normalization
    if normalization is None:  # an older record; what the protocol allows need not be used
        normalization = "transductive" if record.transductive else "inductive"
    steps = record.steps_at_test
    return {
        "ways": protocol.ways,
        "shots": protocol.shots,
        "queries": protocol.queries,
        "steps_at_test": protocol.steps_at_test if steps is None else steps,
        "normalization": normalization,
        "trained_on": _TRAINED_ON,
        "selection": "ensemble" if config.spec.training.ensemble else protocol.selection,
    }


def unlike_half_widths(printed: PrintedCell, over: Over) -> Iterator[str]:
    """Why two half-widths cannot be held against each other.

    Ours over seeds may stand beside a printed one over episodes: it covers more, not less.

    Args:
        printed: the cell of the paper.
        over: what our half-width is over.
    """
    if printed.over is not None and "seeds" in printed.over and over != "seeds":
        yield (
            f"half-width: over {over} here, over {printed.over} in the paper "
            "(of several seeds, ours is over seeds)"
        )


def unstated(reference: Reference, row: PrintedRow, column: Column) -> tuple[str, ...]:
    """What the source does not state of a cell: facts of its protocol and of its half-width."""
    found = reference.conditions_of(row, reference.setting_of(row, column)).unstated()
    printed = reference.cell(row, column)
    if printed.half_width is not None and not reference.interval_of(row, column).is_stated():
        found.append(HALF_WIDTH)
    return tuple(found)


def fewer_episodes(conditions: Conditions, printed: PrintedCell, config: Configuration) -> str:
    """A sentence where a number without half-width is over fewer episodes than ours; else ""."""
    theirs = known(conditions.episodes)
    ours = min(Counter(config.source.tolist()).values())
    if printed.half_width is not None or theirs is None or theirs >= ours:
        return ""
    return (
        f"The printed number has no half-width and is over {theirs:,} episodes per source; ours "
        f"is over {ours:,}."
    )
