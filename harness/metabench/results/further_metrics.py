"""Runs with the scores of a further metric in place of the headline's, so that tables show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NoReturn

from metabench.errors import DataError, UsageError
from metabench.results.reading import FinishedRun, Results
from metabench.results.unusable import flaw_of_scores
from metabench.stats import computable
from metabench.text import counted

_MOST_RUNS = 5
"""Runs that one message names."""


def through_metric(results: Results, name: str) -> Results:
    """The runs with the scores of one of their metrics; a problem names each that lacks it.

    Runs of a kind of task that the metric does not score are left out.

    Args:
        results: what :func:`metabench.results.reading.read_runs` found.
        name: of the metric; runs whose headline it is are returned as they are.

    Raises:
        UsageError: when no run has the metric.
        DataError: when the metric of no run is finite on all of its episodes.
    """
    having = [run.record for run in results.runs if _scores(run, name)]
    if not having:
        known = {run.record.spec.metric for run in results.runs}
        known |= {metric for run in results.runs for metric in run.episodes.metrics}
        raise UsageError(
            f"No finished run here has the metric {name!r}; there is {_list(known)}.",
            hint=f"Repeat the command of a run with --metric {name}, which computes it from the "
            "run's checkpoint. `metabench list metrics` lists the metrics.",
        )
    kinds = having[0].metrics[name].kinds if name in having[0].metrics else (having[0].spec.task,)
    runs, problems = [], list(results.problems)
    for run in results.runs:
        if run.record.spec.task not in kinds:
            continue
        flaw = _flaw(run, name)
        if flaw:
            problems.append(f"{run.folder}: {flaw}.")
        else:
            runs.append(of_metric(run, name))
    if not runs:
        _refuse(results.runs, name)
    return Results(tuple(runs), results.others, tuple(problems), under_way=results.under_way)


def runs_through(runs: Iterable[FinishedRun], name: str | None) -> list[FinishedRun]:
    """The runs that have a metric, with its scores; all of them as they are where it is None."""
    if name is None:
        return list(runs)
    return [of_metric(run, name) for run in runs if not _flaw(run, name)]


def of_metric(run: FinishedRun, name: str) -> FinishedRun:
    """A run with the scores of one of its metrics; unchanged if it has no such scores."""
    spec = run.record.spec
    if spec.metric == name or _flaw(run, name):
        return run
    asked = {"metric": name, "metric_version": run.record.metrics[name].version}
    seen = spec.model_copy(update=asked)
    return replace(
        run,
        record=run.record.model_copy(update={"spec": seen}),
        episodes=run.episodes.scored(run.episodes.metrics[name]),
        config_id=seen.config_id,
        evaluations={},
        headline=spec.metric,
    )


def _scores(run: FinishedRun, name: str) -> bool:
    return name == run.record.spec.metric or (
        name in run.record.metrics and name in run.episodes.metrics
    )


def _flaw(run: FinishedRun, name: str) -> str:
    """Why a run has no scores of a metric, and what to do; "" if it has them."""
    if not _scores(run, name):
        return (
            f"the run has no {name}; repeat its command with --metric {name}, which computes it "
            "from the run's checkpoint"
        )
    if name == run.record.spec.metric:
        return ""
    flaw = flaw_of_scores(run.episodes.metrics[name], name=name)
    return f"{flaw}, so it is not counted" if flaw else ""


def _refuse(runs: Sequence[FinishedRun], name: str) -> NoReturn:
    """Say in which runs a metric is not finite, if it is finite in none."""
    having = [run for run in runs if _scores(run, name)]
    told = [
        f"{run.folder} ({_n_bad(run, name):,} of {counted(len(run.episodes), 'episode')})"
        for run in having[:_MOST_RUNS]
    ]
    more = len(having) - len(told)
    told += [f"{more:,} more"] if more > 0 else []
    raise DataError(
        f"The metric {name!r} is finite in no run here: it is not finite in {', '.join(told)}.",
        hint="A run is counted if the metric is finite on all of its episodes.",
    )


def _n_bad(run: FinishedRun, name: str) -> int:
    return int((~computable(run.episodes.metrics[name])).sum())


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
