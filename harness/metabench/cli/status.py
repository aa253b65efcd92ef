"""``metabench status``: how far the runs of a folder are."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.screen import move_home, put, stdout, tell
from metabench.cli.showing import has_colors
from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.results.overview import Overview

USUAL_SECONDS = 5.0
"""Between two prints of ``--watch``."""


def status(
    directory: Annotated[
        Path, typer.Argument(help="The results folder, or the folder of one run.")
    ] = Path("results"),
    format: TextFormatOption = None,
    as_json: JsonOption = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Print again and again, until nothing is at work on the folder."
        ),
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(
            min=0.2,
            max=86_400,
            metavar="SECONDS",
            help="With --watch, the time between two prints. [default: 5]",
        ),
    ] = None,
) -> None:
    """Print which runs are planned, running, interrupted, failed and done, and how far they are.

    The time left counts runs that a process is making, and those that a command at work has
    planned. The exit code is 0 if all runs are done, running or planned, and 1 if one failed, was
    interrupted and waits for its command, or cannot be read.
    """
    from metabench.results.overview import OverviewReader

    if every is not None and not watch:
        raise UsageError("--every goes with --watch, which is not given.", hint="Add --watch.")
    in_json = asks_for_json(format, as_json=as_json)
    read, told = OverviewReader(directory), set[str]()

    def show() -> Overview:
        overview = read()
        _print(overview, in_json=in_json, again=watch)
        for problem in overview.problems:
            if problem not in told:
                tell(problem)
        told.update(overview.problems)
        return overview

    overview = show()
    with suppress(KeyboardInterrupt):
        while watch and overview.under_way:
            time.sleep(USUAL_SECONDS if every is None else every)
            overview = show()
    if overview.need_attention:
        raise typer.Exit(1)


def _print(overview: Overview, *, in_json: bool, again: bool) -> None:
    if in_json:
        from metabench.render.status_values import status_values

        # One line each time, so that a program can read them one by one.
        indent = None if again else 2
        put(json.dumps(status_values(overview), indent=indent, allow_nan=False))
        return
    from metabench.render.status_text import status_text

    on_terminal = stdout().isatty() and os.environ.get("TERM") != "dumb"
    if again and on_terminal:
        move_home()
    text = status_text(overview, width=shutil.get_terminal_size().columns, color=has_colors())
    put(text, nl=again and not on_terminal, styled=True)
