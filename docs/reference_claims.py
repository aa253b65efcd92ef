"""The reference page of the claims: every one that metabench brings, and the fields of a file."""

from __future__ import annotations

from reference_text import table

from metabench.papers.claims import Claim, ClaimFile
from metabench.papers.claims.sentences import says
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import Catalog
from metabench.stats.association import N_PERMUTATIONS
from metabench.stats.search_measures import MEASURES, N_FOLDS

MADE_FOR_CLAIMS = {
    "genotype_source_p": "p-value of architecture and source being independent, in [0, 1]",
}
"""Measures that no record holds."""


def claims_page(files: list[ClaimFile], catalog: Catalog) -> str:
    """The page as Markdown; the catalog has the metrics that claims are about."""
    blocks = [
        "# Claims",
        "What the papers say of their results, as `metabench claims` judges it.",
    ]
    for file in files:
        rows = [
            [
                f"`{c.id}`",
                c.sentence,
                c.source,
                says(c, _unit(c, catalog)),
                f"{c.suite} @ {c.setting}",
            ]
            for c in file.claims
        ]
        header = ["claim", "in our words", "printed in", "compared", "on"]
        blocks += [f"## {file.paper}", table(header, rows)]
    shown = MEASURES | MADE_FOR_CLAIMS
    blocks += [
        "## Measures",
        "Numbers of a search, in `run.json` under `measures`, for claims of the kinds `at-least` "
        "and `at-most`. They are made from `genotypes.jsonl` and `embeddings.jsonl`; those of "
        f"embeddings need two sources or more, and {N_FOLDS} tasks of each. The silhouette uses "
        "Euclidean distances. The probe is ridge regression onto indicators of the sources, "
        "penalty 1, on features standardized by the tasks it is fitted to; the k-th task of each "
        f"source is in fold k mod {N_FOLDS}. The association of architecture and source is tested "
        "when a claim asks for it: Pearson's chi-square of their counts, against "
        f"{N_PERMUTATIONS:,} permutations of the sources; Cramér's V is printed beside.",
        table(["measure", "meaning"], [[f"`{name}`", text] for name, text in shown.items()]),
    ]
    return "\n\n".join(blocks)


def _unit(claim: Claim, catalog: Catalog) -> str:
    """The unit of the scores that a claim is about."""
    metric = claim.metric or load_suite(catalog.suites[claim.suite]).metric
    return catalog.metric(metric).facts.unit
