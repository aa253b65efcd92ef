"""Published files, read in place from folders, zips and tarballs in the same way."""

from __future__ import annotations

import errno
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, BinaryIO

from metabench.data.plain_files import open_plain, sha256_of
from metabench.data.progress import Progress
from metabench.data.tarballs import ERRORS as TAR_ERRORS
from metabench.data.tarballs import SUFFIXES as TAR_SUFFIXES
from metabench.data.tarballs import Tarball, is_tarball
from metabench.data.zips import open_zip
from metabench.errors import DataError

MAX_MEMBER = 64 * 2**20
"""No image file is larger (bytes); what claims to be is refused before it is read."""
MAX_LARGE = 2**31
"""No file that :meth:`Originals.open` takes out of an archive is larger (bytes)."""
_CHUNK = 2**20


class Originals:
    """All files of a dataset by their relative name, in a folder or in archives.

    Nothing is unpacked to disk, so a name inside an archive can never become a path.

    Args:
        path: a folder, one zip or one tarball; it exists.
        archives: names or patterns of zips and tarballs that are read if the folder has them, as
            if they were unpacked there; small and capital letters are alike.
        report: called with how much of a tarball is read, which may take long.
        follow_links: whether links that lead out of the folder are followed.

    Attributes:
        path: the folder or the archive.
        skipped: how many files are hidden or a system's own, and are left out.

    Raises:
        DataError: an archive is damaged, or has a member with a name that leads out of it.
    """

    def __init__(
        self,
        path: Path,
        archives: Iterable[str] = (),
        *,
        report: Progress | None = None,
        follow_links: bool = False,
    ) -> None:
        self.path = path
        self.skipped = 0
        self._report = report
        self._archives: dict[Path, zipfile.ZipFile | Tarball] = {}
        self._members: dict[str, _Member] = {}
        self._made: dict[str, Callable[[], bytes]] = {}
        self._opened = ExitStack()
        try:
            if path.is_file():
                self._add_archive(path)
            else:
                self._add_folder(path, follow_links=follow_links)
                for found in _matching(self.names, archives):
                    self._add_archive(path / found)
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
        """Close the archives, and what was opened of them."""
        self._opened.close()
        for opened in self._archives.values():
            opened.close()

    @property
    def names(self) -> Sequence[str]:
        """All file names, sorted, with ``/`` between components."""
        return sorted(self._members)

    @property
    def empty_folders(self) -> Sequence[str]:
        """Folders with nothing in them, sorted; those of archives are not known."""
        found = [
            Path(folder).relative_to(self.path).as_posix()
            for folder, below, files in os.walk(self.path)
            if not below and not files
        ]
        return sorted(name for name in found if not is_systems_own(name))

    def in_stored_order(self, names: Iterable[str]) -> list[str]:
        """The same names in their order on disk, since going back in a tarball is slow."""
        return sorted(names, key=lambda name: (*self._members[name], name))

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            DataError: it cannot be read, is a link, or is too large for an image.
        """
        home, _ = self._members[name]
        with self.explained(name):
            return self._made[name]() if name in self._made else self._read(name, home)

    def open(self, name: str) -> BinaryIO:
        """Open one file that may be large for random access; it is closed with the others.

        Raises:
            DataError: it cannot be read, or is larger than any file of a dataset.
        """
        home, _ = self._members[name]
        with self.explained(name):
            opened = self._archives.get(home)
            if opened is None:
                return self._opened.enter_context(open_plain(home))
            # Compressed streams only run forward.
            sink, length = self.scratch(), 0
            for chunk in _chunks(opened, name):
                length += sink.write(chunk)
                if length > MAX_LARGE:
                    raise DataError(
                        f"{name} in {home} is larger than any file that is read in an archive.",
                        hint="Unpack the archive, and import the folder.",
                    )
            sink.flush()
            return sink

    def scratch(self) -> BinaryIO:
        """An empty temporary file, which vanishes when these originals are closed."""
        return self._opened.enter_context(tempfile.TemporaryFile())

    def provide(self, name: str, read: Callable[[], bytes], *, of: str, place: int) -> None:
        """Add an image file that is made when it is read, such as one row of an array.

        Args:
            name: its name.
            read: makes its content.
            of: the file that it is made from.
            place: its position in that file, so that files are read in order.
        """
        self._made[name] = read
        self._members[name] = (self._members[of][0], place)

    @contextmanager
    def explained(self, name: str) -> Iterator[None]:
        """Turn an error while ``name`` is read into a sentence."""
        home, _ = self._members[name]
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, RuntimeError, *TAR_ERRORS) as error:
            raise _damaged(home, f"{name} cannot be read: {error}") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DataError(
                    f"Cannot write to {tempfile.gettempdir()}: {error.strerror}.",
                    hint="Free some space there, or set TMPDIR to another folder.",
                ) from error
            raise DataError(f"{home} cannot be read: {error.strerror}.") from error

    def _read(self, name: str, home: Path) -> bytes:
        opened = self._archives.get(home)
        if isinstance(opened, Tarball):
            _check_no_link(name, opened)
            _check_length(f"{name} in {home}", opened.places[name][1])
            return opened.read(name)
        if isinstance(opened, zipfile.ZipFile):
            member = opened.getinfo(name)
            _check_length(f"{name} in {home}", member.file_size)
            with opened.open(member) as source:
                return _bounded(source, member.file_size, f"{name} in {home}")
        length = home.stat().st_size
        _check_length(str(home), length)
        with open_plain(home) as source:
            return _bounded(source, length, str(home))

    def digests(self) -> dict[str, str]:
        """SHA-256 of each archive by its file name; empty if there is none."""
        return {path.name: sha256_of(path) for path in sorted(self._archives)}

    def _add_folder(self, folder: Path, *, follow_links: bool) -> None:
        files, self.skipped = files_of(folder, follow_links=follow_links)
        for path in files:
            self._members[path.relative_to(folder).as_posix()] = (path, 0)

    def _add_archive(self, path: Path) -> None:
        try:
            # A tarball whose last file is a zip ends like a zip.
            if is_tarball(path) or (
                path.name.lower().endswith(TAR_SUFFIXES) and not zipfile.is_zipfile(path)
            ):
                ball = self._archives[path] = Tarball(path, report=self._report)
                places = {name: place for name, (place, _) in ball.places.items()}
                places.update(dict.fromkeys(ball.links, 0))
            else:
                opened = self._archives[path] = open_zip(
                    self._opened.enter_context(open_plain(path)), path=path
                )
                members = [m for m in opened.infolist() if not m.is_dir()]
                for member in members:
                    _check_method(member, path)
                places = {m.filename: m.header_offset for m in members}
        except (zipfile.BadZipFile, NotImplementedError, ValueError, zlib.error) as error:
            raise _damaged(path, str(error)) from error
        except TAR_ERRORS as error:
            raise _damaged(path, str(error)) from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        for name, place in places.items():
            _check_name(name, path)
            if is_systems_own(name):
                self.skipped += 1
            else:
                self._members[name] = (path, place)


def _matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that match a pattern, of which ``*`` stays within a folder.

    >>> _matching(["A.ZIP", "more/b.zip", "c.png"], ["*.zip"])
    ['A.ZIP']
    """
    small = [(pattern.lower(), pattern.count("/")) for pattern in patterns]
    return [
        name
        for name in names
        if any(name.count("/") == n and fnmatchcase(name.lower(), p) for p, n in small)
    ]


