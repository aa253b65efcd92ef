"""A number of each run, compared with a value: of architectures, of task embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metabench.errors import DataError
from metabench.papers.claims.schema import Claim
from metabench.papers.claims.scope import Verdict
from metabench.results.reading import FinishedRun
from metabench.results.search_files import measures_of, read_genotypes
from metabench.stats.association import association
from metabench.stats.search_measures import PROPORTIONS, wilson


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure of a run between the ends of its interval, which for a count are itself.

    Attributes:
        value: the measure.
        low: lower end.
        high: upper end.
        is_p: whether it is a p-value, which refutes nothing where it is large.
        words: what else is known of it.
        method: how it was found, where its name does not say so.
    """

    value: float
    low: float
    high: float
    is_p: bool = False
    words: str = ""
    method: str = ""

    def __str__(self) -> str:
        """The number, with its interval where it has one."""
        ends = f" [{self.low:.3g}, {self.high:.3g}]" if self.low < self.high else ""
        return f"{self.value:.4g}{ends}" + (f" ({self.words})" if self.words else "")

    def reaches(self, claim: Claim) -> bool:
        """Whether its whole interval satisfies the claim."""
        assert claim.value is not None
        return self.high <= claim.value if claim.relation == "at-most" else self.low >= claim.value

    def fails(self, claim: Claim) -> bool:
        """Whether no part of its interval satisfies the claim."""
        assert claim.value is not None
        if self.is_p:
            return False
        return self.low > claim.value if claim.relation == "at-most" else self.high < claim.value


def measured(run: FinishedRun, name: str) -> Measured | None:
    """A measure of a run; None where it has none."""
    try:
        if name == "genotype_source_p":
            return _association(run)
        found = measures_of(run)
    except DataError:
        return None
    if name not in found:
        return None
    value = found[name]
    ends = wilson(value, found[PROPORTIONS[name]]) if name in PROPORTIONS else (value, value)
    share = found.get("genotype_share") if name == "genotypes" and value > 1 else None
    words = "" if share is None else f"{100 * share:.1f} % of the tasks share one"
    return Measured(value, *ends, words=words)


def verdict_of_runs(claim: Claim, runs: Sequence[Measured]) -> Verdict:
    """Supported where all runs reach the value, refuted where all fail it."""
    if all(run.reaches(claim) for run in runs):
        return "supported"
    return "refuted" if all(run.fails(claim) for run in runs) else "undecided"


def _association(run: FinishedRun) -> Measured | None:
    genotypes = read_genotypes(run.folder)
    index = run.episodes.index.tolist()
    if not genotypes.keys() >= set(index):
        return None
    found = association([str(genotypes[i]) for i in index], run.episodes.source.tolist())
    p = found.p
    return Measured(p, p, p, is_p=True, words=found.strength(), method=found.method())
