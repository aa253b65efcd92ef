"""The reference page of the claims: every one that metabench brings, and the fields of a file."""

from __future__ import annotations

from reference_text import table

from metabench.claims import ClaimFile
from metabench.claims.words import says


def claims_page(files: list[ClaimFile]) -> str:
    """The page as Markdown."""
    blocks = [
        "# Claims",
        "What the papers say of their results, as `metabench claims` judges it.",
    ]
    for file in files:
        rows = [
            [f"`{c.id}`", c.sentence, c.citation, says(c), f"{c.suite} @ {c.setting}"]
            for c in file.claims
        ]
        header = ["claim", "in our words", "printed in", "compared", "on"]
        blocks += [f"## {file.paper}", table(header, rows)]
    return "\n\n".join(blocks)
