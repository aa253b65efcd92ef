"""Claims against records: each is supported, refuted, undecided, or its runs not comparable.

A claim is supported if all its pairs are supported, and refuted if any pair is refuted. It is also
undecided if a learner or enough episodes are missing, and not comparable if its runs are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metabench.errors import MetabenchError
from metabench.papers.claims.intervals import PairResult, judge_pairs
from metabench.papers.claims.pairs import compare_pairs, measure_runs
from metabench.papers.claims.runs import Found, as_the_suite_has_it, choose
from metabench.papers.claims.schema import Claim, ClaimFile
from metabench.papers.claims.scope import WHOLE, Scope, Verdict, joined
from metabench.papers.deviation_list import DeviationList, ListedDeviation
from metabench.papers.deviation_list import joined as joined_lists
from metabench.papers.deviations import Deviations
from metabench.reports.captions import inequality_notes, normalization_notes, unequal_sides
from metabench.results.comparability import conditions
from metabench.results.configurations import Configuration, stamps_of
from metabench.results.evaluations import evaluated_configurations
from metabench.results.further_metrics import runs_through
from metabench.results.reading import FinishedRun

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

ONE_SEED = "With one seed, the verdict holds for these trained networks, not for the learners."


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """A claim and what the records say.

    Attributes:
        claim: the claim.
        paper: citation of the paper.
        budget: of the runs; "" where they have none in common.
        unit: of the scores: ``%``, or the name of the metric.
        verdict: of the whole claim.
        decided_by: the pair that decided it; None where no pair did.
        reason: why there is no such pair; else "".
        scope: what the verdict holds for; empty if it rests on no number.
        pairs: every comparison.
        stamps: of the runs.
        notes: what else a reader must know, in sentences.
        unequal: in what the runs differ that the claim should hold equal, in a few words each.
        deviations: what suite and learners do otherwise than their sources; all claims that are
            evaluated together share the labels.
        conditions: what the runs have in common, as text by name; none where no runs do.
    """

    claim: Claim
    paper: str
    budget: str
    unit: str
    verdict: Verdict
    decided_by: PairResult | None = None
    reason: str = ""
    scope: Scope = WHOLE
    pairs: tuple[PairResult, ...] = ()
    stamps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unequal: tuple[str, ...] = ()
    deviations: tuple[ListedDeviation, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The verdict with its scope."""
        return self.scope.of(self.verdict)


def evaluate(
    files: Iterable[ClaimFile], runs: Sequence[FinishedRun], *, catalog: Catalog | None = None
) -> list[ClaimResult]:
    """Judge every claim that is about at least one of the runs.

    Args:
        files: the claims.
        runs: the runs.
        catalog: where suites and learners say what they do otherwise than their sources; what is
            installed if absent.

    Raises:
        UsageError: when several seeds are to be compared and scipy is not installed.
    """
    deviations = _Listing(Deviations(catalog), DeviationList())
    return [
        evaluation
        for file in files
        for claim in file.claims
        for evaluation in _evaluate(claim, file.paper, runs, deviations)
    ]


@dataclass(frozen=True, slots=True)
class _Listing:
    """Looks deviations from the sources up, and enters them in the list of all claims."""

    deviations: Deviations
    listed: DeviationList

    def of(self, found: Found) -> tuple[ListedDeviation, ...]:
        """Those of the sides of a claim."""
        return joined_lists(
            self.listed.add(config.spec.learner.name, self.deviations.from_sources(config))
            for config in found.configs
        )

    def changes(self, config: Configuration) -> list[str]:
        """What a configuration has otherwise than its suite, in a few words each."""
        try:
            return [found.label for found in self.deviations.of(config)]
        except MetabenchError:  # of a suite or plugin that is not there any more
            return ["unknown changes"]


def _evaluate(
    claim: Claim, paper: str, runs: Sequence[FinishedRun], deviations: _Listing
) -> list[ClaimResult]:
    about = runs_through(
        (run for run in runs if run.record.spec.suite == claim.suite), claim.metric
    )
    configs = evaluated_configurations(about, evaluation=claim.evaluation)
    found = choose(claim, configs)
    if isinstance(found, str):
        return [
            ClaimResult(
                claim=claim,
                paper=paper,
                budget="",
                unit=configs[0].metric.unit,
                verdict="not comparable",
                reason=found,
            )
        ]
    baselines = {
        config.run_ids: config
        for config in evaluated_configurations(
            about if claim.baseline else (), evaluation=claim.baseline
        )
    }
    groups = [as_the_suite_has_it(group, deviations.changes) for group in found]
    return [
        _of_group(claim, paper, group, baselines=baselines, deviations=deviations.of(group))
        for group in groups
    ]


def _of_group(
    claim: Claim,
    paper: str,
    found: Found,
    *,
    baselines: Mapping[tuple[str, ...], Configuration],
    deviations: tuple[ListedDeviation, ...],
) -> ClaimResult:
    if claim.measure is not None:
        pairs = measure_runs(claim, found)
    else:
        pairs = judge_pairs(claim, compare_pairs(claim, found, baselines=baselines))
    verdict, decisive = _overall(pairs)
    missing = [name for name, configs in found.by_party.items() if not configs]
    decided_by = None if missing and verdict == "undecided" else decisive
    notes = list(found.notes)
    notes += [config.left_out for config in found.configs if config.left_out]
    notes += inequality_notes(found.configs) + normalization_notes(found.configs)
    of_networks = any(p.difference and not p.difference.speaks_of_learners for p in pairs)
    if of_networks and any(config.has_one_seed for config in found.configs):
        notes.append(ONE_SEED)
    return ClaimResult(
        claim=claim,
        paper=paper,
        budget=found.configs[0].spec.budget,
        unit=found.configs[0].metric.unit,
        verdict=verdict,
        decided_by=decided_by,
        reason="" if decided_by else _no_run(claim, missing),
        scope=_scope(verdict, decided_by, pairs),
        pairs=tuple(pairs),
        stamps=stamps_of(*found.configs),
        notes=tuple(notes),
        unequal=tuple(unequal_sides(found.configs)),
        deviations=deviations,
        conditions=conditions(found.configs[0].spec),
    )


def _scope(verdict: Verdict, decided_by: PairResult | None, pairs: Sequence[PairResult]) -> Scope:
    """A supported claim rests on all of its pairs, any other verdict on the one that decided it."""
    if verdict == "supported":
        return joined(pair.scope for pair in pairs)
    return decided_by.scope if decided_by else WHOLE


def _no_run(claim: Claim, missing: Sequence[str]) -> str:
    wanted = f" with evaluation {claim.evaluation}" if claim.evaluation else ""
    if claim.metric:
        wanted = f" that has the metric {claim.metric}"
    return f"there is no run of {', '.join(missing)}{wanted}"


def _overall(pairs: Sequence[PairResult]) -> tuple[Verdict, PairResult]:
    """The verdict of the claim, and the pair that decided it.

    A pair without a number comes first: a claim is not refuted by half of its pairs.
    """
    for verdict in ("not comparable", "undecided"):
        for pair in pairs:
            if pair.verdict == verdict and pair.difference is None:
                return pair.verdict, pair
    for pair in sorted(pairs, key=_p):
        if pair.verdict == "refuted":
            return "refuted", pair
    weakest = max(pairs, key=_p)
    return weakest.verdict, weakest


def _p(pair: PairResult) -> float:
    return 1.0 if pair.p is None else pair.p
