"""``metabench claims``: the papers' claims, judged by the records of a folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from metabench.cli.formats import JsonOption, check_showing, format_or_json
from metabench.cli.screen import put, tell
from metabench.cli.showing import CaptionOption, WideOption, screen_of
from metabench.errors import UsageError, unknown


class ClaimFormat(StrEnum):
    """The formats of verdicts."""

    table = "table"
    md = "md"
    json = "json"


def claims(
    directory: Annotated[Path, typer.Argument(help="The results folder.")] = Path("results"),
    claim: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Explain these claims. By default, list all."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Judge only the claims about this suite.")
    ] = None,
    format: Annotated[
        ClaimFormat | None,
        typer.Option("--format", "-f", help="The output format. [default: table]"),
    ] = None,
    wide: WideOption = False,
    caption: CaptionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print which of the papers' claims the records support, refute or leave undecided.

    The first lines are one for each claim and verdict. With the ID of a claim, or with --caption
    full, print all comparisons behind a verdict, and in what the runs differ.
    """
    from metabench.api.reading import judge_claims
    from metabench.cli.context import catalog
    from metabench.render.claims_text import claims_overview, render_claims

    asked = format_or_json(format, as_json=as_json, json=ClaimFormat.json)
    written = asked or ClaimFormat.table
    check_showing(written, wide=wide, caption=caption)
    if claim and caption is not None:
        raise UsageError(
            "--caption is for the list of claims; of a named claim all that is known is printed.",
            hint="Leave out --caption.",
        )
    judged = judge_claims(directory, catalog(), suite=suite, tell=tell).results
    known = {one.claim.id for one in judged}
    for name in claim or ():
        if name not in known:
            raise unknown("claim", name, known, of=f"the runs in {directory}")
    chosen = [one for one in judged if not claim or one.claim.id in claim]
    shown = screen_of(wide=wide, caption=caption)
    if written is not ClaimFormat.table or claim:
        text = render_claims(chosen, written.value, shown)
    else:
        text = claims_overview(chosen, shown)
        if shown.full_caption:
            text += "\n" + render_claims(chosen, "table", shown)
    put(text, nl=False, styled=True)
