"""Paired differences of a page: each configuration against the best on the same episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from metabench.captions import AVERAGE
from metabench.page.values import Against, Differences
from metabench.pairing import (
    MIN_EPISODES,
    Shared,
    conditions,
    mismatch,
    shared_scores,
    sources_of,
    training_note,
    unit_of,
    weights_of,
)
from metabench.pooling import Pooled, configurations
from metabench.report import make_rows
from metabench.results import Run
from metabench.stats import Difference, contrast, holm
from metabench.tables import Row

_Entry = tuple[Row, Pooled]


def find_differences(runs: Sequence[Run]) -> list[Differences]:
    """Compare what was made under equal conditions, suite by suite.

    Raises:
        UsageError: when several seeds are to be compared and scipy is not installed.
    """
    by_setting: dict[tuple[str, str], list[Pooled]] = defaultdict(list)
    for config in configurations(runs):
        by_setting[config.spec.suite, config.spec.setting].append(config)
    found = []
    for _, configs in sorted(by_setting.items(), key=lambda pair: pair[0]):
        groups: dict[tuple[tuple[str, str], ...], list[_Entry]] = defaultdict(list)
        for row, config in make_rows(configs):
            groups[tuple(conditions(config.spec).items())].append((row, config))
        found += [made for group in groups.values() if (made := _of_group(group))]
    return found


def _of_group(entries: Sequence[_Entry]) -> Differences | None:
    """The differences of configurations made under the same conditions; None of a single one."""
    spec = entries[0][1].spec
    sources = sources_of(spec)
    overall = AVERAGE if len(sources) > 1 else sources[0]
    columns = (AVERAGE, *sources) if len(sources) > 1 else sources
    whole = [entry for entry in entries if {*sources} <= {*entry[1].source}]
    if len(whole) < 2:
        return None
    sign = 1.0 if spec.metric == "accuracy" else -1.0

    def advantage(entry: _Entry) -> float:
        scores = entry[1]
        return sign * float(sum(scores.of_source(name).mean() for name in sources))

    ordered = sorted(whole, key=advantage, reverse=True)
    best, best_config = ordered[0]
    notes, compared = [training_note([config for _, config in ordered])], []
    for row, config in ordered[1:]:
        if reason := mismatch(config, best_config):
            notes.append(f"{config.label} is left out: {reason}.")
            continue
        shared = shared_scores(config, best_config)
        if not shared.n_fewest or (shared.n_fewest == 1 and _single_seed(config, best_config)):
            notes.append(f"{config.label} is left out: it was not tested on the same episodes.")
            continue
        if shared.n_fewest < MIN_EPISODES:
            notes.append(
                f"{config.label}: {shared.n_fewest} episodes per source are few: its intervals are "
                "too narrow."
            )
        compared.append((row, _by_column(shared, columns)))
    if not compared:
        return None
    if any(not by_column[overall].speaks_of_learners for _, by_column in compared):
        notes.append("With one seed they speak of these trained networks, not of the learners.")
    p_values = holm([_two_sided(by_column[overall]) for _, by_column in compared])
    return Differences(
        suite=spec.suite,
        setting=spec.setting,
        unit=unit_of(spec),
        best=best,
        overall=overall,
        columns=columns,
        others=tuple(
            Against(row=row, by_column=by_column, p=p)
            for (row, by_column), p in zip(compared, p_values, strict=True)
        ),
        notes=tuple(filter(None, notes)),
    )


def _single_seed(*configs: Pooled) -> bool:
    return min(len(config.runs) for config in configs) == 1


def _by_column(shared: Shared, columns: Sequence[str]) -> dict[str, Difference]:
    sources = tuple(shared.left)
    return {
        name: contrast(shared.left, shared.right, weights=weights_of(name, sources))
        for name in columns
    }


def _two_sided(difference: Difference) -> float:
    difference.interval()  # says here that it needs scipy, not while the page is written
    return min(1.0, 2 * min(difference.p_above(0.0), difference.p_below(0.0)))
