"""Two learners, runs or folders side by side: paired differences per source and on average."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from metabench.errors import DataError, UsageError
from metabench.reports.captions import (
    headline_note,
    inequality_notes,
    normalization_notes,
    seedless_note,
    unequal_sides,
)
from metabench.results.comparability import conditions, mismatch, seeds_wanted
from metabench.results.configurations import Configuration, stamps_of
from metabench.results.labels import description, short_name, telling, told_apart
from metabench.results.metrics import AVERAGE
from metabench.results.paired_scores import (
    MIN_EPISODES,
    Shared,
    shared_scores,
    sources_of,
    weights_of,
)
from metabench.stats import (
    Bootstrap,
    Difference,
    Needed,
    SignedRank,
    contrast,
    differences,
    episodes_needed,
    hierarchical_bootstrap,
    holm,
    seeds_needed,
    standardized_difference,
    variance_parts,
    visible_difference,
    wilcoxon,
)
from metabench.text import counted

N_EXTREMES = 5

MOST_FACTS = 3
"""So many differences between two configurations of one learner are in their titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDifference:
    """One column of a comparison.

    Attributes:
        column: a source, or the average.
        left: mean of the first.
        right: mean of the second.
        difference: first minus second.
        bootstrap: its hierarchical bootstrap; None with one seed on a side.
        signed_rank: Wilcoxon's test on the episodes of a source; None for the average.
        p: its p-value, adjusted after Holm over the sources.
        effect: standardized paired difference of a source's episodes; None for the average, and
            where all differences are equal.
        visible: the smallest true difference that would have been detected with probability 0.8.
        needed: what detects the difference asked for; None where none was.
    """

    column: str
    left: float
    right: float
    difference: Difference
    bootstrap: Bootstrap | None
    signed_rank: SignedRank | None
    p: float | None
    effect: float | None
    visible: float
    needed: Needed | None


