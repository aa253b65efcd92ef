"""``metabench claims``: the papers' claims, judged by the records of a folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ClaimFormat(StrEnum):
    """The formats of verdicts."""

    table = "table"
    md = "md"
    json = "json"


def claims(
    directory: Annotated[Path, typer.Argument(help="The results folder.")] = Path("results"),
    suite: Annotated[
        str | None, typer.Option(help="Judge only the claims about this suite.")
    ] = None,
    format: Annotated[
        ClaimFormat, typer.Option("--format", "-f", help="The output format.")
    ] = ClaimFormat.table,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; the same as --format json.")
    ] = False,
) -> None:
    """Print which of the papers' claims the records support, refute or leave undecided."""
    from metabench.api.reading import judge_claims
    from metabench.cli.context import catalog
    from metabench.cli.screen import tell
    from metabench.render.claims_text import render_claims

    judged = judge_claims(directory, catalog(), suite=suite, tell=tell)
    typer.echo(render_claims(judged.results, "json" if as_json else format.value), nl=False)
