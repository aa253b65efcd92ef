"""Reading files that others write or wrote: no more than was asked for, and never waiting."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

_CHUNK = 2**20


def read_end(path: Path, most: int) -> bytes:
    """The last bytes of a file; nothing where there is none.

    Args:
        path: of the file.
        most: how many bytes at most.

    Raises:
        OSError: when it is no plain file, or cannot be read.
    """
    try:
        handle = _open_plain(path)
    except FileNotFoundError:
        return b""
    with os.fdopen(handle, "rb") as file:
        file.seek(max(0, os.fstat(handle).st_size - most))
        return file.read(most)


def count_lines(path: Path) -> int:
    """The complete lines of a file, in bounded memory; 0 where there is none.

    Raises:
        OSError: when it is no plain file, or cannot be read.
    """
    try:
        handle = _open_plain(path)
    except FileNotFoundError:
        return 0
    with os.fdopen(handle, "rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))


def json_lines(path: Path, most: int) -> Iterator[dict[str, Any]]:
    """The mappings in a file of JSON lines, of its last ``most`` bytes.

    Other lines are passed over, and so is a last line without an end: somebody is writing it.

    Raises:
        OSError: when it is no plain file, or cannot be read.
    """
    for line in read_end(path, most).split(b"\n")[:-1]:
        try:
            values = from_json(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            yield values


def finite(value: object) -> float | None:
    """A number as a float; None for everything else.

    >>> finite(3), finite("3"), finite(True), finite(float("inf")), finite(10**400)
    (3.0, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _open_plain(path: Path) -> int:
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is not a plain file")
    return handle
