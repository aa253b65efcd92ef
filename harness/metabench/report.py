"""From runs to tables as values: one table per suite and setting, one row per configuration.

Every number is derived from the episodes' raw scores: :mod:`metabench.stats` makes the intervals,
:mod:`metabench.captions` says what they are, :mod:`metabench.render` writes them down.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metabench.captions import AVERAGE, IntervalKind, caption
from metabench.pooling import Pooled, pool
from metabench.results import Results, Run
from metabench.runspec import RunSpec
from metabench.stats import (
    Interval,
    average_interval,
    bootstrap_interval,
    field_interval,
    seeds_interval,
)

Metric = Literal["accuracy", "mse"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table.

    Attributes:
        mean: accuracy in percent, or mean squared error.
        half_width: of the 95 % interval, in the same unit; NaN where it cannot be estimated.
        n: what the interval counts, episodes or seeds.
        unit: ``%`` or ``mse``.
    """

    mean: float
    half_width: float
    n: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One configuration; its runs differ in the seed only.

    Attributes:
        learner: the learner's name.
        variant: what tells it from rows with the same learner, backend and budget; else "".
        backend: the network in words.
        n_params: weights of the network that predicts, a mean where it differs per episode.
        budget: how much compute.
        seeds: one per run.
        stamps: what must be said beside the numbers, of any of the runs.
        transductive: whether predictions use the statistics of the query set.
        runs: run ids, in the order of the seeds.
        cells: by column; a source without episodes has none.
    """

    learner: str
    variant: str
    backend: str
    n_params: int | None
    budget: str
    seeds: tuple[int, ...]
    stamps: tuple[str, ...]
    transductive: bool
    runs: tuple[str, ...]
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Every configuration that ran on one setting of a suite; ``caption`` says what is shown."""

    suite: str
    setting: str
    metric: Metric
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Tables, and what is wrong with the folder they were made from."""

    tables: tuple[Table, ...]
    problems: tuple[str, ...]


def build_report(results: Results, *, interval: IntervalKind = "field") -> Report:
    """Derive every table from the runs that count.

    Args:
        results: what :func:`metabench.results.read_runs` found.
        interval: ``field`` and ``bootstrap`` are over episodes (scores averaged over seeds first,
            so that seeds do not count as independent episodes), ``seeds`` is over seeds.

    Raises:
        UsageError: when ``seeds`` is asked for and scipy is not installed.
    """
    by_config: dict[str, list[Run]] = defaultdict(list)
    for run in results.runs:
        by_config[run.config_id].append(run)
    by_table: dict[tuple[str, ...], list[Pooled]] = defaultdict(list)
    problems = list(results.problems)
    for runs in by_config.values():
        pooled = pool(runs)
        if pooled.n_left_out:
            problems.append(
                f"{pooled.label}: {pooled.n_left_out:,} episodes that not every seed has are "
                "left out."
            )
        by_table[_table_key(pooled.spec)].append(pooled)
    tables = tuple(_table(by_table[key], interval=interval) for key in sorted(by_table))
    return Report(tables, tuple(problems))


def _table_key(spec: RunSpec) -> tuple[str, ...]:
    # Rows of one table have the same columns in the same unit, whatever a later version of a suite
    # made of its name.
    return spec.suite, spec.setting, spec.metric, *(source.source for source in spec.sources)


def _table(configs: Sequence[Pooled], *, interval: IntervalKind) -> Table:
    variant_of = _variants(configs)
    pairs = [(_row(c, variant=variant_of[_id(c)], interval=interval), c) for c in configs]
    pairs.sort(key=lambda pair: _order(pair[0]))
    rows = tuple(row for row, _ in pairs)
    spec = configs[0].spec
    return Table(
        suite=spec.suite,
        setting=spec.setting,
        metric=spec.metric,
        caption=caption([config for _, config in pairs], interval=interval),
        columns=(*(source.source for source in spec.sources), AVERAGE),
        rows=rows,
    )


def _order(row: Row) -> tuple[str, ...]:
    return row.learner, row.budget, row.backend, row.variant, *row.runs


def _id(config: Pooled) -> str:
    return config.runs[0].config_id


def _row(config: Pooled, *, variant: str, interval: IntervalKind) -> Row:
    records = [run.record for run in config.runs]
    spec = config.spec
    return Row(
        learner=spec.learner.name,
        variant=variant,
        backend=records[0].backend,
        n_params=_n_params(config.runs),
        budget=spec.budget,
        seeds=tuple(record.spec.seed for record in records),
        stamps=tuple(dict.fromkeys(stamp for record in records for stamp in record.stamps)),
        transductive=records[0].transductive,
        runs=tuple(record.run_id for record in records),
        cells=_cells(config, interval=interval),
    )


def _n_params(runs: Sequence[Run]) -> int | None:
    counts = np.concatenate([run.episodes.n_params for run in runs])
    return None if np.isnan(counts).any() else round(float(counts.mean()))


def _cells(config: Pooled, *, interval: IntervalKind) -> dict[str, Cell]:
    """A cell per source, and their average where no source is without episodes."""
    sources = [source.source for source in config.spec.sources]
    scores = {name: config.of_source(name) for name in sources}
    found = {name: block for name, block in scores.items() if block.size}
    intervals = {name: _interval(block, interval=interval) for name, block in found.items()}
    if len(found) == len(sources):
        if interval == "seeds":
            means = np.mean([block.mean(axis=1) for block in found.values()], axis=0)
            intervals[AVERAGE] = seeds_interval(means)
        else:
            intervals[AVERAGE] = average_interval(list(intervals.values()))
    return {name: _cell(value, metric=config.spec.metric) for name, value in intervals.items()}


def _interval(scores: NDArray[np.float64], *, interval: IntervalKind) -> Interval:
    """The interval of scores ``[seeds, episodes]``."""
    if interval == "seeds":
        return seeds_interval(scores.mean(axis=1))
    make: Callable[..., Interval] = field_interval if interval == "field" else bootstrap_interval
    return make(scores.mean(axis=0))


def _cell(interval: Interval, *, metric: Metric) -> Cell:
    factor, unit = (100.0, "%") if metric == "accuracy" else (1.0, "mse")
    return Cell(factor * interval.mean, factor * interval.half_width, interval.n, unit)


def _variants(configs: Sequence[Pooled]) -> dict[str, str]:
    """Per configuration, what tells it from rows that would look the same."""
    alike: dict[tuple[str, ...], list[Pooled]] = defaultdict(list)
    for config in configs:
        spec = config.spec
        alike[spec.learner.name, config.runs[0].record.backend, spec.budget].append(config)
    variants = {}
    for group in alike.values():
        leaves = [
            _leaves(config.spec.model_dump(mode="json", exclude={"seed"})) for config in group
        ]
        names = sorted({name for flat in leaves for name in flat})
        telling = [name for name in names if len({flat.get(name) for flat in leaves}) > 1]
        for config, flat in zip(group, leaves, strict=True):
            said = [f"{name.rpartition('.')[2]}={flat[name]}" for name in telling if name in flat]
            variants[_id(config)] = ", ".join(said)
    return variants


def _leaves(value: object, *, name: str = "") -> dict[str, str]:
    """A nested value as text by dotted name: ``{"learner.params.inner_lr": "0.01"}``."""
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = {str(i): item for i, item in enumerate(value)}.items()
    else:
        return {name: str(value)}
    return {
        key: text
        for child, item in children
        for key, text in _leaves(item, name=f"{name}.{child}" if name else child).items()
    }
