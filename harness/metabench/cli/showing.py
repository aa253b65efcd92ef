"""How wide the screen is, whether it has colors, and the options that say how much is shown."""

from __future__ import annotations

import os
import shutil
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.screen import stdout

if TYPE_CHECKING:
    from metabench.render.layout import Screen


class Caption(StrEnum):
    """How much is said below a table."""

    short = "short"
    full = "full"


WideOption = Annotated[
    bool,
    typer.Option("--wide", help="Print all columns and each row on one line, however long it is."),
]
CaptionOption = Annotated[
    Caption | None,
    typer.Option(
        "--caption",
        help="What to print below a table: the three lines that it needs, or all that is known. "
        "[default: short]",
    ),
]


def screen_width() -> int | None:
    """The columns of the terminal, or those that COLUMNS names; None in a pipe without it."""
    if stdout().isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def has_colors() -> bool:
    """Whether stdout is a terminal that takes codes, and nobody asks for plain text."""
    asked_plain = os.environ.get("NO_COLOR") or os.environ.get("CI")
    return stdout().isatty() and not asked_plain and os.environ.get("TERM") != "dumb"


def screen_of(*, wide: bool = False, caption: Caption | None = None) -> Screen:
    """How text is shown on stdout."""
    from metabench.render.layout import Screen

    return Screen(
        width=screen_width(),
        styled=has_colors(),
        wide=wide,
        full_caption=caption is Caption.full,
    )
