"""Which code a plugin is: where it lies, and a digest of its content."""

from __future__ import annotations

import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

_DIGITS = 12


def root_of(module: str) -> Path | None:
    """The folder of the top package of an imported module, or its file; None where it has none.

    >>> root_of("metabench.plugin.code").name
    'metabench'
    """
    top = sys.modules.get(module.partition(".")[0])
    known = {} if top is None else vars(top)  # a plugin's __getattr__ is not asked
    folders = list(known.get("__path__") or ())
    place = folders[0] if folders else known.get("__file__")
    return None if place is None else Path(place)


@cache
def digest_of_code(root: Path, parts: tuple[str, ...] = ()) -> str:
    """A digest of Python files, which changes when one of them does.

    Args:
        root: a file, or a folder with all that is below it.
        parts: of the folder, only these.

    Returns:
        Hexadecimal digits; "" where nothing can be read.
    """
    found = sha256()
    places = [root / part for part in parts] or [root]
    files = [
        file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))
    ]
    try:
        for file in sorted(files):
            content = file.read_bytes()
            name = file.relative_to(root).as_posix()
            found.update(f"{name} {len(content)}\n".encode() + content)
    except OSError:
        return ""
    return found.hexdigest()[:_DIGITS] if files else ""
