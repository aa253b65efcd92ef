"""``metabench genotypes``: the architectures that searches found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.screen import put, tell
from metabench.cli.showing import WideOption, screen_of
from metabench.errors import DataError


def genotypes(
    directory: Annotated[
        Path, typer.Argument(help="The results folder, or the folder of one run.")
    ] = Path("results"),
    top: Annotated[
        int, typer.Option(min=1, help="How many architectures to print for each configuration.")
    ] = 3,
    wide: WideOption = False,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the most common architectures of each search, how far its seeds agree, and its cost."""
    from metabench.render.searches_text import searches_json, searches_text
    from metabench.results.reading import edited, read_runs
    from metabench.results.searches import find_searches

    in_json = asks_for_json(format, as_json=as_json, wide=wide)
    results = read_runs(directory)
    for problem in (*results.problems, *edited(results)):
        tell(problem)
    found = find_searches(results)
    if not found:
        raise DataError(
            f"No finished run in {directory} holds architectures or task embeddings.",
            hint="Run a learner that searches, such as mnas; it writes genotypes.jsonl.",
        )
    if in_json:
        text = searches_json(found, top=top)
    else:
        text = searches_text(found, top=top, screen=screen_of(wide=wide))
    put(text, nl=False, styled=True)
