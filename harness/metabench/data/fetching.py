"""Downloading the published files: mirrors in turn, resumed where cut, checked by digest."""

from __future__ import annotations

import http.client
import io
import logging
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from metabench.data.archive import Archive, Preparation, RemoteFile
from metabench.data.importing import cannot_write, import_archive
from metabench.data.locations import data_root, originals_folder
from metabench.data.locks import held
from metabench.data.originals import is_web_page
from metabench.data.pack import Pack
from metabench.data.progress import Progress
from metabench.errors import DataError
from metabench.text import plain, readable

_LOG = logging.getLogger(__name__)

CHUNK = 2**16
TIMEOUT = 30.0
"""Seconds without a byte after which a mirror is given up."""
SLOWEST = 100
"""Bytes per second, over :data:`TIMEOUT` seconds, below which a mirror is given up: it drips."""
_DIGITS = 18
"""Of the length of a file."""
RESUMPTIONS = 5
"""How often a transfer that was cut, but brought something, is resumed at the same mirror."""


class _MirrorError(Exception):
    """Why a mirror failed, in words that follow its address."""


class _CutError(_MirrorError):
    """The transfer ended early; the part that was received is kept."""


def fetch_archive(
    archive: Archive,
    *,
    preparation: Preparation | None = None,
    root: Path | None = None,
    report: Progress | None = None,
) -> Pack:
    """Download the files of a dataset and pack them; existing files are not downloaded again.

    Args:
        archive: what to download and from where.
        preparation: what to do to the images; the archive's own by default.
        root: the data root; the user's own by default.
        report: called with the number of bytes received, then with the number of images packed.

    Raises:
        DataError: no mirror served a file. The next call continues after the received part.
    """
    if not archive.files:
        raise DataError(
            f"{archive.name} has no lawful stable address to download it from.",
            hint=f"Get the files yourself, then run `metabench data import {archive.name} PATH`; "
            f"PATH is {archive.layout}.",
        )
    root = root or data_root()
    folder = originals_folder(archive.name, root)
    with _alone(folder, archive.name):
        for file in archive.files:
            _fetch(file, folder, report)
    return import_archive(archive, folder, preparation=preparation, root=root, report=report)


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Download alone: who comes later waits, and then finds the files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(error, folder) from error
    with ExitStack() as stack:
        if stack.enter_context(held(folder, wait=False)) is False:
            _LOG.warning("%s: waits for another process that downloads it", name)
            stack.enter_context(held(folder))
        yield


def _fetch(file: RemoteFile, folder: Path, report: Progress | None) -> None:
    failures = []
    for url in file.urls:
        shown = _without_user(url)
        try:
            _check_address(url)
            _retrieve(url, file, folder, report)
        except _MirrorError as error:
            failures.append(f"{shown} {error}")
        except ValueError:
            failures.append(f"{shown} has another digest than {file.digest}")
        except OSError as error:
            raise cannot_write(error, folder / file.name) from error
        else:
            return
    raise DataError(
        f"{file.name} could not be downloaded: {'; '.join(failures)}.",
        hint="Run the same command again to continue, or download the file with a browser and use "
        "`metabench data import`.",
    )


def _retrieve(url: str, file: RemoteFile, folder: Path, report: Progress | None) -> None:
    """Download from one mirror; from the beginning where its file does not fit an earlier part.

    Raises:
        ValueError: the file has another digest.
    """
    import pooch

    # pooch announces each download on stderr; progress is shown through ``report``.
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = _Resuming(file, folder / f"{file.name}.part", report)
    for has_part in (downloader.has_part(), False):
        try:
            pooch.retrieve(
                url, known_hash=file.digest, fname=file.name, path=folder, downloader=downloader
            )
        except ValueError:
            if not has_part:
                raise
        else:
            return


