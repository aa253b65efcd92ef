"""Paired differences of a page: each configuration minus the best on the same episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from metabench.planning.runspec import RunSpec
from metabench.render.page.values import Against, Differences
from metabench.reports.build import make_rows
from metabench.reports.captions import inequality_notes
from metabench.reports.row_notes import name_among, network_tells
from metabench.reports.tables import Row
from metabench.results.comparability import (
    comparable_conditions,
    comparable_groups,
    seeds_wanted,
)
from metabench.results.configurations import Configuration, configurations
from metabench.results.labels import told_apart
from metabench.results.metrics import AVERAGE
from metabench.results.paired_scores import (
    MIN_EPISODES,
    Shared,
    shared_scores,
    sources_of,
    weights_of,
)
from metabench.results.reading import FinishedRun
from metabench.stats import Difference, contrast
from metabench.stats.families import MOST_PAIRS, Adjusted, adjust, count_pairs
from metabench.text import counted

Entry = tuple[Row, Configuration]
"""A configuration and its row."""


def find_differences(runs: Sequence[FinishedRun]) -> list[Differences]:
    """Compare what ran under equal conditions, suite by suite.

    Raises:
        UsageError: when several seeds are to be compared and scipy is not installed.
    """
    made = (_of_group(group) for group in comparable_entries(runs))
    return [differences for differences in made if differences is not None]


@dataclass(frozen=True, slots=True)
class Group:
    """Two or more that ran under equal conditions.

    Attributes:
        place: suite, setting and budget, and what tells them apart from another group of these.
        entries: the best first.
    """

    place: str
    entries: Sequence[Entry]


def comparable_entries(runs: Sequence[FinishedRun]) -> list[Group]:
    """What ran under equal conditions; what has no episode of a source is left out."""
    groups = list(_groups(runs))
    firsts = [entries[0][1] for entries in groups]
    places = [f"{c.spec.suite} @ {c.spec.setting}, budget {c.spec.budget}" for c in firsts]
    apart = told_apart(
        places, [comparable_conditions(config for _, config in entries) for entries in groups]
    )
    return [
        Group(", ".join([place, *said]), entries)
        for place, said, entries in zip(places, apart, groups, strict=True)
    ]


def _groups(runs: Sequence[FinishedRun]) -> Iterator[list[Entry]]:
    """The entries of each group, the best first."""
    by_setting: dict[tuple[str, str], list[Configuration]] = defaultdict(list)
    for config in configurations(runs):
        by_setting[config.spec.suite, config.spec.setting].append(config)
    for _, configs in sorted(by_setting.items(), key=lambda pair: pair[0]):
        entries = make_rows(configs)
        for group in comparable_groups([config for _, config in entries]):
            sources = sources_of(entries[group[0]][1].spec)
            whole = [entries[i] for i in group if {*sources} <= {*entries[i][1].source}]
            if len(whole) > 1:
                yield sorted(whole, key=lambda entry: _advantage(entry[1]), reverse=True)


def _advantage(config: Configuration) -> float:
    means = (config.of_source(name).mean() for name in sources_of(config.spec))
    return config.metric.sign * float(sum(means))


def overall_and_columns(spec: RunSpec) -> tuple[str, tuple[str, ...]]:
    """The column that sums up, and all columns, that one first."""
    sources = sources_of(spec)
    return (AVERAGE, (AVERAGE, *sources)) if len(sources) > 1 else (sources[0], sources)


def _of_group(group: Group) -> Differences | None:
    """The differences of configurations that can be compared; None where no two can."""
    ordered = _named_apart(group.entries)
    spec, metric = ordered[0][1].spec, ordered[0][1].metric
    overall, columns = overall_and_columns(spec)
    notes = inequality_notes([config for _, config in ordered])
    best, best_config = _with_rival(ordered)
    compared: list[tuple[Row, Configuration, dict[str, Difference]]] = []
    rows = [row for row, _ in ordered]
    for row, config in ordered:
        if config is best_config:
            continue
        shared = share(config, best_config)
        if isinstance(shared, str):
            notes.append(f"{name_among(row, rows)} is left out: {shared}.")
            continue
        if shared.n_fewest < MIN_EPISODES:
            few = f"{counted(shared.n_fewest, 'episode')} per source"
            name = name_among(row, rows)
            notes.append(f"With only {few}, the intervals of {name} are too narrow.")
        compared.append((row, config, by_column(shared, columns)))
    if not compared:
        return None
    if best_config.has_one_seed or any(config.has_one_seed for _, config, _ in compared):
        notes.append(
            "With one seed, the intervals hold for these trained networks, not for the learners."
        )
    tests = _p_values(
        [by_column for *_, by_column in compared], [config for _, config, _ in compared], columns
    )
    reason = tests[overall].untested
    if reason and None in tests[overall].p_values[: len(compared)]:
        notes.append(
            f"{reason[0].upper()}{reason[1:]}. The p-values would be too small, so these "
            "differences have none and do not count."
        )
    return Differences(
        suite=spec.suite,
        setting=spec.setting,
        place=group.place,
        unit=metric.unit,
        direction=metric.direction,
        best=best,
        overall=overall,
        columns=columns,
        others=tuple(
            Against(
                row=row,
                by_column=by_column,
                p=tests[overall].p_values[i],
                p_by_column={column: tests[column].p_values[i] for column in columns},
            )
            for i, (row, _, by_column) in enumerate(compared)
        ),
        adjustment=tests[overall].words,
        notes=tuple(filter(None, notes)),
    )


def _named_apart(entries: Sequence[Entry]) -> list[Entry]:
    """Entries whose rows have their network in brackets where names alone could mean several."""
    rows = [row for row, _ in entries]
    return [
        (
            replace(row, facts=(*row.facts, row.network)) if network_tells(row, rows) else row,
            config,
        )
        for row, config in entries
    ]


def _p_values(
    with_best: Sequence[Mapping[str, Difference]],
    others: Sequence[Configuration],
    columns: Sequence[str],
) -> dict[str, Adjusted]:
    """The p-values of the pairs with the best, adjusted over all pairs.

    Args:
        with_best: the differences of each of ``others`` to the best.
        others: what is compared with the best.
        columns: each is a family.

    Returns:
        By column, p-values for each of ``others``, before those of further pairs.
    """
    k = len(others) + 1
    few = count_pairs(k) <= MOST_PAIRS
    family = [*with_best, *(_differences_of_pairs(others, columns) if few else ())]
    return {column: adjusted([one[column] for one in family], n_configs=k) for column in columns}


def _differences_of_pairs(
    configs: Sequence[Configuration], columns: Sequence[str]
) -> Iterator[dict[str, Difference]]:
    """The differences of each pair that can be compared."""
    for left, right in combinations(configs, 2):
        if not isinstance(shared := share(left, right), str):
            yield by_column(shared, columns)


def _with_rival(ordered: Sequence[Entry]) -> Entry:
    """The best of those that one behind them can be compared with; the first where none can."""
    for rank, (row, config) in enumerate(ordered):
        if any(not isinstance(share(config, other), str) for _, other in ordered[rank + 1 :]):
            return row, config
    return ordered[0]


def share(left: Configuration, right: Configuration) -> Shared | str:
    """What two configurations share; where they cannot be compared, why."""
    reason, wanted = seeds_wanted(left, right)
    if reason:
        return f"{reason}. {wanted}".removesuffix(".")
    shared = shared_scores(left, right)
    one_seed = left.has_one_seed or right.has_one_seed or (left.seedless and right.seedless)
    if shared.n_fewest <= int(one_seed):
        return "it was not tested on the same episodes"
    return shared


def by_column(shared: Shared, columns: Sequence[str]) -> dict[str, Difference]:
    """Left minus right in each column."""
    sources = tuple(shared.left)
    return {
        name: contrast(
            shared.left,
            shared.right,
            weights=weights_of(name, sources),
            seedless=shared.seedless,
        )
        for name in columns
    }


def adjusted(differences: Sequence[Difference], *, n_configs: int) -> Adjusted:
    """The p-values of differences from 0, adjusted for all pairs of so many configurations."""
    for difference in differences:
        if difference.standard_error == 0:
            difference.interval()  # says here that it needs scipy, not while the page is written
    return adjust(
        [one.p_two_sided() for one in differences],
        seeds=[one.n_seeds for one in differences],
        n_configs=n_configs,
    )
