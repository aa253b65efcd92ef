"""The column of a table that shows how the tested weights did on meta-validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from metabench.reports.tables import Report, Row, Table, TableCell
from metabench.results.comparable_curves import read_metrics
from metabench.results.metrics import VAL
from metabench.results.reading import FinishedRun
from metabench.results.training_curve import VAL_SCORE
from metabench.stats import computable, seeds_interval

_SAID = (
    "Column val is the score of the tested weights on meta-validation, averaged over sources and "
    "seeds, with a 95 % Student interval over seeds where there are several. Where these weights "
    "were chosen by it, it is too good."
)

_IN_SHORT = f"{VAL} is the score on meta-validation"


def with_validation(report: Report, runs: Iterable[FinishedRun], *, said: bool = True) -> Report:
    """Add the column to the tables of headline scores in which a row has it.

    Args:
        report: made from the runs.
        runs: the runs; scores of a further metric have no score on meta-validation.
        said: whether captions speak of the column; not if rows are only sorted by it.

    Raises:
        UsageError: when a row has several seeds and scipy is not installed.
    """
    of_headline = {run.record.run_id: run for run in runs if not run.headline}
    tables = (_with_column(table, of_headline, said=said) for table in report.tables)
    return replace(report, tables=tuple(tables))


def _with_column(table: Table, runs: Mapping[str, FinishedRun], *, said: bool) -> Table:
    if table.evaluation:
        return table
    cells = [_cell(row, runs, table) for row in table.rows]
    if not any(cells):
        return table
    return replace(
        table,
        columns=(*table.columns, VAL),
        facts=(*table.facts, _SAID) if said else table.facts,
        warnings=(*table.warnings, _IN_SHORT) if said else table.warnings,
        rows=tuple(
            replace(row, cells={**row.cells, VAL: cell}) if cell else row
            for row, cell in zip(table.rows, cells, strict=True)
        ),
    )


def _cell(row: Row, runs: Mapping[str, FinishedRun], table: Table) -> TableCell | None:
    """The mean over seeds; None where a seed has no score."""
    found = [validation_score(runs[one]) if one in runs else None for one in row.runs]
    scores = [score for score in found if score is not None]
    if len(scores) < len(row.runs):
        return None
    interval, metric = seeds_interval(np.array(scores)), table.metric
    return TableCell(
        metric.scale * interval.mean,
        metric.scale * interval.half_width,
        interval.n,
        metric.unit,
        over="seeds",
    )


def validation_score(run: FinishedRun) -> float | None:
    """The score on meta-validation of the weights that a run tested; None if it has none to use.

    It is on the metric's own scale: an accuracy is in [0, 1].
    """
    score = _kept_score(run)
    return score if score is not None and computable(score) else None


def _kept_score(run: FinishedRun) -> float | None:
    if run.record.val_score is not None:
        return run.record.val_score
    curve = read_metrics(run.folder / "metrics.jsonl").get(VAL_SCORE)
    if curve is None or run.record.selected_step is None:
        return None
    at = np.flatnonzero(curve.step == run.record.selected_step)
    return float(curve.value[at[-1]]) if len(at) else None
