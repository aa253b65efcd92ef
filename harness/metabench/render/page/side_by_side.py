"""Any two configurations of a page side by side: differences, episodes, curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from metabench.render.page.differences import (
    Entry,
    Group,
    adjusted,
    by_column,
    comparable_entries,
    overall_and_columns,
    share,
)
from metabench.render.page.values import EpisodeOfTwo, Line, PairOfSides, Side, SideBySide
from metabench.results.comparable_curves import COMMON, Series, training_curves
from metabench.results.configurations import Configuration
from metabench.results.paired_scores import Shared
from metabench.results.reading import FinishedRun
from metabench.results.training_curve import LOSS
from metabench.stats import Blocks
from metabench.stats.families import MOST_PAIRS, count_pairs

MOST_SIDES = 24
"""Configurations of a group that can be chosen, the best: 276 pairs."""
N_EPISODES = 4
"""Episodes of a pair, for each of the two."""
MOST_POINTS = 80
"""Points of a curve."""
_SCALARS = (*COMMON, LOSS)
"""Scalars of the training that are drawn, where they were logged: those that mean the same for all
learners, and what a learner calls its loss, which the page draws for two of one learner alone."""


def find_side_by_side(runs: Sequence[FinishedRun]) -> list[SideBySide]:
    """Every group of configurations that ran under equal conditions, with all of its pairs.

    Raises:
        UsageError: when several seeds are to be compared and scipy is not installed.
    """
    found = (_of_group(group) for group in comparable_entries(runs))
    return [one for one in found if one is not None]


def _of_group(group: Group) -> SideBySide | None:
    """None where no two can be compared."""
    entries = group.entries
    spec, metric = entries[0][1].spec, entries[0][1].metric
    overall, columns = overall_and_columns(spec)
    shown = entries if count_pairs(len(entries)) <= MOST_PAIRS else entries[:MOST_SIDES]
    shared = {
        pair: both
        for pair in combinations(range(len(shown)), 2)
        if not isinstance(both := share(shown[pair[0]][1], shown[pair[1]][1]), str)
    }
    if not shared:
        return None
    differences = {pair: by_column(both, columns) for pair, both in shared.items()}
    of_overall = [columns_of[overall] for columns_of in differences.values()]
    p_values = adjusted(of_overall, n_configs=len(entries)).p_values
    number = _numbers([config for _, config in shown])
    return SideBySide(
        suite=spec.suite,
        setting=spec.setting,
        place=group.place,
        unit=metric.unit,
        better=metric.better,
        overall=overall,
        columns=columns,
        sides=tuple(_side(entry) for entry in shown),
        pairs=tuple(
            PairOfSides(
                left=pair[0],
                right=pair[1],
                by_column=differences[pair],
                p=p,
                episodes=tuple(_episodes(both, number)),
            )
            for (pair, both), p in zip(shared.items(), p_values, strict=True)
        ),
    )


def _side(entry: Entry) -> Side:
    row, config = entry
    scale = config.metric.scale
    return Side(
        row=row,
        training=dict(_training(config)),
        adaptation=_adaptation(config),
        sources={
            str(name): scale * float(config.of_source(name).mean())
            for name in dict.fromkeys(config.source)
        },
        scores=_first_scores(config),
    )


def _adaptation(config: Configuration) -> tuple[float, ...]:
    """The average over sources after each inner step, of the first seed; () if not recorded."""
    episodes = config.runs[0].episodes
    scores = config.metric.scale * episodes.curve
    if not scores.shape[1]:
        return ()
    sources = dict.fromkeys(episodes.source)
    of_sources = [scores[episodes.source == name].mean(axis=0) for name in sources]
    return tuple(np.mean(of_sources, axis=0).tolist())


def _training(config: Configuration) -> Iterator[tuple[str, Line]]:
    """The scalars of the training of the first seed, in at most :data:`MOST_POINTS` points.

    One seed, since reading the curves of all takes longer than all else here.
    """
    found = training_curves(config.runs[0])
    for name in _SCALARS:
        if name in found:
            yield name, _short(found[name])


def _short(series: Series) -> Line:
    """A series by the means of its parts."""
    points = np.stack([series.step, series.value], axis=1)
    parts = np.array_split(points, min(MOST_POINTS, len(points)))
    return tuple((float(x), float(y)) for x, y in (part.mean(axis=0) for part in parts))


def _numbers(configs: Sequence[Configuration]) -> dict[str, int]:
    """Which episode of its source each is, from 0, by key; sources take turns."""
    found: dict[str, int] = {}
    for config in configs:
        episodes, n_sources = config.runs[0].episodes, len(config.spec.sources)
        numbers = (episodes.index // n_sources).tolist()
        found.update(zip(episodes.key.tolist(), numbers, strict=True))
    return found


def _first_scores(config: Configuration) -> dict[str, float]:
    """The scores of the first episode of each source, by key."""
    episodes = config.runs[0].episodes
    first = {*episodes.key[episodes.index < len(config.spec.sources)]}
    rows = [row for row, key in enumerate(config.key) if key in first]
    scores = config.metric.scale * config.scores[:, rows].mean(axis=0)
    return dict(zip(map(str, config.key[rows]), scores.tolist(), strict=True))


def _episodes(shared: Shared, number: Mapping[str, int]) -> Iterator[EpisodeOfTwo]:
    """The episodes that differ most, those where the left is higher first."""
    left, right = (_seed_means(side) for side in (shared.left, shared.right))
    keys = np.concatenate([*shared.keys.values()])
    source = np.repeat([*shared.keys], [len(own) for own in shared.keys.values()])
    order = np.argsort(right - left, kind="stable")
    n = min(N_EPISODES, len(order) // 2)
    for i in [*order[:n], *order[len(order) - n :][::-1]]:
        yield EpisodeOfTwo(
            source=str(source[i]),
            number=number[keys[i]],
            key=str(keys[i]),
            left=float(left[i]),
            right=float(right[i]),
        )


def _seed_means(blocks: Blocks) -> NDArray[np.float64]:
    return np.concatenate([block.mean(axis=0) for block in blocks.values()])
