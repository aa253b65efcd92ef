"""Runs with the scores of another evaluation than the headline's, so that tables can show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from metabench.planning.evaluation import Evaluation
from metabench.results.configurations import Configuration, configurations
from metabench.results.reading import FinishedRun
from metabench.values import digest


@dataclass(frozen=True, slots=True)
class EvaluatedRuns:
    """The runs that have one evaluation; their episodes are those of the evaluation.

    Attributes:
        caption: what the evaluation is.
        runs: with its queries and normalization in their protocol, and with its name. Other
            predictions of a learner have the headline's queries.
    """

    caption: str
    runs: tuple[FinishedRun, ...]


def runs_by_evaluation(runs: Iterable[FinishedRun]) -> list[EvaluatedRuns]:
    """Per evaluation, the runs that have it. Equal names with different meanings are kept apart."""
    having: dict[str, dict[str, list[FinishedRun]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for name in run.evaluations:
            having[name][_meaning(run, name)].append(run)
    found = []
    for name, by_meaning in sorted(having.items()):
        for meaning, group in sorted(by_meaning.items()):
            label = name if len(by_meaning) == 1 else f"{name} {meaning[:6]}"
            said = _caption(group[0].record.evaluations.get(name), label)
            found.append(
                EvaluatedRuns(said, tuple(through(run, name, label=label) for run in group))
            )
    return found


def _meaning(run: FinishedRun, name: str) -> str:
    """A digest of what the suite asks; "" of another prediction of the learner's own."""
    evaluation = run.record.evaluations.get(name)
    return "" if evaluation is None else digest(evaluation.model_dump())


def _caption(evaluation: Evaluation | None, label: str) -> str:
    if evaluation is None:
        return (
            f"Prediction {label}: what the learner calls so, a second answer to the same queries."
        )
    summary = evaluation.summary.rstrip(".")
    return f"Evaluation {label}: {summary}." if summary else f"Evaluation {label}."


def through(run: FinishedRun, name: str, *, label: str = "") -> FinishedRun:
    """A run with the scores of one of its evaluations.

    Args:
        run: has that evaluation.
        name: of the evaluation.
        label: what it is called, its name if absent.
    """
    seen = replace(run, episodes=run.evaluations[name], evaluations={}, evaluation=label or name)
    evaluation = run.record.evaluations.get(name)
    if evaluation is None:
        return seen
    seen = replace(seen, config_id=digest([run.config_id, _meaning(run, name)]))
    spec = run.record.spec
    asked = {"queries": evaluation.grid.points, "normalization": evaluation.normalization}
    spec = spec.model_copy(update={"protocol": spec.protocol.model_copy(update=asked)})
    uses_queries = run.record.transductive and evaluation.normalization == "transductive"
    used = run.record.normalization
    if used not in (None, "running"):  # averages from meta-training serve all queries alike
        used = "transductive" if uses_queries else "inductive"
    record = run.record.model_copy(
        update={"spec": spec, "transductive": uses_queries, "normalization": used}
    )
    return replace(seen, record=record)


HEADLINE = "headline"
"""The evaluation that tables show first."""


def evaluated_configurations(
    runs: Iterable[FinishedRun], *, evaluation: str | None = None
) -> list[Configuration]:
    """Bring the seeds of each configuration together, with the scores of one evaluation.

    Args:
        runs: runs of any configurations.
        evaluation: which of a run's evaluations is used, the headline one if absent; runs
            that do not have it are left out.
    """
    if evaluation not in (None, HEADLINE):
        runs = [through(run, evaluation) for run in runs if evaluation in run.evaluations]
    return configurations(runs)
