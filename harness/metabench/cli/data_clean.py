"""``metabench data clean``: remove packs of a user's own files that are not used any longer."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from metabench.errors import UsageError
from metabench.text import counted


def clean(
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Remove them without asking first.")
    ] = False,
) -> None:
    """Remove old packs of your own files, of which there is a newer one.

    Files that a suite names by their path are packed at their first use, and again when one of them
    changes. The older packs stay until this command removes them. Your files are never touched.
    """
    from metabench.cli.archives import archive_of, packable, packs_of
    from metabench.cli.screen import put, tell
    from metabench.data.cleaning import remove_pack, replaced_packs, size_of
    from metabench.render.price_text import size_text

    names = [name for name in packable() if archive_of(name).named]
    old = {pack: size_of(pack) for pack in replaced_packs(p for n in names for p in packs_of(n))}
    if not old:
        tell("There are no old packs.")
        return
    for pack, size in old.items():
        put(f"{size_text(size):>8}  {pack}")
    what = f"{counted(len(old), 'old pack')} ({size_text(sum(old.values()))})"
    if not yes and not _agreed(what):
        tell("Nothing was removed.")
        return
    for pack in old:
        remove_pack(pack)
    tell(f"Removed {what}.")


def _agreed(what: str) -> bool:
    """Ask on a terminal.

    Raises:
        UsageError: when nobody can answer.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "Nothing was removed, because nobody can answer here.", hint="Add --yes to remove them."
        )
    return typer.confirm(f"Remove {what}?", default=False, err=True)
