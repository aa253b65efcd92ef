"""Runs as seen through an evaluation beside the headline one, so that tables can show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from metabench.evaluation import Evaluation
from metabench.results import Run
from metabench.runspec import digest


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The runs that have one evaluation; their episodes are those of the evaluation.

    Attributes:
        caption: what the evaluation is.
        runs: with its queries and normalization in their protocol, and its name behind that of
            their setting. Other predictions of a learner have the headline's queries.
    """

    caption: str
    runs: tuple[Run, ...]


def evaluated(runs: Iterable[Run]) -> list[Evaluated]:
    """Per evaluation, the runs that have it. Equal names that mean different things stay apart."""
    having: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for name in run.evaluations:
            having[name][_meaning(run, name)].append(run)
    found = []
    for name, by_meaning in sorted(having.items()):
        for meaning, group in sorted(by_meaning.items()):
            label = name if len(by_meaning) == 1 else f"{name} {meaning[:6]}"
            said = _caption(group[0].record.evaluations.get(name), label)
            found.append(Evaluated(said, tuple(_through(run, name, label) for run in group)))
    return found


def _meaning(run: Run, name: str) -> str:
    """A digest of what the suite asks; "" of another prediction of the learner's own."""
    evaluation = run.record.evaluations.get(name)
    return "" if evaluation is None else digest(evaluation.model_dump())


def _caption(evaluation: Evaluation | None, label: str) -> str:
    if evaluation is None:
        return f"Prediction {label}: the same adaptation and queries, predicted otherwise."
    summary = evaluation.summary.rstrip(".")
    return f"Evaluation {label}: {summary}." if summary else f"Evaluation {label}."


def _through(run: Run, name: str, label: str) -> Run:
    spec = run.record.spec
    named = spec.model_copy(update={"setting": f"{spec.setting}, {label}"})
    evaluation = run.record.evaluations.get(name)
    if evaluation is None:
        record = run.record.model_copy(update={"spec": named})
        return replace(run, record=record, episodes=run.evaluations[name], evaluations={})
    asked = {"queries": evaluation.grid.points, "normalization": evaluation.normalization}
    seen = named.model_copy(update={"protocol": spec.protocol.model_copy(update=asked)})
    uses_queries = run.record.transductive and evaluation.normalization == "transductive"
    record = run.record.model_copy(update={"spec": seen, "transductive": uses_queries})
    return replace(run, record=record, episodes=run.evaluations[name], evaluations={})
