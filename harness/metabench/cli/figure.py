"""``metabench figure``: figures from results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.output import chosen_format, writing
from metabench.errors import DataError, UsageError, unknown
from metabench.render.figures import FIGURES, FigureRequest
from metabench.render.figures.drawing import FileFormat, encode, house_style

_KINDS = "; ".join(f"{name}: {kind.summary}" for name, kind in FIGURES.items())


def figure(
    kind: Annotated[str, typer.Argument(help=f"The figure to draw. {_KINDS}.")],
    directory: Annotated[
        Path, typer.Argument(help="The results folder, or the folder of one run.")
    ] = Path("results"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write to this file; - means stdout. [default: KIND.FORMAT]"
        ),
    ] = None,
    format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format", "-f", help="The file format. [default: as in the file name, or svg]"
        ),
    ] = None,
    episode: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="For the figures fits and annealing: number of the meta-test episode of a source. "
            "[default: 0]",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For the figure ranks: rank by this metric of the same predictions instead of "
            "the headline's, such as nll, the runs that have it.",
        ),
    ] = None,
) -> None:
    """Draw a figure from results, and print the name of its file."""
    from metabench.cli.context import catalog
    from metabench.cli.screen import tell
    from metabench.results.further_metrics import through_metric
    from metabench.results.reading import read_runs

    if kind not in FIGURES:
        raise unknown("figure", kind, FIGURES)
    if episode is not None and not FIGURES[kind].of_episode:
        fitting = ", ".join(name for name, one in FIGURES.items() if one.of_episode)
        raise UsageError(
            f"--episode does not apply to figure {kind}.", hint=f"It applies to: {fitting}."
        )
    if metric is not None and not FIGURES[kind].of_scores:
        fitting = ", ".join(name for name, one in FIGURES.items() if one.of_scores)
        raise UsageError(
            f"--metric does not apply to figure {kind}.", hint=f"It applies to: {fitting}."
        )
    chosen = chosen_format(output, format, default=FileFormat.svg)
    with house_style():
        pass  # fails at once if matplotlib is missing
    results = read_runs(directory)
    if metric is not None:
        results = through_metric(results, metric)
    for problem in results.problems:
        tell(problem)
    if not results.runs:
        raise DataError(
            f"There is no finished and readable run in {directory}.",
            hint="Run the command of an unfinished run again to finish it.",
        )
    request = FigureRequest(results=results, catalog=catalog, episode=episode or 0)
    drawing = FIGURES[kind].make(request)
    for note in drawing.notes:
        tell(note)
    _write(encode(drawing, chosen), output or Path(f"{kind}.{chosen}"))


def _write(content: bytes, path: Path) -> None:
    if str(path) == "-":
        sys.stdout.buffer.write(content)
        return
    with writing(path):
        path.write_bytes(content)
    typer.echo(str(path))
