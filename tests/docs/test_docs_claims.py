"""The pages on claims are held to the code."""

from __future__ import annotations

import re

import pytest
from doc_pages import DOCS, blocks

from metabench.papers.claims import Claim, ClaimFile, Party, load_claims
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
