"""``metabench references``: the papers' tables that results can be compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from metabench.cli.commands import App
from metabench.cli.formats import JsonOption, TextFormatOption, asks_for_json
from metabench.cli.screen import put, say
from metabench.cli.showing import WideOption, screen_of
from metabench.errors import DataError, MetabenchError
from metabench.render.columns import columns, telling_columns
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.papers.reference import Reference
    from metabench.plugin.catalog import Catalog

references_app = App(
    help="List and check the papers' tables.", no_args_is_help=True, rich_markup_mode=None
)


def complete_key(incomplete: str) -> list[str]:
    """The keys of references that begin with this text."""
    from metabench.cli.context import catalog
    from metabench.papers.reference_files import readable_references

    return [key for key in readable_references(catalog()) if key.startswith(incomplete)]


@references_app.command("list")
def list_references(
    wide: WideOption = False, format: TextFormatOption = None, as_json: JsonOption = False
) -> None:
    """List the papers' tables: known numbers, and facts that sources state of their protocols.

    With --json, print each cell with the spread that its interval implies.
    """
    from metabench.cli.context import catalog
    from metabench.papers.described import described
    from metabench.papers.reference_files import readable_references

    found = readable_references(catalog()).values()
    if asks_for_json(format, as_json=as_json, wide=wide):
        put(json.dumps([described(reference) for reference in found], indent=2))
        return
    header = ["reference", "cells known", "protocol stated", "suites", "printed in", "title"]
    rows = [
        [r.key, _known(r), _stated(r), _suites(r), r.citation.published, r.title] for r in found
    ]
    put(columns(header, rows, screen_of(wide=wide).of_rows))


@references_app.command("check")
def check(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="[KEY]",
            help="Key of the table to check, such as m-nas/table-1. By default, all tables.",
            autocompletion=complete_key,
        ),
    ] = None,
    format: TextFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that each table is consistent in itself and with the suites; exit with 3 if not.

    A learner that is not installed is told: its row has no runs.
    """
    from metabench.cli.context import catalog

    found = catalog()
    outcomes = _check_all(found) if key is None else _check_one(found, key)
    _tell_what_is_not_installed(found, outcomes)
    if asks_for_json(format, as_json=as_json):
        put(json.dumps(outcomes, indent=2))
    else:
        for name, problems in outcomes.items():
            put(f"{name}: {'ok' if not problems else ''}".rstrip())
            for problem in problems:
                put(f"  {problem}")
    if count := sum(map(len, outcomes.values())):
        raise DataError(
            f"{counted(count, 'problem')} in the papers' tables.",
            hint="Correct the files of the tables named above.",
        )


def _check_one(catalog: Catalog, key: str) -> dict[str, list[str]]:
    from metabench.papers.reference_checks import problems_of
    from metabench.papers.reference_files import find_reference

    return {key: problems_of(find_reference(catalog, key), catalog)}


def _check_all(catalog: Catalog) -> dict[str, list[str]]:
    from metabench.papers.reference_checks import problems_of
    from metabench.papers.reference_files import load_reference

    outcomes = {}
    for name, file in sorted(catalog.references.items()):
        try:
            reference = load_reference(file)
            outcomes[reference.key] = problems_of(reference, catalog)
        except MetabenchError as error:  # one broken file must not hide the others
            outcomes[name] = [error.message]
    return outcomes


def _tell_what_is_not_installed(catalog: Catalog, keys: Iterable[str]) -> None:
    from metabench.papers.reference_checks import not_installed
    from metabench.papers.reference_files import readable_references

    for key, reference in readable_references(catalog).items():
        if key in keys and (sentences := not_installed(reference, catalog)):
            say(f"In {key}: {' '.join(sentences)}", fg="yellow")


def _known(reference: Reference) -> str:
    cells = [reference.cell(row, column) for row in reference.rows for column in reference.columns]
    return f"{sum(cell.value is not None for cell in cells)} of {len(cells)}"


def _stated(reference: Reference) -> str:
    from metabench.papers.described import facts_stated

    stated, facts = facts_stated(reference)
    return f"{stated} of {facts}"


def _suites(reference: Reference) -> str:
    found = dict.fromkeys(column.suite for column in reference.columns if column.suite)
    return ", ".join(found) or "none"


def reference_page(reference: Reference, width: int | None) -> str:
    """What ``metabench show`` prints: the source, its numbers, and the protocol of each row."""
    from metabench.papers.described import PROTOCOL_HEADER, printed_rows, protocol_rows

    about = [
        ["title", reference.title],
        ["citation", str(reference.citation)],
        ["metric", reference.metric.name],
        ["suites", _suites(reference)],
        ["cells known", _known(reference)],
        ["protocol stated", _stated(reference)],
        ["note", reference.note],
    ]
    headings = ["row", *(column.heading for column in reference.columns)]
    return "\n\n".join(
        [
            columns(["reference", reference.key], [line for line in about if line[1]], width),
            columns(headings, printed_rows(reference), width),
            telling_columns(PROTOCOL_HEADER, protocol_rows(reference), width),
        ]
    )
