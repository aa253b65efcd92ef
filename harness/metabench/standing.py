"""Which cells are the best of their column, and which cannot be told from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metabench.captions import AVERAGE
from metabench.pooling import Pooled
from metabench.stats import Interval, average_interval, paired_difference
from metabench.tables import DECIMALS, Cell, Metric, Row, Standing


def mark(
    pairs: Sequence[tuple[Row, Pooled]], columns: Sequence[str], *, metric: Metric
) -> list[tuple[Row, Pooled]]:
    """The same rows, with the standing of each cell.

    What prints like the best mean is ``best``; ``not separable`` is what is tested under the same
    conditions and whose paired difference to the best, over the episodes that both have, has an
    interval that contains 0. A column with one cell has no best.
    """
    standings: list[dict[str, Standing]] = [{} for _ in pairs]
    for column in columns:
        here = [i for i, (row, _) in enumerate(pairs) if column in row.cells]
        if len(here) < 2:
            continue
        choose = max if metric == "accuracy" else min
        best = choose(here, key=lambda i: pairs[i][0].cells[column].mean)
        for i in here:
            if _printed(pairs[i][0].cells[column]) == _printed(pairs[best][0].cells[column]):
                standings[i][column] = "best"
            elif _inseparable(pairs[i][1], pairs[best][1], column):
                standings[i][column] = "not separable"
    return [
        (_with(row, standing), config)
        for (row, config), standing in zip(pairs, standings, strict=True)
    ]


def _with(row: Row, standings: dict[str, Standing]) -> Row:
    cells = {
        column: replace(cell, standing=standings.get(column, ""))
        for column, cell in row.cells.items()
    }
    return replace(row, cells=cells)


def _printed(cell: Cell) -> str:
    return f"{cell.mean:.{DECIMALS[cell.unit]}f}"


def _inseparable(first: Pooled, second: Pooled, column: str) -> bool:
    if _conditions(first) != _conditions(second):
        return False
    sources = [source.source for source in first.spec.sources]
    wanted = sources if column == AVERAGE else [column]
    try:
        differences = [_difference(first, second, source) for source in wanted]
    except ValueError:  # a source in which they share no episode
        return False
    interval = average_interval(differences)
    return abs(interval.mean) <= interval.half_width


def _conditions(config: Pooled) -> tuple[object, ...]:
    spec = config.spec
    return spec.protocol, spec.suite_version, spec.data, spec.data_fingerprint


def _difference(first: Pooled, second: Pooled, source: str) -> Interval:
    here, there = first.source == source, second.source == source
    return paired_difference(
        first.scores[:, here].mean(axis=0),
        second.scores[:, there].mean(axis=0),
        first_keys=first.key[here],
        second_keys=second.key[there],
    )
