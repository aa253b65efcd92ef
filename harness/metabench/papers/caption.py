"""What our columns next to a paper's show, in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from metabench.papers.verdict import WIDTH_FACTOR
from metabench.plugin.contracts.metric import MetricFacts
from metabench.reports.captions import (
    IntervalKind,
    budget_notes,
    inequality_notes,
    protocol_notes,
    scores_notes,
)
from metabench.reports.row_notes import Entry, notes_on_rows
from metabench.results.metrics import AVERAGE
from metabench.stats import RESAMPLES

_VERDICTS = (
    "Verdict match: our interval lies inside the printed one.",
    "Verdict close: the difference is at "
    "most sqrt(sum of both squared half-widths), and our half-width is at most "
    f"{WIDTH_FACTOR} times the printed one. Where the printed half-width implies a standard "
    "deviation over episodes, match and close also require that its ratio to ours lies in the 95 % "
    f"percentile interval of {RESAMPLES:,} bootstrap resamples of our episodes.",
    "Verdict inconclusive: the means agree, but one of these requirements fails, so the agreement "
    "says little.",
    "Verdict differs: the difference is larger.",
    "Verdict not comparable: the reason is given below.",
)


def paper_facts(
    entries: Sequence[Entry],
    *,
    metric: MetricFacts,
    interval: IntervalKind,
    sources: Collection[str],
) -> tuple[str, ...]:
    """What our columns next to a paper's show, for the rows in them, in sentences.

    Args:
        entries: the rows.
        metric: of the numbers.
        interval: what is asked for.
        sources: that columns are of, or the average.
    """
    configs = [config for _, config in entries]
    scores, *others = scores_notes(
        configs, metric=metric, interval=interval, averages=AVERAGE in sources
    )
    rows = _by_place(entries, partial(notes_on_rows, columns=sources))
    notes = [*others, *_by_place(entries, _conditions), *budget_notes(configs), *rows]
    return (f"Ours: {scores}", *filter(None, notes), *_VERDICTS)


def _conditions(entries: Sequence[Entry]) -> list[str]:
    """How ours were trained and tested."""
    configs = [config for _, config in entries]
    return [*protocol_notes(configs), *inequality_notes(configs)]


def _by_place(
    entries: Sequence[Entry], notes: Callable[[Sequence[Entry]], Sequence[str]]
) -> list[str]:
    """Notes on the rows of each setting of a suite, once for all settings where they are equal."""
    places: dict[str, list[Entry]] = {}
    for row, config in entries:
        place = f"{config.spec.suite} @ {config.setting_and_evaluation}"
        places.setdefault(place, []).append((row, config))
    where: dict[tuple[str, ...], list[str]] = {}
    for place, group in places.items():
        if sentences := tuple(notes(group)):
            where.setdefault(sentences, []).append(place)
    if len(places) < 2:
        return [one for sentences in where for one in sentences]
    return [f"{', '.join(names)}: {' '.join(sentences)}" for sentences, names in where.items()]
