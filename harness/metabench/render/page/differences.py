"""Paired differences of a page: each configuration minus the best on the same episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from metabench.render.page.values import Against, Differences
from metabench.reports.build import make_rows
from metabench.reports.captions import inequality_notes
from metabench.reports.tables import Row
from metabench.results.comparability import comparable_groups, seeds_wanted
from metabench.results.configurations import Configuration, configurations
from metabench.results.metrics import AVERAGE
from metabench.results.paired_scores import (
    MIN_EPISODES,
    Shared,
    shared_scores,
    sources_of,
    weights_of,
)
from metabench.results.reading import FinishedRun
from metabench.stats import Difference, contrast, holm
from metabench.text import counted

MOST_PAIRS = 300
"""With more pairs, those without the best are not computed: they would take too long."""

_Entry = tuple[Row, Configuration]


def find_differences(runs: Sequence[FinishedRun]) -> list[Differences]:
    """Compare what ran under equal conditions, suite by suite.

    Raises:
        UsageError: when several seeds are to be compared and scipy is not installed.
    """
    by_setting: dict[tuple[str, str], list[Configuration]] = defaultdict(list)
    for config in configurations(runs):
        by_setting[config.spec.suite, config.spec.setting].append(config)
    found = []
    for _, configs in sorted(by_setting.items(), key=lambda pair: pair[0]):
        entries = make_rows(configs)
        groups = comparable_groups([config for _, config in entries])
        made = [_of_group([entries[i] for i in group]) for group in groups]
        found += [differences for differences in made if differences is not None]
    return found


def _of_group(entries: Sequence[_Entry]) -> Differences | None:
    """The differences of configurations that can be compared; None of a single one."""
    spec, metric = entries[0][1].spec, entries[0][1].metric
    sources = sources_of(spec)
    overall = AVERAGE if len(sources) > 1 else sources[0]
    columns = (AVERAGE, *sources) if len(sources) > 1 else sources
    whole = [entry for entry in entries if {*sources} <= {*entry[1].source}]
    if len(whole) < 2:
        return None

    def advantage(entry: _Entry) -> float:
        scores = entry[1]
        return metric.sign * float(sum(scores.of_source(name).mean() for name in sources))

    ordered = sorted(whole, key=advantage, reverse=True)
    notes = inequality_notes([config for _, config in ordered])
    best, best_config = _with_rival(ordered)
    compared: list[tuple[Row, Configuration, dict[str, Difference]]] = []
    for row, config in ordered:
        if config is best_config:
            continue
        shared = _shared(config, best_config)
        if isinstance(shared, str):
            notes.append(f"{config.label} is left out: {shared}.")
            continue
        if shared.n_fewest < MIN_EPISODES:
            few = f"{counted(shared.n_fewest, 'episode')} per source"
            notes.append(f"With only {few}, the intervals of {config.label} are too narrow.")
        compared.append((row, config, _by_column(shared, columns)))
    if not compared:
        return None
    if any(not by_column[overall].speaks_of_learners for *_, by_column in compared):
        notes.append(
            "With one seed, the intervals hold for these trained networks, not for the learners."
        )
    p_values, adjustment = _adjusted(
        [_two_sided(by_column[overall]) for *_, by_column in compared],
        [config for _, config, _ in compared],
        overall,
    )
    return Differences(
        suite=spec.suite,
        setting=spec.setting,
        unit=metric.unit,
        direction=metric.direction,
        best=best,
        overall=overall,
        columns=columns,
        others=tuple(
            Against(row=row, by_column=by_column, p=p)
            for (row, _, by_column), p in zip(compared, p_values, strict=True)
        ),
        adjustment=adjustment,
        notes=tuple(filter(None, notes)),
    )


def _adjusted(
    with_best: Sequence[float], others: Sequence[Configuration], overall: str
) -> tuple[Sequence[float], str]:
    """The p-values of the pairs with the best, adjusted over all pairs, and how, in words.

    Which one is the best is seen in these very episodes, so any pair could have been shown: the
    family is all of them.

    Args:
        with_best: a p-value for each of ``others`` against the best.
        others: what is compared with the best.
        overall: the column that is tested.
    """
    k = len(others) + 1
    n_pairs = k * (k - 1) // 2
    if n_pairs > MOST_PAIRS:
        said = f"by Bonferroni's correction for all {n_pairs:,} pairs of the {k:,} configurations"
        return [min(1.0, n_pairs * p) for p in with_best], said
    family = [*with_best, *_p_of_pairs(others, overall)]
    pairs = "the one pair" if k == 2 else f"all {len(family):,} pairs of the {k} configurations"
    return holm(family)[: len(with_best)], f"by Holm's procedure over {pairs}"


def _p_of_pairs(configs: Sequence[Configuration], column: str) -> Iterator[float]:
    """The p-value of each pair that can be compared."""
    for left, right in combinations(configs, 2):
        if not isinstance(shared := _shared(left, right), str):
            yield _two_sided(_by_column(shared, [column])[column])


def _with_rival(ordered: Sequence[_Entry]) -> _Entry:
    """The best of those that one behind them can be compared with; the first where none can."""
    for rank, (row, config) in enumerate(ordered):
        if any(not isinstance(_shared(config, other), str) for _, other in ordered[rank + 1 :]):
            return row, config
    return ordered[0]


def _shared(left: Configuration, right: Configuration) -> Shared | str:
    """What two configurations share; where they cannot be compared, why."""
    reason, wanted = seeds_wanted(left, right)
    if reason:
        return f"{reason}. {wanted}".removesuffix(".")
    shared = shared_scores(left, right)
    one_seed = min(len(left.runs), len(right.runs)) == 1
    if shared.n_fewest <= int(one_seed):
        return "it was not tested on the same episodes"
    return shared


def _by_column(shared: Shared, columns: Sequence[str]) -> dict[str, Difference]:
    sources = tuple(shared.left)
    return {
        name: contrast(shared.left, shared.right, weights=weights_of(name, sources))
        for name in columns
    }


def _two_sided(difference: Difference) -> float:
    difference.interval()  # says here that it needs scipy, not while the page is written
    return min(1.0, 2 * min(difference.p_above(0.0), difference.p_below(0.0)))
