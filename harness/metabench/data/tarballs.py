"""Tarballs, plain or packed, read in place: a member is a position in the stream, not a path."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from metabench.data.plain_files import open_plain
from metabench.data.progress import Progress

MAX_HEADER = 2**20
"""No header is larger (bytes); what claims to be is refused before it is read."""
MAX_SKIPPED = 2**30
"""No member of a dataset is larger (bytes), read or not."""
MAX_TOTAL = 64 * 2**30
"""No dataset unpacks to more (bytes)."""
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_UNPACKERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
"""By the first bytes of a packed stream; a file that begins otherwise is not packed."""

ERRORS = (tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, EOFError)
"""What a damaged tarball raises, in addition to ``zlib.error`` and other ``OSError``."""


class Tarball:
    """The plain files of a tarball.

    A compressed stream only runs forward. A member that is read out of order costs an unpacking
    from the beginning.

    Args:
        path: a tar file, plain or packed by gzip, bzip2 or xz.
        report: called with how many bytes are read, since reading may take minutes.

    Attributes:
        places: where each plain file begins in the stream and how long it is, by name.
        links: names of links, devices and whatever else is neither a plain file nor a folder.

    Raises:
        tarfile.TarError, EOFError, OSError, zlib.error: it is damaged, or claims absurd sizes.
    """

    def __init__(self, path: Path, *, report: Progress | None = None) -> None:
        self.path = path
        self.places: dict[str, tuple[int, int]] = {}
        self.links: set[str] = set()
        self._file = open_plain(path)
        self._stream = _unpacked(self._file)
        try:
            self._scan(report)
        except BaseException:
            self.close()
            raise

    def _scan(self, report: Progress | None) -> None:
        total, length = 0, self.path.stat().st_size
        with tarfile.open(fileobj=_Bounded(self._stream), mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # It would keep the headers of all.
                total += member.size
                if not 0 <= member.size <= MAX_SKIPPED or total > MAX_TOTAL:
                    raise tarfile.ReadError(f"{member.name} claims {member.size:,} bytes")
                if member.isreg() and not member.issparse():
                    self.places[member.name] = (member.offset_data, member.size)
                elif not member.isdir():
                    self.links.add(member.name)
                if report:
                    report(f"read {self.path.name}", self._file.tell(), length)
        is_packed = self._stream is not self._file
        while is_packed and self._stream.read(2**20):  # A checksum is behind the last byte.
            total += 2**20
            if total > MAX_TOTAL:
                raise tarfile.ReadError("it does not end")

    def read(self, name: str) -> bytes:
        """The content of one member; the caller has compared its length with what is sensible."""
        place, length = self.places[name]
        self._stream.seek(place)
        data = self._stream.read(length)
        if len(data) < length:
            raise EOFError(f"{name} ends early")
        return data

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of one member of any length, piece by piece."""
        place, length = self.places[name]
        self._stream.seek(place)
        while length:
            chunk = self._stream.read(min(length, 2**20))
            if not chunk:
                raise EOFError(f"{name} ends early")
            length -= len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._file.close()


def is_tarball(path: Path) -> bool:
    """Whether a file begins as a tarball or a packed stream does, whatever its name is."""
    with open_plain(path) as file:
        head = file.read(512)
    is_zip = head.startswith(b"PK\x03\x04")
    return head.startswith((*_UNPACKERS,)) or (head[257:262] == b"ustar" and not is_zip)


def _unpacked(file: BinaryIO) -> BinaryIO:
    head = file.read(8)
    file.seek(0)
    for begins, unpack in _UNPACKERS.items():
        if head.startswith(begins):
            return cast(BinaryIO, unpack(file))
    return file


class _Bounded(io.RawIOBase):
    """A stream of which nobody reads more at once than the largest sound header."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()
