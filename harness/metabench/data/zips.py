"""Zips, of which no table of contents is read that takes much memory."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import BinaryIO

from metabench.errors import DataError

MAX_TABLE = 64 * 2**20
"""No longer table of contents is read (bytes). It lists about 600,000 files, and takes ten times as
much memory."""


def open_zip(file: BinaryIO, *, path: Path) -> zipfile.ZipFile:
    """Open a zip for reading; the number of its files is bounded by what their names take.

    Args:
        file: its content, which is not closed with it.
        path: what messages call it.

    Raises:
        DataError: when it lists too many files.
        zipfile.BadZipFile, NotImplementedError: when it is none, or damaged.
    """
    bounded = _Bounded(file, path)
    opened = zipfile.ZipFile(bounded)
    bounded.is_open = True
    return opened


class _Bounded(io.RawIOBase):
    """A file of which, until it is open, nobody reads more at once than the longest table.

    The number of entries that a zip claims is not believed: Python reads the table by its length,
    at once, and lists what is in it.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self.is_open = False

    def read(self, size: int = -1) -> bytes:
        if not self.is_open and size > MAX_TABLE:
            raise DataError(
                f"{self._path} lists more files than are read in a zip.",
                hint="Unpack it, and name the folder.",
            )
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
