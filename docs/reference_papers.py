"""The reference page of the papers' tables: what the source of each row states of its protocol."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from reference_text import table

from metabench.papers.conditions import NOT_STATED, Conditions, Uncertainty
from metabench.papers.described import PROTOCOL_HEADER, protocol_rows
from metabench.papers.reference import Reference


def papers_page(references: Iterable[Reference]) -> str:
    """The page as Markdown."""
    header = ("field", "values", "meaning")
    blocks = [
        "# Papers' tables",
        "What the source of each row states of its protocol. `metabench report --paper KEY` "
        "compares runs with a table, `metabench show KEY` prints its numbers, and [comparing with "
        "papers](../explanation/comparing-with-papers.md) explains how the facts are used.",
        "## Facts of a protocol",
        f"Each row gives every fact from `queries` on, or says that it is `{NOT_STATED}`.",
        table(header, _fields(Conditions)),
        "## Facts of a half-width",
        table(header, _fields(Uncertainty)),
    ]
    for reference in references:
        blocks += [
            f"## {reference.key}",
            f"{reference.citation}. {reference.note}".strip(),
            table(PROTOCOL_HEADER, protocol_rows(reference)),
        ]
    return "\n\n".join(blocks)


def _fields(model: type[BaseModel]) -> list[list[str]]:
    """Name, values and meaning of each field."""
    return [
        [f"`{name}`", " | ".join(_values(field.annotation)), field.description or ""]
        for name, field in model.model_fields.items()
    ]


def _values(kind: Any) -> Iterator[str]:
    """What a field may hold, in the words of the file."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        yield from (f"`{word}`" for word in arguments)
    elif kind in (int, str):
        yield {int: "number", str: "text"}[kind]
    elif typing.get_origin(kind) is typing.Annotated:
        yield from _values(arguments[0])
    else:
        for argument in arguments:
            yield from _values(argument)
