"""``metabench track``: pass runs on to trackers that are made already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.run import DEFAULT_OUT
from metabench.cli.screen import say
from metabench.errors import UsageError
from metabench.text import counted


def track(
    directory: Annotated[Path, typer.Argument(help="The results folder.")] = DEFAULT_OUT,
    tracker: Annotated[
        str,
        typer.Option(
            help="Trackers, separated by commas; see `metabench list trackers`. [required]"
        ),
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="tracker[NAME].PARAM=VALUE",
            help="Set a parameter of a tracker. May be given several times.",
        ),
    ] = None,
) -> None:
    """Pass on to trackers what they do not have yet of the runs of a results folder.

    It is for runs that were made without a tracker, or where its service could not be reached.
    """
    from metabench.api.tracking import pass_on, trackers_of
    from metabench.cli.context import catalog
    from metabench.cli.run import parse_names
    from metabench.planning.tracker_params import params_by_tracker, without_trackers

    others, params = without_trackers(set_ or ())
    if others:
        raise UsageError(
            f"--set {others[0]} is no parameter of a tracker.",
            hint="Write --set tracker[NAME].PARAM=VALUE.",
        )
    names = parse_names(tracker, "--tracker")
    opened = trackers_of(catalog(), params_by_tracker(names, params), directory)
    n = pass_on(directory, opened, say=lambda sentence: say(sentence, fg="yellow"))
    say(f"Passed on: {counted(n, 'run')}." if n else "Nothing was left to send.")