@dataclass(frozen=True, slots=True)
class EpisodeDifference:
    """An episode, its scores averaged over seeds, and their difference."""

    key: str
    source: str
    left: float
    right: float

    @property
    def difference(self) -> float:
        """First minus second."""
        return float(differences(self.left, self.right))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two configurations on the episodes that both were tested on.

    Attributes:
        left: the first, in words.
        right: the second.
        unit: ``%``, or the name of the metric.
        direction: ``more is better`` or ``less is better``.
        columns: each source, and the average where there are several.
        extremes: the episodes that differ most, on either side.
        stamps: of their runs.
        notes: what else a reader must know, in sentences.
        warnings: what of it a reader must beware of, in a few words each.
        too_few: episodes of the source that has the fewest, where these are too few for a verdict.
    """

    left: str
    right: str
    unit: str
    direction: str
    columns: tuple[ColumnDifference, ...]
    extremes: tuple[EpisodeDifference, ...]
    stamps: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    too_few: int | None = None


def compare_pairs(
    pairs: Sequence[tuple[Configuration, Configuration]],
    *,
    difference: float | None = None,
    evaluation: str | None = None,
) -> list[Comparison]:
    """Compare each pair as :func:`compare` does; titles tell pairs of one name apart."""
    lefts = [left for left, _ in pairs]
    apart = told_apart([one.label for one in lefts], [conditions(one.spec) for one in lefts])
    return [
        compare(left, right, difference=difference, evaluation=evaluation, apart=said)
        for (left, right), said in zip(pairs, apart, strict=True)
    ]


def compare(
    left: Configuration,
    right: Configuration,
    *,
    difference: float | None = None,
    evaluation: str | None = None,
    apart: Sequence[str] = (),
) -> Comparison:
    """Compare two configurations, first minus second.

    Args:
        left: the first.
        right: the second.
        difference: a true difference, in the unit of the scores; the comparison then says how
            many episodes or seeds detect it.
        evaluation: which evaluation the scores are of; the headline one if absent.
        apart: what the titles say of the conditions besides suite, setting and budget.

    Raises:
        UsageError: when they ran under different conditions, a run is on both sides, or their
            seeds give no interval.
        DataError: when they have no episode of some source in common.
    """
    if reason := mismatch(left, right, evaluation=evaluation):
        raise UsageError(
            f"{left.label} and {right.label} are not comparable: {reason}.",
            hint="Compare runs with the same suite, setting, budget, data and protocol.",
        )
    _check_apart(left, right)
    reason, wanted = seeds_wanted(left, right)
    if reason:
        raise UsageError(
            f"{left.label} and {right.label} have no interval of their difference: {reason}.",
            hint=wanted,
        )
    shared = shared_scores(left, right)
    if lacking := [source for source, keys in shared.keys.items() if not len(keys)]:
        of = "" if len(lacking) == len(shared.keys) else f" of {', '.join(lacking)}"
        raise DataError(
            f"{left.label} and {right.label} were not tested on the same episodes{of}.",
            hint="Runs with the same suite, setting and episode seed have the same episodes.",
        )
    if shared.n_fewest == 1 and _without_seeds(left, right):
        raise DataError(
            f"{left.label} and {right.label} share only one episode of a source, which gives no "
            "interval.",
            hint="Compare runs with more episodes, or with several seeds.",
        )
    sources = sources_of(left.spec)
    ranks = [_ranked(shared, source) for source in sources]
    p_values = holm([rank.p for rank in ranks])
    columns = [
        _column(shared, source, rank=rank, p=p, wanted=difference)
        for source, rank, p in zip(sources, ranks, p_values, strict=True)
    ]
    if len(sources) > 1:
        columns.append(_column(shared, AVERAGE, wanted=difference))
    titles = [_title(config, apart) for config in (left, right)]
    if titles[0] == titles[1]:
        titles = [
            f"{title}, {said}" for title, said in zip(titles, _apart(left, right), strict=True)
        ]
    return Comparison(
        left=titles[0],
        right=titles[1],
        unit=left.metric.unit,
        direction=left.metric.direction,
        columns=tuple(columns),
        extremes=tuple(_extremes(shared)),
        stamps=stamps_of(left, right),
        notes=tuple(_notes(left, right, shared)),
        warnings=tuple(_warnings(left, right, shared)),
        too_few=_too_few(left, right, shared),
    )


def _without_seeds(left: Configuration, right: Configuration) -> bool:
    """Whether the episodes are all that is random in the difference: no side has several seeds."""
    return left.has_one_seed or right.has_one_seed or (left.seedless and right.seedless)


def _check_apart(left: Configuration, right: Configuration) -> None:
    """Refuse sides of which one has some of the other's runs, and further ones.

    Sides with the same runs at two places may be compared: an earlier and a later version of the
    code make the same run.
    """
    here, there = ({run.record.run_id for run in side.runs} for side in (left, right))
    if here != there and (both := sorted(here & there)):
        are = "is" if len(both) == 1 else "are"
        raise UsageError(
            f"{counted(len(both), 'run')} of {left.label} {are} on both sides: {', '.join(both)}.",
            hint="Name sides that share no run, or that both have all of these runs.",
        )


def _title(config: Configuration, apart: Sequence[str]) -> str:
    seeds = [str(run.record.spec.seed) for run in config.runs]
    said = f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"
    return ", ".join([config.label, *apart, said])


def _apart(left: Configuration, right: Configuration) -> list[str]:
    """The first facts that tell two configurations of one learner from each other."""
    sides = [description(left.spec), description(right.spec)]
    names = [name for name in telling(sides) if not name.endswith(".version")]
    first = sorted(names, key=lambda name: not name.endswith(".name"))[:MOST_FACTS]
    return [
        ", ".join(f"{short_name(name)}={side[name]}" for name in first if name in side)
        for side in sides
    ]


def _ranked(shared: Shared, source: str) -> SignedRank:
    return wilcoxon(shared.left[source].mean(axis=0), shared.right[source].mean(axis=0))


def _column(
    shared: Shared,
    column: str,
    *,
    rank: SignedRank | None = None,
    p: float | None = None,
    wanted: float | None,
) -> ColumnDifference:
    weights = weights_of(column, tuple(shared.left))
    found = contrast(shared.left, shared.right, weights=weights, seedless=shared.seedless)
    left = contrast(shared.left, weights=weights).mean
    single = rank is not None
    return ColumnDifference(
        column=column,
        left=left,
        right=left - found.mean,
        difference=found,
        bootstrap=hierarchical_bootstrap(shared.left, shared.right, weights=weights)
        if found.speaks_of_learners
        else None,
        signed_rank=rank,
        p=p,
        effect=standardized_difference(
            shared.left[column].mean(axis=0), shared.right[column].mean(axis=0)
        )
        if single
        else None,
        visible=visible_difference(found),
        needed=None if wanted is None else _needed(shared, weights, found, wanted),
    )


def _needed(shared: Shared, weights: dict[str, float], found: Difference, wanted: float) -> Needed:
    """How many seeds where there are several, else episodes in all, spread over sources as here."""
    if not found.speaks_of_learners:
        std = found.standard_error * float(np.sqrt(found.n_episodes))
        return episodes_needed(std, difference=wanted)
    parts = variance_parts(shared.left, shared.right, weights=weights, seedless=shared.seedless)
    return seeds_needed(parts, difference=wanted, n_episodes=found.n_episodes)


def _extremes(shared: Shared) -> list[EpisodeDifference]:
    """The largest differences in favor of either side, largest first, then the most negative."""
    episodes = [
        EpisodeDifference(str(key), source, float(left), float(right))
        for source, keys in shared.keys.items()
        for key, left, right in zip(
            keys, shared.left[source].mean(axis=0), shared.right[source].mean(axis=0), strict=True
        )
    ]
    ordered = sorted(episodes, key=lambda episode: (-episode.difference, episode.key))
    above = [episode for episode in ordered[:N_EXTREMES] if episode.difference > 0]
    below = [episode for episode in ordered[-N_EXTREMES:] if episode.difference < 0]
    return above + below


def _notes(left: Configuration, right: Configuration, shared: Shared) -> Sequence[str]:
    notes = [headline_note([left, right]), *inequality_notes([left, right])]
    if left.has_one_seed or right.has_one_seed:
        notes.append(
            "With one seed, the intervals hold for these trained networks, not for the learners."
        )
    notes.append(seedless_note([left, right]))
    if shared.left_out:
        notes.append(f"{shared.left_out}.")
    if shared.n_fewest < MIN_EPISODES:
        few = f"{counted(shared.n_fewest, 'episode')} per source"
        notes.append(f"With only {few}, the intervals are too narrow.")
    notes += normalization_notes([left, right])
    return [note for note in notes if note]


def _too_few(left: Configuration, right: Configuration, shared: Shared) -> int | None:
    """The number of episodes, where these are too few; single ones, with several seeds, are not.

    A single episode is a whole test set, and then the interval is over seeds alone.
    """
    if not _without_seeds(left, right) and all(len(keys) == 1 for keys in shared.keys.values()):
        return None
    return shared.n_fewest if shared.n_fewest < MIN_EPISODES else None


def _warnings(left: Configuration, right: Configuration, shared: Shared) -> Iterator[str]:
    """The notes in a few words each."""
    if differing := unequal_sides([left, right]):
        yield f"A and B differ in {', '.join(differing)}"
    if left.has_one_seed or right.has_one_seed:
        yield "with one seed this holds for these networks, not the learners"
    if shared.left_out:
        yield "some episodes are not used"
    if shared.n_fewest < MIN_EPISODES:
        yield "with few episodes the intervals are too narrow"
    if stamps := stamps_of(left, right):
        yield f"stamped {', '.join(stamps)}"
