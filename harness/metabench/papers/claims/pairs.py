"""From a claim and its runs to pairs, each with a difference or the reason why it has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from metabench.papers.claims.intervals import PairResult
from metabench.papers.claims.measures import Measured, measured, verdict_of_runs
from metabench.papers.claims.runs import Found
from metabench.papers.claims.schema import Claim, Party
from metabench.papers.claims.scope import Scope, Verdict
from metabench.results.comparability import difference_in_words, mismatch, seeds_wanted
from metabench.results.configurations import Configuration, stamps_of
from metabench.results.labels import description
from metabench.results.metrics import AVERAGE
from metabench.results.paired_scores import (
    MIN_EPISODES,
    own_scores,
    shared_scores,
    sources_of,
    weights_of,
)
from metabench.stats import Blocks, adjusted_too_far, contrast
from metabench.text import counted


class _NoNumberError(Exception):
    """Why a pair has no number: the verdict that follows, and a reason."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


def compare_pairs(
    claim: Claim, found: Found, *, baselines: Mapping[tuple[str, ...], Configuration]
) -> list[PairResult]:
    """Every pair of a claim with its difference, not yet judged.

    Args:
        claim: the claim.
        found: its configurations.
        baselines: the baseline's scores by the runs that they are of, for a claim that has one.
    """
    rights: tuple[Party | None, ...] = claim.right or (None,)
    fixed = claim.baseline if claim.value is None else f"{claim.value:g}"
    results = []
    for column in claim.columns:
        for left in claim.left:
            for right in rights:
                blank = PairResult(left=str(left), right=str(right or fixed), column=column)
                try:
                    results.append(_compare(claim, blank, left, right, found, baselines))
                except _NoNumberError as why:
                    results.append(replace(blank, verdict=why.verdict, reason=why.reason))
    return results


def measure_runs(claim: Claim, found: Found) -> list[PairResult]:
    """A number of each run: supported where all runs reach the value, refuted where all fail it.

    A proportion reaches a value if its whole 95 % interval does, and fails it if no part of the
    interval reaches it. A p-value refutes nothing.
    """
    assert claim.measure is not None
    results = []
    for party in claim.left:
        blank = PairResult(left=str(party), right=f"{claim.value:g}", column=claim.measure)
        try:
            config = _configuration_of(party, found)
        except _NoNumberError as why:
            results.append(replace(blank, verdict=why.verdict, reason=why.reason))
            continue
        numbers = [measured(run, claim.measure) for run in config.runs]
        known = [one for one in numbers if one is not None]
        if len(known) < len(numbers):
            results.append(replace(blank, reason=f"not every run has the measure {claim.measure}"))
            continue
        verdict = verdict_of_runs(claim, known)
        said = f"measured {', '.join(_of_seeds(config, known))}"
        said = "; ".join([said, *dict.fromkeys(one.method for one in known if one.method)])
        results.append(replace(blank, verdict=verdict, scope=_scope(claim, config), reason=said))
    return results


def _of_seeds(config: Configuration, numbers: Sequence[Measured]) -> list[str]:
    """The number of each run, with its seed where there are several."""
    if len(numbers) == 1:
        return [str(numbers[0])]
    seeds = [run.record.spec.seed for run in config.runs]
    return [f"{one} with seed {seed}" for one, seed in zip(numbers, seeds, strict=True)]


def _scope(claim: Claim, *configs: Configuration) -> Scope:
    stamps = (stamp for stamp in stamps_of(*configs) if stamp != claim.budget)
    return Scope(any(config.has_one_seed for config in configs), tuple(stamps))


