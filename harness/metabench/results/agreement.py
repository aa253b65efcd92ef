"""Whether two makings of one run have the same scores; where not, how they differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.episode_files import Episodes
from metabench.results.metrics import number
from metabench.results.schema import RunRecord
from metabench.text import counted


class Made(Protocol):
    """A finished run with its scores."""

    @property
    def record(self) -> RunRecord:
        """Its record."""

    @property
    def episodes(self) -> Episodes:
        """Of the headline."""

    @property
    def evaluations(self) -> Mapping[str, Episodes]:
        """Of other evaluations, by name."""


def disagreement(first: Made, second: Made) -> str:
    """How the scores of two makings of a run differ, as the end of a sentence; "" if they do not.

    Metrics and evaluations that only one has, or that are defined otherwise, make no difference.
    """
    here, there = first.record, second.record
    said = [_differences(first.episodes, second.episodes, here.metric)]
    for name in here.further_metrics:
        if here.metrics[name] == there.metrics.get(name):
            said.append(_named(name, _of_metric(first, second, name)))
    for name in first.evaluations.keys() & second.evaluations.keys():
        if here.evaluations.get(name) == there.evaluations.get(name):
            one, other = first.evaluations[name], second.evaluations[name]
            said.append(_named(name, _differences(one, other, here.metric)))
    return "; ".join(sorted(filter(None, said)))


def _named(name: str, difference: str) -> str:
    return f"in {name}, {difference}" if difference else ""


def _of_metric(first: Made, second: Made, name: str) -> str:
    one, other = first.episodes, second.episodes
    if name not in one.metrics or name not in other.metrics:
        return ""
    here, there = one.scored(one.metrics[name]), other.scored(other.metrics[name])
    return _differences(here, there, first.record.metrics[name])


def _differences(first: Episodes, second: Episodes, metric: MetricFacts) -> str:
    return " and ".join(_of_two(first, second, metric))


def _of_two(first: Episodes, second: Episodes, metric: MetricFacts) -> Iterator[str]:
    if len(first) != len(second):
        yield f"there are {len(first):,} or {len(second):,} episodes"
    _, here, there = np.intersect1d(first.index, second.index, return_indices=True)
    if others := int((first.key[here] != second.key[there]).sum()):
        yield f"{_of(others, len(here))} other examples"
    scores = first.score[here], second.score[there]
    changed = ~((scores[0] == scores[1]) | (np.isnan(scores[0]) & np.isnan(scores[1])))
    if count := int(changed.sum()):
        most = metric.scale * float(np.abs(scores[0] - scores[1])[changed].max())
        means = [
            number(metric.scale * float(one.score.mean()), metric.unit) for one in (first, second)
        ]
        yield (
            f"{_of(count, len(here))} other scores, by {most:.3g} at most (the mean of all is "
            f"{' or '.join(means)})"
        )


def _of(count: int, n: int) -> str:
    return f"{count:,} of {counted(n, 'episode')} {'has' if count == 1 else 'have'}"
