"""``metabench compare``: two runs, learners or folders on the same episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.run import is_given
from metabench.cli.screen import put, tell
from metabench.cli.showing import CaptionOption, WideOption, screen_of
from metabench.errors import DataError, UsageError

DEFAULT_FOLDER = Path("results")


def compare(
    context: typer.Context,
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A results folder, the first characters of a run id, or a learner. If a learner "
            "has several configurations, name one as the table does: 'maml(order=first)'.",
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="What A is compared with: a results folder, the first characters of a run id, or "
            "a learner.",
        ),
    ],
    directory: Annotated[
        Path, typer.Argument(help="The results folder in which run ids and learners are looked up.")
    ] = DEFAULT_FOLDER,
    suite: Annotated[str | None, typer.Option(help="Use only runs of this suite.")] = None,
    setting: Annotated[str | None, typer.Option(help="Use only runs of this setting.")] = None,
    budget: Annotated[str | None, typer.Option(help="Use only runs of this budget.")] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(
            help="Compare on this evaluation or prediction instead of the headline evaluation."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compare this metric of the same predictions instead of the headline's, such as "
            "nll, in runs that have it.",
        ),
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option(
            help="Print how many episodes or seeds detect this difference, given in the unit of "
            "the scores, of accuracies in percentage points."
        ),
    ] = None,
    wide: WideOption = False,
    caption: CaptionOption = None,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print paired differences A - B for each source and on average, with intervals and tests."""
    from metabench.api.reading import compare_sides
    from metabench.render.comparison_text import comparison_json, comparison_text
    from metabench.reports.comparison_sides import Wanted

    if difference is not None and not difference > 0:
        raise UsageError(
            f"--difference {difference:g} is not above 0.",
            hint="Give the size of a difference in either direction, such as 1.",
        )
    in_json = asks_for_json(format, as_json=as_json, wide=wide, caption=caption)
    _check_folder(directory, first, second, given=is_given(context, "directory"))
    wanted = Wanted(
        suite=suite, setting=setting, budget=budget, evaluation=evaluation, metric=metric
    )
    found = compare_sides(first, second, directory, wanted, difference=difference, tell=tell)
    if in_json:
        text = comparison_json(found.comparisons, found.alone)
    else:
        shown = screen_of(wide=wide, caption=caption)
        text = comparison_text(found.comparisons, found.alone, shown)
    put(text, nl=False, styled=True)


def _check_folder(directory: Path, first: str, second: str, *, given: bool) -> None:
    """Refuse a default folder that is not there, and one that is given and not needed.

    An argument may have been forgotten, or there is one too many.
    """
    both_folders = Path(first).is_dir() and Path(second).is_dir()
    if both_folders and given:
        raise UsageError(
            f"{first} and {second} are folders, so nothing is looked up in {directory}.",
            hint="Compare two at a time.",
        )
    if directory == DEFAULT_FOLDER and not both_folders and not directory.is_dir():
        raise DataError(
            f"There is no folder {directory}, in which compare looks up runs and learners.",
            hint=f"compare needs A and B, and {second} was taken for B. Name both, and then the "
            "folder.",
        )
