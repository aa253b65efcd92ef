"""``metabench merge``: the results folders of several people as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json


def merge(
    folders: Annotated[list[Path], typer.Argument(help="The results folders.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            help="The folder of all. It may have runs already, which stay as they are.",
            show_default=False,
        ),
    ],
    prefer: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Take the copy of this folder where copies of a run have other scores. Without "
            "it, nothing is written then.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and compare, and write nothing.")
    ] = False,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the runs of several results folders together in one, and say what disagrees.

    Every run is checked: its record, its episodes, and that both are as the run wrote them. Equal
    runs become one. The folders are not changed. The same command finishes a merge that was cut
    off, and otherwise changes nothing. The exit code is 1 if something damaged or under way was
    left out, and 3 if runs disagree, so that nothing was written.
    """
    from metabench.api.merging import disagreeing
    from metabench.api.merging import merge as merge_folders
    from metabench.cli.screen import put, tell

    in_json = asks_for_json(format, as_json=as_json)
    merged = merge_folders(*folders, out=out, prefer=prefer, dry_run=dry_run, check=False)
    for note in merged.notes:
        tell(note)
    for problem in merged.left_out:
        tell(f"Not taken: {problem}")
    if in_json:
        put(json.dumps(merged.to_dict(), indent=2, allow_nan=False))
    elif not merged.conflicts:
        put(merged)
    if merged.conflicts:
        raise disagreeing(merged.conflicts)
    if merged.left_out:
        raise typer.Exit(1)
