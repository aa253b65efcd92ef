"""One rule for all commands that print what is there: ``--format``, and ``--json`` for short."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from metabench.errors import UsageError

if TYPE_CHECKING:
    from metabench.cli.showing import Caption

F = TypeVar("F", bound=StrEnum)


class TextFormat(StrEnum):
    """The formats of a command that prints text for people or for programs."""

    table = "table"
    json = "json"


TextFormatOption = Annotated[
    TextFormat | None,
    typer.Option("--format", "-f", help="The output format. [default: table]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON; the same as --format json.")]


def format_or_json(format: F | None, *, as_json: bool, json: F) -> F | None:
    """The format that is asked for by ``--format`` or ``--json``; None for neither.

    Args:
        format: of ``--format``.
        as_json: whether ``--json`` is given.
        json: the format that it stands for.

    Raises:
        UsageError: the two name different formats.
    """
    if as_json and format not in (None, json):
        raise UsageError(
            f"--json is short for --format json, but --format is {format}.",
            hint="Leave out one of the two.",
        )
    return json if as_json else format


def asks_for_json(
    format: TextFormat | None,
    *,
    as_json: bool,
    wide: bool = False,
    caption: Caption | None = None,
) -> bool:
    """Whether a command prints JSON.

    Raises:
        UsageError: as :func:`format_or_json` and :func:`check_showing`.
    """
    asked = format_or_json(format, as_json=as_json, json=TextFormat.json) or TextFormat.table
    check_showing(asked, wide=wide, caption=caption)
    return asked is TextFormat.json


def check_showing(format: StrEnum, *, wide: bool, caption: Caption | None) -> None:
    """Refuse the options that say how much of a table is shown, where no table is printed.

    Args:
        format: what is printed.
        wide: whether ``--wide`` is given.
        caption: of ``--caption``; None if it is not given.

    Raises:
        UsageError: one of them is given for another format than a table.
    """
    if format != "table" and (wide or caption is not None):
        option = "--wide" if wide else "--caption"
        raise UsageError(
            f"{option} is for a table, but --format is {format}.",
            hint=f"Leave out {option}, or choose --format table.",
        )
