"""Downloading the published files: mirrors in turn, resumed where cut, checked by digest."""

from __future__ import annotations

import http.client
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from metabench.data.archive import Archive, Preparation, RemoteFile
from metabench.data.importing import cannot_write, import_archive
from metabench.data.locations import data_root, originals_folder
from metabench.data.locks import held
from metabench.data.originals import is_web_page
from metabench.data.pack import Pack
from metabench.data.progress import Progress
from metabench.errors import DataError

_LOG = logging.getLogger(__name__)

CHUNK = 2**16
TIMEOUT = 30.0
"""Seconds without a byte after which a mirror is given up."""
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
        if not stack.enter_context(held(folder, wait=False)):
            _LOG.warning("%s: waits for another process that downloads it", name)
            stack.enter_context(held(folder))
        yield


def _fetch(file: RemoteFile, folder: Path, report: Progress | None) -> None:
    import pooch

    # pooch announces each download on stderr; progress is shown through ``report``.
    pooch.get_logger().setLevel(logging.WARNING)
    failures = []
    for url in file.urls:
        try:
            pooch.retrieve(
                url,
                known_hash=file.digest,
                fname=file.name,
                path=folder,
                downloader=_Resuming(file, folder / f"{file.name}.part", report),
            )
        except _MirrorError as error:
            failures.append(f"{url} {error}")
        except ValueError:
            failures.append(f"{url} has another digest than {file.digest}")
        except OSError as error:
            raise cannot_write(error, folder / file.name) from error
        else:
            return
    raise DataError(
        f"{file.name} could not be downloaded: {'; '.join(failures)}.",
        hint="Run the same command again to continue, or download the file with a browser and use "
        "`metabench data import`.",
    )


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

    def _length(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _transfer(self, url: str, start: int) -> None:
        headers = {"User-Agent": "metabench", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
                self._receive(response, start if resumed else 0)
        except urllib.error.HTTPError as error:
            error.close()
            raise _MirrorError(f"answered {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise _MirrorError(f"cannot be reached ({error.reason})") from error
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            raise self._cut() from error

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        chunk = response.read(CHUNK)
        if response.headers.get_content_type() == "text/html" or (not start and is_web_page(chunk)):
            raise _MirrorError("answered with a web page instead of the file")
        announced = response.headers["Content-Length"]
        if announced is not None and start + int(announced) != self.file.size:
            raise _MirrorError(f"offers {start + int(announced)} bytes, not {self.file.size}")
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

    def _cut(self) -> _CutError:
        return _CutError(f"was cut after {self._length()} of {self.file.size} bytes")
