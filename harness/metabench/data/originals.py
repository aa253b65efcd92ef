"""Files as published, read in place: a folder, a zip, or a folder of zips, all seen alike."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from metabench.errors import DataError

MAX_MEMBER = 64 * 2**20
"""No image file is larger (bytes); what claims to be is refused before it is read."""


class Originals:
    """All files of a dataset by their relative name, wherever they lie.

    Nothing is unpacked to disk, so a name inside an archive can never become a path.

    Args:
        path: a folder, or one zip; it exists.
        archives: names of zips that are read where the folder has them, as if unpacked there.

    Raises:
        DataError: a zip is damaged.
    """

    def __init__(self, path: Path, archives: Iterable[str] = ()) -> None:
        self.path = path
        self._zips: dict[Path, zipfile.ZipFile] = {}
        self._members: dict[str, Path] = {}
        try:
            if path.is_file():
                self._add_zip(path)
            else:
                self._add_folder(path)
                for name in archives:
                    if (path / name).is_file():
                        self._add_zip(path / name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Originals:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the zips."""
        for opened in self._zips.values():
            opened.close()

    @property
    def names(self) -> Sequence[str]:
        """All file names, sorted, with ``/`` between components."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            DataError: it cannot be read, or is far too large for an image.
        """
        home = self._members[name]
        try:
            if home in self._zips:
                member = self._zips[home].getinfo(name)
                _check_length(f"{name} in {home}", member.file_size)
                return self._zips[home].read(member)
            _check_length(str(home), home.stat().st_size)
            return home.read_bytes()
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise _damaged(home, f"{name} cannot be read: {error}") from error
        except OSError as error:
            raise DataError(f"{home} cannot be read: {error.strerror}.") from error

    def digests(self) -> dict[str, str]:
        """SHA-256 of each zip by its file name; empty where there is none."""
        found = {}
        for path in sorted(self._zips):
            with path.open("rb") as source:
                found[path.name] = hashlib.file_digest(source, "sha256").hexdigest()
        return found

    def _add_folder(self, folder: Path) -> None:
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                self._members[path.relative_to(folder).as_posix()] = path

    def _add_zip(self, path: Path) -> None:
        try:
            opened = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        self._zips[path] = opened
        for member in opened.infolist():
            if not member.is_dir():
                self._members[member.filename] = path


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins so is HTML, such as a quota or login page.

    >>> is_web_page(b"\\n<!DOCTYPE html><html>")
    True
    """
    return head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def _damaged(path: Path, reason: str) -> DataError:
    with path.open("rb") as source:
        if is_web_page(source.read(256)):
            return DataError(
                f"{path} is a web page, not an archive.", hint="Download the file itself again."
            )
    return DataError(f"{path} is damaged: {reason.rstrip('.')}.", hint="Download it again.")


def _check_length(what: str, length: int) -> None:
    if length > MAX_MEMBER:
        raise DataError(f"{what} claims {length:,} bytes, which is no image of a dataset.")
