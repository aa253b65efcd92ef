"""What the searches of a folder found: per configuration, over its seeds, and at what cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from metabench.planning.runspec import RunSpec
from metabench.plugin.contracts.genotype import Genotype
from metabench.results.configurations import Configuration
from metabench.results.labels import labelled
from metabench.results.reading import Results
from metabench.results.search_files import Architecture, architectures, measures_of, read_genotypes


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much seeds agree on their most common architecture.

    Attributes:
        n_seeds: seeds that wrote architectures.
        same: share of these that have the one that most of them have.
        equal_edges: mean over pairs of seeds of the share of edges, with operation, in both.
    """

    n_seeds: int
    same: float
    equal_edges: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a search took: steps of each seed, mean time, most memory; None where unknown."""

    meta_steps: int
    meta_batch: int
    train_seconds: float | None
    peak_memory_mib: float | None


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Weights of the tasks' networks: their mean, the fewest and the most."""

    mean: float
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """What the runs of one configuration found.

    Attributes:
        spec: of the first seed.
        seeds: one per run.
        stamps: of any of the runs.
        architectures: most common first.
        measures: of each run, in the order of the seeds.
        agreement: of the seeds; None where there is one.
        n_params: over all tasks; None where unknown.
        cost: of the search.
    """

    spec: RunSpec
    seeds: tuple[int, ...]
    stamps: tuple[str, ...]
    architectures: tuple[Architecture, ...]
    measures: tuple[Mapping[str, float], ...]
    agreement: Agreement | None
    n_params: SizeRange | None
    cost: Cost


def find_searches(results: Results) -> dict[str, SearchSummary]:
    """What every configuration with architectures or measured embeddings found, by its label."""
    searches = {label: _search(config) for label, config in labelled(results).items()}
    return {
        label: found
        for label, found in searches.items()
        if found.architectures or any(found.measures)
    }


def _search(config: Configuration) -> SearchSummary:
    records = [run.record for run in config.runs]
    sizes = np.concatenate([run.episodes.n_params for run in config.runs])
    seconds = [record.train_seconds for record in records if record.train_seconds is not None]
    peaks = [record.provenance.peak_memory_mib for record in records]
    training = config.spec.training
    return SearchSummary(
        spec=config.spec,
        seeds=tuple(record.spec.seed for record in records),
        stamps=config.stamps,
        architectures=tuple(architectures(config)),
        measures=tuple(measures_of(run) for run in config.runs),
        agreement=agreement(config),
        n_params=None
        if np.isnan(sizes).any()
        else SizeRange(float(sizes.mean()), int(sizes.min()), int(sizes.max())),
        cost=Cost(
            training.meta_steps,
            training.meta_batch,
            sum(seconds) / len(seconds) if seconds else None,
            max((peak for peak in peaks if peak is not None), default=None),
        ),
    )


def agreement(config: Configuration) -> Agreement | None:
    """How much the seeds agree; None where fewer than two wrote architectures."""
    found = [read_genotypes(run.folder) for run in config.runs]
    best = [_most_common(list(one.values())) for one in found if one]
    if len(best) < 2:
        return None
    ((_, most),) = Counter(best).most_common(1)
    shares = [equal_edges(first, second) for first, second in combinations(best, 2)]
    return Agreement(len(best), most / len(best), sum(shares) / len(shares))


def equal_edges(first: Genotype, second: Genotype) -> float:
    """The share of edges, with cell and operation, that both have; of the larger of the two.

    >>> from metabench.plugin.contracts.genotype import Edge
    >>> one, other = ([Edge(0, 2, "skip"), Edge(1, 2, name)] for name in ("skip", "linear"))
    >>> equal_edges(Genotype.of({"cell": one}), Genotype.of({"cell": other}))
    0.5
    """
    mine, theirs = (
        Counter((cell, edge) for cell, edges in genotype.cells for edge in edges)
        for genotype in (first, second)
    )
    return (mine & theirs).total() / max(mine.total(), theirs.total(), 1)


def _most_common(genotypes: Sequence[Genotype]) -> Genotype:
    counts = Counter(genotypes)
    return min(counts, key=lambda genotype: (-counts[genotype], str(genotype)))
