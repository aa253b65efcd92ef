"""From runs to tables as values: one table per suite and setting, one row per configuration.

Every number is derived from the episodes' raw scores: :mod:`metabench.stats` makes the intervals,
:mod:`metabench.reports.captions` says what they are, :mod:`metabench.render` writes them down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.plugin.contracts.metric import MetricFacts
from metabench.reports.best import mark
from metabench.reports.captions import (
    IntervalKind,
    episodes_per_source,
    facts_of,
    interval_of,
)
from metabench.reports.row_names import names_of, variants_of
from metabench.reports.row_notes import conditions_in_words, notes_on, warnings_on
from metabench.reports.tables import Report, Row, Table, TableCell
from metabench.results.configurations import Configuration, configurations
from metabench.results.evaluations import runs_by_evaluation
from metabench.results.metrics import AVERAGE
from metabench.results.reading import Results
from metabench.stats import (
    Interval,
    average_interval,
    bootstrap_interval,
    field_interval,
    seeds_interval,
)
from metabench.text import in_order


def build_report(
    results: Results,
    *,
    interval: IntervalKind = "auto",
    adjusted: bool = False,
    columns: Sequence[str] = (),
) -> Report:
    """Make every table from the runs that count, including the tables of other evaluations.

    Args:
        results: what :func:`metabench.results.reading.read_runs` found.
        interval: ``field`` and ``bootstrap`` are over episodes (scores averaged over seeds first,
            so that seeds do not count as independent episodes), ``seeds`` is over seeds, and
            ``auto`` is over seeds in rows with several seeds, else ``field``
            (:func:`metabench.reports.captions.interval_of`).
        adjusted: as :func:`metabench.reports.best.mark`.
        columns: those that captions speak of, where the others are left out afterwards
            (:func:`metabench.papers.arranging.arrange`); all if empty.

    Raises:
        UsageError: when ``seeds`` is asked for and scipy is not installed.
    """
    configs, problems = pool_runs(results)
    make = partial(_tables, interval=interval, adjusted=adjusted, said=columns)
    tables = make(configs)
    for beside in runs_by_evaluation(results.runs):
        others, _ = pool_runs(Results(beside.runs, (), ()))
        for key, table in make(others).items():
            tables[key] = replace(table, facts=(beside.caption, *table.facts))
    return Report(tuple(tables[key] for key in sorted(tables)), problems)


def _tables(
    configs: Sequence[Configuration],
    *,
    interval: IntervalKind,
    adjusted: bool,
    said: Sequence[str],
) -> dict[tuple[str, ...], Table]:
    by_table: dict[tuple[str, ...], list[Configuration]] = defaultdict(list)
    for config in configs:
        by_table[_table_key(config)].append(config)
    return {
        key: _table(group, interval=interval, adjusted=adjusted, said=said)
        for key, group in by_table.items()
    }


def pool_runs(results: Results) -> tuple[list[Configuration], tuple[str, ...]]:
    """Bring the seeds of each configuration together, and name the problems."""
    configs = configurations(results.runs)
    left_out = [config.left_out for config in configs if config.left_out]
    return configs, (*results.problems, *left_out)


def make_rows(
    configs: Sequence[Configuration], *, interval: IntervalKind = "auto"
) -> list[tuple[Row, Configuration]]:
    """The row of each configuration of one setting, in the order of a table."""
    facts_of = variants_of(configs)
    pairs = [(_row(c, facts=facts_of[c.config_id], interval=interval), c) for c in configs]
    return sorted(pairs, key=lambda pair: _order(pair[0]))


def _table_key(config: Configuration) -> tuple[str, ...]:
    # Rows of one table have the same columns in the same unit, whatever a later version of a suite
    # made of its name.
    spec = config.spec
    sources = (source.source for source in spec.sources)
    return spec.suite, spec.setting, config.evaluation, spec.metric, *sources


def _table(
    configs: Sequence[Configuration],
    *,
    interval: IntervalKind,
    adjusted: bool,
    said: Sequence[str],
) -> Table:
    spec = configs[0].spec
    sources = tuple(source.source for source in spec.sources)
    columns = (*sources, AVERAGE) if len(sources) > 1 else sources
    shown = [name for name in columns if name in said] if said else columns
    pairs = mark(make_rows(configs, interval=interval), columns, adjusted=adjusted)
    return Table(
        suite=spec.suite,
        setting=spec.setting,
        evaluation=configs[0].evaluation,
        metric=configs[0].metric,
        facts=(
            *facts_of([config for _, config in pairs], interval=interval, columns=shown),
            *notes_on(pairs, shown),
        ),
        columns=columns,
        rows=tuple(row for row, _ in pairs),
        episodes=tuple(episodes_per_source(configs)),
        conditions=conditions_in_words(pairs),
        warnings=warnings_on(pairs, shown),
    )


def _order(row: Row) -> tuple[Any, ...]:
    return row.learner, row.budget, in_order(row.network), in_order(row.variant), *row.runs


def _row(config: Configuration, *, facts: tuple[str, ...], interval: IntervalKind) -> Row:
    records = [run.record for run in config.runs]
    spec = config.spec
    return Row(
        learner=spec.learner.name,
        facts=facts,
        network=records[0].backend,
        n_params=config.n_params,
        budget=spec.budget,
        meta_steps=spec.training.meta_steps,
        meta_batch=spec.training.meta_batch,
        skipped_steps=config.skipped_steps,
        steps_at_test=records[0].steps_at_test,
        training=config.training_conditions | _phases(config),
        seeds=tuple(record.spec.seed for record in records),
        stamps=config.stamps,
        transductive=records[0].transductive,
        normalization=records[0].query_statistics,
        runs=tuple(record.run_id for record in records),
        cells=_cells(config, interval=interval_of(config, interval)),
        seedless=config.seedless,
    )


def _phases(config: Configuration) -> dict[str, str]:
    """The phases of meta-training, if there are several."""
    return {"phases": config.training_length} if config.runs[0].record.phases else {}


def _cells(config: Configuration, *, interval: IntervalKind) -> dict[str, TableCell]:
    """A cell per source, and their average where no source is without episodes."""
    sources = [source.source for source in config.spec.sources]
    rows = slice(1 if config.seedless else None)
    scores = {name: config.of_source(name)[rows] for name in sources}
    found = {name: block for name, block in scores.items() if block.size}
    intervals = {name: _interval(block, interval=interval) for name, block in found.items()}
    if len(found) == len(sources):
        if interval == "seeds":
            means = np.mean([block.mean(axis=1) for block in found.values()], axis=0)
            intervals[AVERAGE] = seeds_interval(means)
        else:
            intervals[AVERAGE] = average_interval(list(intervals.values()))
    medians = {name: float(np.median(block.mean(axis=0))) for name, block in found.items()}
    if len(sources) == len(found) == 1:
        medians[AVERAGE] = medians[sources[0]]
    return {
        name: _cell(value, metric=config.metric, median=medians.get(name))
        for name, value in intervals.items()
    }


def _interval(scores: NDArray[np.float64], *, interval: IntervalKind) -> Interval:
    """The interval of scores ``[seeds, episodes]``."""
    if interval == "seeds":
        return seeds_interval(scores.mean(axis=1))
    make: Callable[..., Interval] = field_interval if interval == "field" else bootstrap_interval
    return make(scores.mean(axis=0))


def _cell(interval: Interval, *, metric: MetricFacts, median: float | None) -> TableCell:
    scale = metric.scale
    return TableCell(
        scale * interval.mean,
        scale * interval.half_width,
        interval.n,
        metric.unit,
        over="seeds" if interval.kind == "seeds" else "episodes",
        median=None if median is None else scale * median,
    )


def row_labels(configs: Sequence[Configuration]) -> dict[str, str]:
    """What each configuration's row is called in its table, by configuration id."""
    by_table: dict[tuple[str, ...], list[Configuration]] = defaultdict(list)
    for config in configs:
        by_table[_table_key(config)].append(config)
    return {
        config.config_id: name
        for group in by_table.values()
        for config, name in zip(group, names_of(group), strict=True)
    }
