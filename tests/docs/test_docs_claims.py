"""The pages on claims are held to the code."""

from __future__ import annotations

import re

import pytest
from doc_pages import DOCS, blocks

from metabench.papers.claims import Claim, ClaimFile, Party, load_claims
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import load_catalog


@pytest.mark.parametrize("model", [ClaimFile, Claim, Party])
def test_the_page_on_claims_shows_every_field(model: type[ClaimFile]) -> None:
    page = DOCS / "how-to" / "judge-claims.md"
    (text,) = [block.text for block in blocks(page) if block.language == "yaml"]
    missing = [name for name in model.model_fields if not re.search(rf"\b{name}:", text)]
    assert missing == []


def test_every_claim_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "claims.md").read_text(encoding="utf-8")
    catalog = load_catalog()
    for name, file in catalog.claims.items():
        if catalog.origin("claims", name).distribution == "metabench":
            for claim in load_claims(file).claims:
                assert f"| `{claim.id}` | {claim.sentence}" in page


def test_the_reference_gives_margins_and_bounds_with_their_units() -> None:
    lines = (DOCS / "reference" / "claims.md").read_text(encoding="utf-8").splitlines()
    catalog = load_catalog()
    for file in catalog.claims.values():
        for claim in load_claims(file).claims:
            metric = claim.metric or load_suite(catalog.suites[claim.suite]).metric
            unit = "points?" if metric == "accuracy" else metric
            (line,) = (line for line in lines if line.startswith(f"| `{claim.id}` |"))
            if claim.margin is not None:
                assert re.search(rf" {claim.margin:g} {unit}\b", line), line
            if claim.value is not None and claim.measure is None:
                assert f" {claim.value:g} {'%' if unit == 'points?' else unit}" in line
