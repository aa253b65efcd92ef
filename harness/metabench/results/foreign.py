"""Reading files of a run while it goes on: their end, their lines, and numbers in them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from metabench.data.plain_files import MAX_ROWS, open_plain, read_plain_text
from metabench.errors import DataError

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
        file = open_plain(path, follow=False)
    except FileNotFoundError:
        return b""
    with file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


def count_lines(path: Path) -> int:
    """The complete lines of a file, in bounded memory; 0 where there is none.

    Raises:
        OSError: when it is no plain file, or cannot be read.
    """
    try:
        file = open_plain(path, follow=False)
    except FileNotFoundError:
        return 0
    with file:
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


def text_lines(path: Path) -> list[str]:
    """The lines of a file with a line for each episode; none where there is no file.

    Raises:
        DataError: when it cannot be read, or is not in UTF-8.
    """
    try:
        return read_plain_text(path, MAX_ROWS, follow=False).splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(
            f"{path} cannot be read: {reason}.", hint="Move it away, or restore it from a copy."
        ) from error


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
