"""The file that a command writes: its format, and the error if it cannot be written."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from metabench.durable import hint_of, replacing
from metabench.errors import UsageError

F = TypeVar("F", bound=StrEnum)


def chosen_format(
    output: Path | None, format: F | None, *, default: F, free: Collection[str] = ()
) -> F:
    """The format that is asked for, by name or by the ending of the file name.

    Args:
        output: the file to write; None or ``-`` for the screen.
        format: the format that the user named; None if the user named none.
        default: the format if neither gives one. Its class lists all formats.
        free: endings that a file of any format may have.

    Raises:
        UsageError: the ending belongs to no format, or not to the one that is named.
    """
    ending = output.suffix.removeprefix(".").lower() if output is not None else ""
    known = list(type(default))
    if ending in known:
        if format not in (None, ending):
            raise UsageError(
                f"{output} ends in .{ending}, but --format is {format}.",
                hint=f"Leave out --format, or name a file that ends in .{format}.",
            )
        return type(default)(ending)
    if ending and ending not in free:
        raise UsageError(
            f"{output} ends in .{ending}, which is not a format of this command.",
            hint=f"The formats are {', '.join(f'.{one}' for one in known)}.",
        )
    return format or default


@contextmanager
def writing(path: Path, *, parents: bool = False) -> Iterator[Path]:
    """Write a file as a whole: where that fails, the old one stays, and a sentence says why.

    Args:
        path: of the file.
        parents: make the folders above it, where there are none.

    Yields:
        The path to write to.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # such as /dev/null
            yield path
        else:
            with replacing(path.resolve()) as temporary:
                yield temporary
    except OSError as error:
        nowhere = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
        raise UsageError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Name a file in a folder that exists." if nowhere else hint_of(error),
        ) from error
