"""``metabench claims``: what the papers say, held against the records of a folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from metabench.errors import DataError


class ClaimFormat(StrEnum):
    """How verdicts can be written down."""

    table = "table"
    md = "md"
    json = "json"


def claims(
    directory: Annotated[Path, typer.Argument(help="A folder of results.")] = Path("results"),
    suite: Annotated[
        str | None, typer.Option(help="Only claims that are tested on this suite.")
    ] = None,
    format: Annotated[
        ClaimFormat, typer.Option("--format", "-f", help="How to write the verdicts.")
    ] = ClaimFormat.table,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print which of the papers' claims the records support, refute or leave undecided."""
    from metabench.cli.context import catalog
    from metabench.papers.claims import evaluate, load_claims
    from metabench.render.claims_text import render_claims
    from metabench.results.reading import read_runs
    from metabench.text import plain

    found = catalog()
    if suite is not None:
        found.suite(suite)
    results = read_runs(directory)
    for problem in results.problems:
        typer.echo(plain(problem), err=True)
    files = [load_claims(file) for file in found.claims.values()]
    runs = [run for run in results.runs if suite in (None, run.record.spec.suite)]
    evaluations = evaluate(files, runs)
    if not evaluations:
        places = {f"{claim.suite} @ {claim.setting}" for file in files for claim in file.claims}
        raise DataError(
            f"No claim speaks of the finished runs below {directory}.",
            hint=f"Claims are made on {', '.join(sorted(places)) or 'nothing'}.",
        )
    typer.echo(render_claims(evaluations, "json" if as_json else format.value), nl=False)
