"""One rule for all commands that print what is there: ``--format``, and ``--json`` for short."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from metabench.errors import UsageError

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


def asks_for_json(format: TextFormat | None, *, as_json: bool) -> bool:
    """Whether a command prints JSON.

    Raises:
        UsageError: as :func:`format_or_json`.
    """
    return format_or_json(format, as_json=as_json, json=TextFormat.json) is TextFormat.json
