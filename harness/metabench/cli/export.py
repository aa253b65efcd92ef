"""``metabench export``: the trained weights of a run in one file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.run import DEFAULT_OUT, is_given
from metabench.errors import UsageError


def export(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            help="The folder of a finished run, a results folder with a single run, or the first "
            "characters of a run id."
        ),
    ],
    directory: Annotated[
        Path, typer.Argument(help="The results folder in which the id is looked up.")
    ] = DEFAULT_OUT,
    out: Annotated[Path, typer.Option(help="The file to write, in the format safetensors.")] = Path(
        "weights.safetensors"
    ),
) -> None:
    """Write the weights that a run tested, and the record of the run, to one file."""
    from metabench.api.weights import export_weights
    from metabench.cli.screen import say
    from metabench.results.folders import run_folder

    if Path(run).is_dir() and is_given(context, "directory"):
        raise UsageError(
            f"{run} is a folder, so nothing is looked up in {directory}.",
            hint="Name one of the two; --out says where the weights are written.",
        )
    path = export_weights(run_folder(run, directory), out)
    say(f"Wrote {path}. Test it with: metabench evaluate {shlex.quote(str(path))}")
