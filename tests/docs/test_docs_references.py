"""The page on papers' tables is held to the models."""

import pytest
from doc_pages import DOCS, blocks

from metabench.papers import reference as references
from metabench.values import Frozen


@pytest.mark.parametrize(
    "model",
    [
        references.Reference,
        references.Citation,
        references.Conditions,
        references.Uncertainty,
        references.Column,
        references.PrintedRow,
        references.CellEntry,
    ],
)
def test_the_page_shows_every_field(model: type[Frozen]) -> None:
    page = DOCS / "how-to" / "compare-with-a-paper.md"
    (text,) = [block.text for block in blocks(page) if block.language == "yaml"]
    assert [name for name in model.model_fields if f"{name}:" not in text] == []
