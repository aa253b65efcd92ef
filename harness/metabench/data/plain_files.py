"""The one way to open a file that others made: a plain file, no more of it than asked for.

Opening a named pipe waits for its writer, and a device such as ``/dev/zero`` never ends, so neither
is read. A file in a results folder is not read through a link either: the link may lead to any file
of the reader, and the folder may come from anybody.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

MAX_RECORD = 8 * 2**20
"""Bytes of a record, such as ``run.json``; a larger file is none."""
MAX_ROWS = 2**28
"""Bytes of a file with a line for each episode: two million of them, without curves."""
MAX_PARAM = 2**30
"""Bytes of a file that a parameter names."""


class NotReadError(OSError, ValueError):
    """Why a file is not read; it is both an error of the system and one of content."""

    def __init__(self, reason: str, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, reason, os.fspath(path))

    def __str__(self) -> str:
        return str(self.strerror)


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with the home of a user in the place of ``~``.

    That of somebody who is no user stays as it is, and is found nowhere.

    >>> expanded("~nobody-of-that-name/photos").as_posix()
    '~nobody-of-that-name/photos'
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser() raises RuntimeError


def open_plain(path: str | os.PathLike[str], *, follow: bool = True) -> BufferedReader:
    """Open a plain file for reading.

    Args:
        path: of the file.
        follow: whether a link to one is followed.

    Raises:
        NotReadError: when it is no plain file, or a link that is not followed.
        OSError: when it cannot be read.
    """
    if not follow and Path(os.fsdecode(path)).is_symlink():
        raise NotReadError("it is a link", path)
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotReadError("it is not a plain file", path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def require_plain(path: str | os.PathLike[str]) -> None:
    """Look at a file before a library opens it by its name.

    Raises:
        OSError: as :func:`open_plain`.
    """
    open_plain(path).close()


def read_plain(path: str | os.PathLike[str], most: int, *, follow: bool = True) -> bytes:
    """The content of a plain file.

    Args:
        path: of the file.
        most: bytes that it may have.
        follow: whether a link to one is followed.

    Raises:
        NotReadError: when it is no plain file, a link that is not followed, or has more bytes.
        OSError: when it cannot be read.
    """
    with open_plain(path, follow=follow) as file:
        return read_opened(file, path, most)


def read_opened(file: BufferedReader, path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a plain file that is open, as of :func:`read_plain`.

    Raises:
        NotReadError: when it has more bytes.
    """
    if os.fstat(file.fileno()).st_size <= most:
        content = file.read(most + 1)
        if len(content) <= most:
            return content
    raise NotReadError(f"it has more than {most:,} bytes", path)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a plain file of any length, 64 hex digits.

    Raises:
        OSError: as :func:`open_plain`.
    """
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_plain_text(path: Path, most: int, *, follow: bool = True) -> str:
    """The content of a plain text file in UTF-8.

    Raises:
        OSError: as :func:`read_plain`.
        UnicodeDecodeError: when it is not in UTF-8.
    """
    return read_plain(path, most, follow=follow).decode("utf-8")