_Member = tuple[Path, int]
"""The file that holds it, and where in there it begins."""


def _chunks(archive: zipfile.ZipFile | Tarball, name: str) -> Iterator[bytes]:
    if isinstance(archive, Tarball):
        _check_no_link(name, archive)
        yield from archive.chunks(name)
        return
    with archive.open(name) as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins so is HTML, such as a quota or login page.

    >>> is_web_page(b"\\n<!DOCTYPE html><html>")
    True
    """
    return head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def is_archive(path: Path) -> bool:
    """Whether a file is meant to be an archive, sound or not; a web page was meant to be one."""
    if path.name.lower().endswith((*TAR_SUFFIXES, ".zip")) or zipfile.is_zipfile(path):
        return True
    try:
        if is_tarball(path):
            return True
        with open_plain(path) as source:
            return is_web_page(source.read(256))
    except OSError:
        return True  # opening it reports that it cannot be read


def _damaged(path: Path, reason: str) -> DataError:
    with open_plain(path) as source:
        if is_web_page(source.read(256)):
            return DataError(
                f"{path} is a web page, not an archive.", hint="Download the file itself again."
            )
    return DataError(f"{path} is damaged: {reason.rstrip('.')}.", hint="Download it again.")


SYSTEMS_OWN = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that operating systems and storage devices put beside a user's."""


