"""``metabench compare``: two runs, learners or folders on the same episodes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from metabench.errors import UsageError


def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A folder, the beginning of a run id, or a learner; of several configurations of "
            "one learner 'maml(order=first)', as the table names them.",
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    directory: Annotated[
        Path, typer.Argument(help="Where run ids and learners are looked up.")
    ] = Path("results"),
    suite: Annotated[str | None, typer.Option(help="Only runs of this suite.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only runs of this setting.")] = None,
    budget: Annotated[str | None, typer.Option(help="Only runs of this budget.")] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(help="Compare this evaluation or prediction, not the headline's."),
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option(help="Say how many episodes or seeds show this difference, in % or mse."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the paired differences A - B per source and on average, with intervals and tests."""
    from metabench.render.comparison_text import comparison_json, comparison_text
    from metabench.reports.comparison import compare as compare_pair
    from metabench.reports.comparison_sides import Wanted, find_sides
    from metabench.text import plain

    if difference is not None and (difference == 0 or not math.isfinite(difference)):
        raise UsageError(
            f"No number of episodes shows a --difference of {difference:g}.",
            hint="Name a difference that matters to you, such as --difference 1.",
        )
    wanted = Wanted(suite=suite, setting=setting, budget=budget, evaluation=evaluation)
    sides = find_sides(first, second, folder=directory, wanted=wanted)
    for problem in sides.problems:
        typer.echo(plain(problem), err=True)
    found = [
        compare_pair(left, right, difference=difference, evaluation=evaluation)
        for left, right in sides.pairs
    ]
    write = comparison_json if as_json else comparison_text
    typer.echo(write(found, sides.alone), nl=False)
