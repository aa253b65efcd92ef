"""The options that select runs, the same in every command that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.run import parse_names, parse_seeds

if TYPE_CHECKING:
    from metabench.results.selection import Selection

LearnerOption = Annotated[
    str | None,
    typer.Option(
        "--learner",
        metavar="NAMES",
        help="Use only runs of these learners, separated by commas, such as maml,reptile.",
    ),
]
SuiteOption = Annotated[
    str | None,
    typer.Option("--suite", metavar="NAMES", help="Use only runs of these suites."),
]
SettingOption = Annotated[
    str | None,
    typer.Option(
        "--setting", metavar="NAMES", help="Use only runs of these settings, such as 5w1s."
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", metavar="NAMES", help="Use only runs of these budgets."),
]
SeedOption = Annotated[
    str | None,
    typer.Option(
        "--seed", metavar="SEEDS", help="Use only runs with these seeds, such as 0, 0..4 or 0,2."
    ),
]


def selection_of(
    *,
    learner: str | None,
    suite: str | None,
    setting: str | None,
    budget: str | None,
    seed: str | None,
) -> Selection:
    """What the options of a command select.

    Raises:
        UsageError: an option names nothing, or is not a list of seeds.
    """
    from metabench.results.selection import Selection

    return Selection(
        learners=names_of(learner, "--learner"),
        suites=names_of(suite, "--suite"),
        settings=names_of(setting, "--setting"),
        budgets=names_of(budget, "--budget"),
        seeds=() if seed is None else parse_seeds(seed),
    )


def names_of(text: str | None, option: str) -> tuple[str, ...]:
    """The names of an option that may be left out."""
    return () if text is None else parse_names(text, option)