class _Resuming:
    """A downloader for pooch that continues ``part`` from where it ends.

    Args:
        file: what is downloaded.
        part: the file that keeps the received part between calls.
        report: called with the number of bytes received.
    """

    def __init__(self, file: RemoteFile, part: Path, report: Progress | None) -> None:
        self.file = file
        self.part = part
        self.report = report

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Download the whole file to ``output_file``; pooch then checks its digest."""
        if self._length() > self.file.size:
            self.part.unlink()
        for attempt in range(RESUMPTIONS + 1):
            before = self._length()
            if before == self.file.size:
                break
            try:
                self._transfer(url, before)
            except _CutError:
                if attempt == RESUMPTIONS or self._length() <= before:
                    raise
        self.part.replace(output_file)

    def has_part(self) -> bool:
        """Whether an earlier transfer, perhaps of another mirror, has left something."""
        return self._length() > 0

    def _length(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _transfer(self, url: str, start: int) -> None:
        headers = {"User-Agent": "metabench", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        request = urllib.request.Request(url, headers=headers)
        try:
            with _opener().open(request, timeout=TIMEOUT) as response:
                resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
                self._receive(response, start if resumed else 0)
        except urllib.error.HTTPError as error:
            error.close()
            raise _MirrorError(f"answered {error.code} {_words(error.reason)}") from error
        except urllib.error.URLError as error:
            raise _MirrorError(f"cannot be reached ({_words(error.reason)})") from error
        except ValueError as error:  # an address that is none, to which it sends on
            raise _MirrorError(f"gives an answer that cannot be read ({_words(error)})") from error
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            raise self._cut() from error

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        chunk = response.read(CHUNK)
        if response.headers.get_content_type() == "text/html" or (not start and is_web_page(chunk)):
            raise _MirrorError("answered with a web page instead of the file")
        self._check_lengths(response.headers.get_all("Content-Length", []), start)
        done = start
        with self.part.open("ab" if start else "wb") as sink:
            while chunk:
                sink.write(chunk)
                done += len(chunk)
                if done > self.file.size:
                    raise _MirrorError(f"sent more than {self.file.size} bytes")
                if self.report:
                    self.report(f"fetch {self.file.name}", done, self.file.size)
                chunk = response.read(CHUNK)
        if done < self.file.size:
            # http.client takes an early end of the connection for the end of the file.
            raise self._cut()

    def _check_lengths(self, announced: list[str], start: int) -> None:
        if len(announced) > 1:
            raise _MirrorError(f"names {len(announced)} lengths")
        for text in announced:
            if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
                raise _MirrorError(f"offers {_words(text)} bytes")
            if start + int(text) != self.file.size:
                raise _MirrorError(f"offers {start + int(text)} bytes, not {self.file.size}")

    def _cut(self) -> _CutError:
        return _CutError(f"was cut after {self._length()} of {self.file.size} bytes")


def _check_address(url: str) -> None:
    """Refuse what is no plain address of the web.

    Raises:
        _MirrorError: when it is another kind of address, or holds a user's name or password.
    """
    try:
        parts = urlsplit(url)
        asks = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        asks = None
    if not asks or not url.isprintable():
        raise _MirrorError("is no address that begins with https:// or http://")
    if "@" in parts.netloc:
        raise _MirrorError("holds a user's name or password, which is not sent")


def _without_user(url: str) -> str:
    """An address as it may be shown.

    >>> _without_user("https://jane:secret@example.org/x.zip")
    'https://example.org/x.zip'
    """
    scheme, slashes, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return readable(f"{scheme}{slashes}{place.rpartition('@')[2]}{slash}{path}")


def _words(said: object) -> str:
    """What a server says, for a sentence."""
    return readable(plain(str(said)))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to other addresses of the web alone."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            there = urljoin(req.full_url, headers.get("Location", ""))
            _check_address(there)
        except _MirrorError as error:
            fp.close()
            shown = _words(_without_user(there))
            raise _MirrorError(f"sends on to {shown}, which {error}") from error
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Paced(io.RawIOBase):
    """What comes from a server, as long as it comes at :data:`SLOWEST` at least."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._since, self._received = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        received: int | None = self._source.readinto(buffer)
        self._received += received or 0
        seconds = time.monotonic() - self._since
        if seconds >= TIMEOUT:
            if self._received < SLOWEST * seconds:
                raise TimeoutError
            self._since, self._received = time.monotonic(), 0
        return received

    def close(self) -> None:
        self._source.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        paced: Any = io.BufferedReader(_Paced(self.fp.detach()))
        self.fp = paced


class _Connection(http.client.HTTPConnection):
    response_class = _Answer


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Answer


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Plain, _Secure, _Redirects)