def _compare(
    claim: Claim,
    blank: PairResult,
    left: Party,
    right: Party | None,
    found: Found,
    baselines: Mapping[tuple[str, ...], Configuration],
) -> PairResult:
    mine = _configuration_of(left, found)
    sources = sources_of(mine.spec)
    if blank.column not in (AVERAGE, *sources):
        raise _NoNumberError("not comparable", f"the suite has no column {blank.column}")
    sign = mine.metric.sign
    weights = {k: sign * w for k, w in weights_of(blank.column, sources).items()}
    pair = replace(blank, unit=mine.metric.unit, scope=_scope(claim, mine))
    if right is not None:
        return _with_learner(
            pair, mine, _configuration_of(right, found), weights=weights, claim=claim
        )
    if claim.baseline is not None:
        blocks = _above_baseline(mine, baselines.get(mine.run_ids), claim.baseline)
    else:
        blocks = own_scores(mine)
    _require_episodes([blocks[source].shape for source in weights])
    value = sign * (claim.value or 0.0)
    _require_enough_seeds(claim, mine.n_seeds, 0)
    seedless = (mine.seedless, False)
    number = contrast(blocks, weights=weights, value=value, seedless=seedless)
    return replace(pair, difference=number)


def _above_baseline(mine: Configuration, baseline: Configuration | None, name: str) -> Blocks:
    """Differences ``[seeds, episodes]`` to another prediction of the same trained networks."""
    if baseline is None:
        raise _NoNumberError("undecided", f"not every run has the evaluation {name}")
    shared = shared_scores(mine, baseline)
    return {source: shared.left[source] - shared.right[source] for source in shared.keys}


def _with_learner(
    pair: PairResult,
    left: Configuration,
    right: Configuration,
    *,
    weights: dict[str, float],
    claim: Claim,
) -> PairResult:
    if reason := mismatch(left, right, evaluation=claim.evaluation):
        raise _NoNumberError("not comparable", f"the runs differ: {reason}")
    reason, wanted = seeds_wanted(left, right)
    if reason:
        raise _NoNumberError("undecided", f"{reason}; {wanted[0].lower()}{wanted[1:].rstrip('.')}")
    _require_enough_seeds(claim, left.n_seeds, right.n_seeds)
    shared = shared_scores(left, right)
    if not min(len(shared.keys[source]) for source in weights):
        raise _NoNumberError("not comparable", "the two sides were not tested on the same episodes")
    sides = (shared.left, shared.right)
    _require_episodes([side[source].shape for side in sides for source in weights])
    number = contrast(shared.left, shared.right, weights=weights, seedless=shared.seedless)
    scope = _scope(claim, left, right)
    return replace(pair, difference=number, scope=scope, reason=shared.left_out)


def _require_enough_seeds(claim: Claim, left: int, right: int) -> None:
    """Require more than two seeds of a claim that has several pairs."""
    n_pairs = len(claim.columns) * len(claim.left) * max(1, len(claim.right))
    if reason := adjusted_too_far(left, right, n_pairs=n_pairs):
        raise _NoNumberError("undecided", reason)


def _configuration_of(party: Party, found: Found) -> Configuration:
    """The one configuration of a party."""
    configs = found.by_party[str(party)]
    if not configs:
        raise _NoNumberError("undecided", f"there is no run of {party}")
    if len(configs) > 1:
        first, second = (description(config.spec) for config in configs[:2])
        different = difference_in_words(first, second) or "the evaluation has several definitions"
        reason = f"there are {len(configs)} configurations of {party} ({different})"
        raise _NoNumberError("not comparable", reason)
    (config,) = configs
    if not len(config.key):
        reason = f"the seeds of {party} were not tested on the same episodes"
        raise _NoNumberError("not comparable", reason)
    return config


def _require_episodes(shapes: Sequence[tuple[int, ...]]) -> None:
    """Require many episodes, or a single one, such as a whole test set, with several seeds."""
    fewest = min(n for _, n in shapes)
    several = min(seeds for seeds, _ in shapes) > 1
    if fewest < MIN_EPISODES and not (several and all(n == 1 for _, n in shapes)):
        few = f"{counted(fewest, 'episode')} per source"
        raise _NoNumberError("undecided", f"there are only {few}, which is too few")
