"""What trackers and listeners are told of a run, read from its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.planning.runspec import Choice, RunSpec
from metabench.plugin.contracts.tracker import Parameter, RunFacts, RunScore
from metabench.results.episode_files import Episodes, NotCountedError, read_episodes
from metabench.results.labels import in_words
from metabench.results.metrics import AVERAGE
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore
from metabench.results.validation_scores import META_VAL, validation_scores
from metabench.stats import average_interval, computable, field_interval


def facts_of(record: RunRecord, folder: Path, *, label: str = "") -> RunFacts:
    """What is known of a run when it begins.

    Args:
        record: of the run.
        folder: of the run.
        label: the run in words; by default its learner, setting and seed.
    """
    spec, made_with = record.spec, record.provenance
    trial = "" if made_with.trial is None else f" trial {made_with.trial}"
    return RunFacts(
        run_id=record.run_id,
        label=label or f"{spec.learner.name} {spec.setting}{trial} seed {spec.seed}",
        suite=spec.suite,
        setting=spec.setting,
        budget=spec.budget,
        learner=spec.learner.name,
        seed=spec.seed,
        folder=folder.absolute(),
        parameters=parameters_of(spec),
        stamps=record.stamps,
        made_with={
            "command": made_with.command,
            "device": made_with.device,
            "started": made_with.started,
            "git": made_with.git,
            **({} if made_with.trial is None else {"trial": str(made_with.trial)}),
        },
    )


def parameters_of(spec: RunSpec) -> dict[str, Parameter]:
    """Everything that decides the numbers of a run, by the names of ``--set``."""
    found: dict[str, Parameter] = {
        "suite": spec.suite,
        "setting": spec.setting,
        "budget": spec.budget,
        "seed": spec.seed,
        "task": spec.task,
        "metric": spec.metric,
        "precision": spec.precision,
        "data": spec.data,
        "data_fingerprint": spec.data_fingerprint,
    }
    if spec.start is not None:
        found["weights"] = in_words(spec.start.to_json())
    things = {"learner": spec.learner, "network": spec.space, "strategy": spec.strategy}
    things |= {f"source.{source.source}": source for source in spec.sources}
    chosen = {scope: choice for scope, choice in things.items() if choice is not None}
    for scope, choice in chosen.items():
        found |= dict(_of_choice(scope, choice))
    for scope, part in (("protocol", spec.protocol), ("budget", spec.training)):
        found |= _below(scope, part.model_dump(mode="json"))
    found |= {"version.suite": spec.suite_version, "version.metric": spec.metric_version}
    return found | {f"version.{scope}": choice.version for scope, choice in chosen.items()}


def _of_choice(scope: str, choice: Choice) -> Iterator[tuple[str, Parameter]]:
    yield scope, choice.name
    yield from _below(scope, choice.params).items()


def _below(scope: str, values: Mapping[str, Any]) -> dict[str, Parameter]:
    return {f"{scope}.{name}": _scalar(value) for name, value in values.items()}


def _scalar(value: Any) -> Parameter:
    return value if isinstance(value, str | int | float | None) else in_words(value)


def scores_of(record: RunRecord, folder: Path) -> tuple[RunScore, ...]:
    """The mean scores of a finished run: of each metric, evaluation and source.

    Those of a trial are on meta-validation. An evaluation that cannot be counted, and a metric that
    is not finite on all episodes of a source, are left out.
    """
    if record.status == "trained":
        judged = validation_scores(RunStore(folder), record)
        return () if judged is None else tuple(_scores(record, judged, META_VAL))
    files = {"meta-test": folder / "episodes.jsonl"}
    files |= {name: folder / "evaluations" / f"{name}.jsonl" for name in record.evaluations}
    found: list[RunScore] = []
    for evaluation, path in files.items():
        try:
            episodes, _ = read_episodes(path, record)
        except NotCountedError:
            continue
        found += _scores(record, episodes, evaluation)
        for name, score in episodes.variants.items():
            found += _scores(record, episodes.scored(score), name)
    return tuple(found)


def _scores(record: RunRecord, episodes: Episodes, evaluation: str) -> Iterator[RunScore]:
    columns = {record.spec.metric: episodes.score, **episodes.metrics}
    sources = [source.source for source in record.spec.sources]
    for metric, column in columns.items():
        rows = {source: column[episodes.source == source] for source in sources}
        finite = {source: row for source, row in rows.items() if _counts(row)}
        intervals = {source: field_interval(row) for source, row in finite.items()}
        if len(sources) == len(intervals) > 1:
            intervals[AVERAGE] = average_interval(list(intervals.values()))
        for source, interval in intervals.items():
            known = math.isfinite(interval.half_width)
            yield RunScore(
                metric=metric,
                source=source,
                mean=interval.mean,
                half_width=interval.half_width if known else None,
                n=interval.n,
                evaluation=evaluation,
            )


def _counts(scores: NDArray[np.float64]) -> bool:
    return bool(len(scores)) and bool(computable(scores).all())
