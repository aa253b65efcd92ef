"""``metabench figure``: figures from results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.output import chosen_format, writing
from metabench.cli.screen import put, stdout, tell, tell_under_way
from metabench.cli.selecting import (
    BudgetOption,
    LearnerOption,
    SeedOption,
    SettingOption,
    SuiteOption,
    selection_of,
)
from metabench.errors import UsageError, unknown
from metabench.render.figures import FIGURES, FigureKind, FigureRequest
from metabench.render.figures.drawing import FileFormat, Width, encode, house_style

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
            help="For the figures fits, images and annealing: number of the meta-test episode of a "
            "source. [default: 0]",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For the figure ranks: rank by this metric of the same predictions instead of "
            "the headline's, such as nll, the runs that have it. For the figure curves: show this "
            "scalar of meta-training, such as loss or val_score, or this metric, alone.",
        ),
    ] = None,
    learner: LearnerOption = None,
    suite: SuiteOption = None,
    setting: SettingOption = None,
    budget: BudgetOption = None,
    seed: SeedOption = None,
    width: Annotated[
        Width,
        typer.Option(
            help="The width in print: single is a column, 85 mm; double is a page, 174 mm. Text "
            "is 8 points high at that width."
        ),
    ] = Width.double,
    edge: Annotated[
        str,
        typer.Option(
            metavar="EDGES",
            help="For the figure annealing: show only these edges, separated by commas: 0-2 in "
            "every cell, normal:0-2 in one, and normal:2 for the pairs of inputs of a node. "
            "[default: all]",
        ),
    ] = "",
) -> None:
    """Draw a figure from results, and print the name of its file."""
    from metabench.api.reading import require_runs
    from metabench.cli.context import catalog
    from metabench.results.further_metrics import through_metric
    from metabench.results.reading import edited, read_runs
    from metabench.results.selection import absent, select

    if kind not in FIGURES:
        raise unknown("figure", kind, FIGURES)
    _check_applies("--episode", kind, episode is not None, lambda one: one.of_episode)
    _check_applies("--metric", kind, metric is not None, lambda one: one.of_scores or one.of_curves)
    _check_applies("--edge", kind, bool(edge), lambda one: one.of_edges)
    chosen = chosen_format(output, format, default=FileFormat.svg)
    with house_style():
        pass  # fails at once if matplotlib is missing
    selection = selection_of(
        learner=learner, suite=suite, setting=setting, budget=budget, seed=seed
    )
    results = select(read_runs(directory), selection)
    if metric is not None and FIGURES[kind].of_scores:
        results = through_metric(results, metric)
    for problem in (*results.problems, *edited(results)):
        tell(problem)
    tell_under_way(results.under_way, directory)
    require_runs(results, directory)
    for note in absent(results.runs, selection):
        tell(note)
    request = FigureRequest(
        results=results,
        catalog=catalog,
        width=width,
        whole=True,
        episode=episode or 0,
        metric=metric,
        edge=edge,
    )
    drawing = FIGURES[kind].make(request)
    for note in drawing.notes:
        tell(note)
    _write(encode(drawing, chosen), output or Path(f"{kind}.{chosen}"))


def _check_applies(
    option: str, kind: str, given: bool, applies: Callable[[FigureKind], bool]
) -> None:
    if given and not applies(FIGURES[kind]):
        fitting = ", ".join(name for name, one in FIGURES.items() if applies(one))
        raise UsageError(
            f"{option} does not apply to figure {kind}.", hint=f"It applies to: {fitting}."
        )


def _write(content: bytes, path: Path) -> None:
    if str(path) == "-":
        stdout().buffer.write(content)
        return
    with writing(path) as place:
        place.write_bytes(content)
    put(str(path))
