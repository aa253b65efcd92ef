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
            their setting.
    """

    caption: str
    runs: tuple[Run, ...]


def evaluated(runs: Iterable[Run]) -> list[Evaluated]:
    """Per evaluation, the runs that have it. Equal names that mean different things stay apart."""
    having: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for name in run.evaluations:
            having[name][digest(run.record.evaluations[name].model_dump())].append(run)
    found = []
    for name, by_meaning in sorted(having.items()):
        for meaning, group in sorted(by_meaning.items()):
            label = name if len(by_meaning) == 1 else f"{name} {meaning[:6]}"
            summary = group[0].record.evaluations[name].summary.rstrip(".")
            said = f"Evaluation {label}: {summary}." if summary else f"Evaluation {label}."
            found.append(Evaluated(said, tuple(_through(run, name, label) for run in group)))
    return found


def _through(run: Run, name: str, label: str) -> Run:
    evaluation: Evaluation = run.record.evaluations[name]
    spec = run.record.spec
    asked = {"queries": evaluation.grid.points, "normalization": evaluation.normalization}
    seen = spec.model_copy(
        update={
            "setting": f"{spec.setting}, {label}",
            "protocol": spec.protocol.model_copy(update=asked),
        }
    )
    uses_queries = run.record.transductive and evaluation.normalization == "transductive"
    record = run.record.model_copy(update={"spec": seen, "transductive": uses_queries})
    return replace(run, record=record, episodes=run.evaluations[name], evaluations={})
