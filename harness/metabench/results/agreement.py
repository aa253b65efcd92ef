"""Whether two makings of one run have the same scores; where not, how they differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.episode_files import Episodes
from metabench.results.metrics import number
from metabench.text import counted


def disagreement(
    first: Episodes,
    second: Episodes,
    metric: MetricFacts,
    *,
    evaluations: tuple[Mapping[str, Episodes], Mapping[str, Episodes]] = ({}, {}),
) -> str:
    """How the scores of two makings of a run differ, as the end of a sentence; "" if they do not.

    Args:
        first: episodes of the one.
        second: episodes of the other.
        metric: of their scores.
        evaluations: of both; those that only one has make no difference.
    """
    said = [_differences(first, second, metric)]
    one, other = evaluations
    for name in sorted(one.keys() & other.keys()):
        found = _differences(one[name], other[name], metric)
        said.append(f"in {name}, {found}" if found else "")
    return "; ".join(filter(None, said))


def _differences(first: Episodes, second: Episodes, metric: MetricFacts) -> str:
    return " and ".join(_of_two(first, second, metric))


def _of_two(first: Episodes, second: Episodes, metric: MetricFacts) -> Iterator[str]:
    if len(first) != len(second):
        yield f"there are {len(first):,} or {len(second):,} episodes"
    _, here, there = np.intersect1d(first.index, second.index, return_indices=True)
    n = len(here)
    if others := int((first.key[here] != second.key[there]).sum()):
        yield f"{_of(others, n)} other examples"
    changed = first.score[here] != second.score[there]
    if count := int(changed.sum()):
        means = (
            number(metric.scale * float(one.score.mean()), metric.unit) for one in (first, second)
        )
        most = np.abs(first.score[here] - second.score[there]).max() * metric.scale
        yield (
            f"{_of(count, n)} other scores, by {most:.3g} at most (the mean of all is "
            f"{' or '.join(means)})"
        )


def _of(count: int, n: int) -> str:
    return f"{count:,} of {counted(n, 'episode')} {'has' if count == 1 else 'have'}"
