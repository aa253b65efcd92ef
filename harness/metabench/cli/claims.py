"""``metabench claims``: the papers' claims, judged by the records of a folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from metabench.errors import DataError


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
    evaluations = evaluate(files, runs, catalog=found)
    if not evaluations:
        places = {f"{claim.suite} @ {claim.setting}" for file in files for claim in file.claims}
        raise DataError(
            f"No claim is about the finished runs in {directory}.",
            hint=f"There are claims about {', '.join(sorted(places)) or 'nothing'}.",
        )
    typer.echo(render_claims(evaluations, "json" if as_json else format.value), nl=False)
