"""Packs of a user's own files that a later pack has replaced, found and removed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from metabench.data.locks import held
from metabench.data.pack import INDEX
from metabench.errors import DataError

_OF_A_PATH = re.compile(r"(?P<what>.+)-[0-9a-f]{16}")
"""The folder of a pack that was made at the first use of a path: its name, and a digest."""


def replaced_packs(packs: Iterable[Path]) -> list[Path]:
    """Of packs made at the first use of a path, all but the newest of each path.

    Such a pack is made anew when a file of the path changes, and the one before is not used again.
    Of two folders of the same name, one counts as older too: it is packed again at its next use.

    Args:
        packs: folders ``.../<name>-<digest>/<preparation>``; those of other names are left alone.

    Returns:
        The folders to remove, sorted.
    """
    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for pack in packs:
        if found := _OF_A_PATH.fullmatch(pack.parent.name):
            groups.setdefault((pack.parent.parent, found["what"], pack.name), []).append(pack)
    old = [sorted(group, key=_made)[:-1] for group in groups.values()]
    return sorted(pack for group in old for pack in group)


def _made(pack: Path) -> tuple[int, str]:
    return (pack / INDEX).stat().st_mtime_ns, str(pack)


def size_of(pack: Path) -> int:
    """Bytes of the files of a pack."""
    return sum(file.stat().st_size for file in pack.iterdir() if file.is_file())


def remove_pack(pack: Path) -> None:
    """Remove a pack, in one step for those who look for it.

    Raises:
        DataError: it cannot be removed.
    """
    home = pack.parent
    try:
        with held(home), tempfile.TemporaryDirectory(prefix=".replaced-", dir=home) as aside:
            pack.rename(Path(aside, "pack"))
    except FileNotFoundError:  # another command was first
        return
    except OSError as error:
        raise DataError(
            f"{pack} cannot be removed: {error.strerror}.", hint="Remove the folder by hand."
        ) from error
    with suppress(OSError):  # it may hold other packs
        home.rmdir()