def is_systems_own(name: str) -> bool:
    """Whether a file is hidden, or lies in a hidden folder or one of :data:`SYSTEMS_OWN`.

    >>> is_systems_own("cats/1.png"), is_systems_own(".ipynb_checkpoints/1.png")
    (False, True)
    """
    parts = name.split("/")
    return any((part[:1] == "." and part != ".") or part in SYSTEMS_OWN for part in parts)


def files_of(folder: Path, *, follow_links: bool = False) -> tuple[list[Path], int]:
    """The files of a folder and of the folders in it, sorted, and how many were left out.

    What :func:`is_systems_own` is left out.

    A link is followed if what it points to lies in the folder as well, or where ``follow_links``
    says that the folder is trusted. Anything else that is not a plain file is refused: reading a
    named pipe or a device may never end.

    Raises:
        DataError: something is neither a file nor a folder, a link leads nowhere or out of the
            folder, or a name is not text of one line.
    """
    root = folder.resolve()
    found: list[Path] = []
    skipped = 0
    entered = {root}
    left = [folder]
    while left:
        home = left.pop()
        try:
            entries = list(os.scandir(home))
        except OSError as error:
            raise DataError(f"{_printable(home)} cannot be read: {error.strerror}.") from error
        for entry in entries:
            path = home / entry.name
            if is_systems_own(entry.name):
                inside = os.walk(path) if entry.is_dir(follow_symlinks=False) else ()
                skipped += sum(len(names) for _, _, names in inside) or 1
                continue
            if not entry.name.isprintable():
                raise DataError(
                    f"{_printable(path)} has a name that is not printable text in UTF-8.",
                    hint="Rename it.",
                )
            target = path
            if entry.is_symlink():
                target = _target(path, None if follow_links else root)
            if target.is_dir():
                resolved = target.resolve()
                if resolved not in entered:
                    entered.add(resolved)
                    left.append(path)
            elif target.is_file():
                found.append(path)
            else:
                raise DataError(
                    f"{path} is neither a file nor a folder, so it is not read.", hint="Remove it."
                )
    return sorted(found), skipped


def _target(link: Path, root: Path | None) -> Path:
    """Where a link leads, if that is in the folder; anywhere if there is no folder."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{link} is a link that leads nowhere.", hint="Remove it.") from error
    if root is not None and not target.is_relative_to(root):
        raise DataError(
            f"{link} is a link that leads out of {root}, so it is not followed.",
            hint="Copy or move what it points to into the folder, or, if you trust the folder, run "
            "`metabench data import` with --follow-links.",
        )
    return target


def _printable(path: Path) -> str:
    return ascii(str(path))


def _bounded(source: IO[bytes], length: int, what: str) -> bytes:
    """Read no more than was announced: what goes on is not unpacked."""
    data = source.read(length + 1)
    if len(data) > length:
        raise DataError(f"{what} holds more bytes than the {length:,} that it claims.")
    return data


def _check_method(member: zipfile.ZipInfo, path: Path) -> None:
    """Refuse methods of packing of which a few bytes are unpacked to gigabytes at once."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{member.filename} in {path} is packed by a method that is not read.",
            hint="Unpack the archive, and import the folder.",
        )


def _check_no_link(name: str, ball: Tarball) -> None:
    if name in ball.links:
        raise DataError(f"{name} in {ball.path} is a link, which is never followed.")


def _check_length(what: str, length: int) -> None:
    if length > MAX_MEMBER:
        raise DataError(f"{what} claims {length:,} bytes, more than any image of a dataset.")


def _check_name(name: str, path: Path) -> None:
    """Refuse what an archive made in good faith does not hold, though it would do no harm here."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise DataError(
            f"{path} holds {name!r}, a name that leads out of the archive.",
            hint="This is not the published file; download it from its official place.",
        )
