"""A page served to this machine alone, or written as a folder of static files."""

from __future__ import annotations

import logging
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from metabench.data.plain_files import MAX_ROWS, read_plain
from metabench.durable import NO_SPACE, hint_of, replacing
from metabench.errors import MetabenchError, UsageError
from metabench.papers.table import PaperReport
from metabench.render import Format, render
from metabench.render.page.html import render_page
from metabench.render.page.values import Page
from metabench.reports.tables import Report

HOST = "127.0.0.1"
_OUR_NAMES = (HOST, "localhost")
_MARK = '<meta name="generator" content="metabench">'
_NAMES = ("index.html", "tables.csv", "tables.json", "papers.csv", "papers.json")
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Beside:
    """What is served beside the page, made anew at every request.

    Attributes:
        make: gives the text, from what follows the question mark of the address.
        kind: its media type.
    """

    make: Callable[[str], str]
    kind: str = "text/html"


class ReportServer(ThreadingHTTPServer):
    """Serves one page on 127.0.0.1, asked for anew at every request.

    Requests under another name than this machine's are refused, so that no web site can read the
    page through a name of its own that leads here.

    Args:
        make_page: gives the page as HTML.
        port: 0 takes any free one.
        beside: what else is served, by path.

    Raises:
        UsageError: when the port is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        make_page: Callable[[], str],
        *,
        port: int,
        beside: Mapping[str, Beside] | None = None,
    ) -> None:
        self._make_page = make_page
        self.beside = dict(beside or {})
        self._one_at_a_time = threading.Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"Cannot serve on port {port}: {error.strerror}.",
                hint="Choose another port with --port; --port 0 takes any free one.",
            ) from error

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, as ``HTTPServer`` would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a reader went away, as when a tab is closed; else as usual."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def page(self) -> str:
        """The page as it is now."""
        with self._one_at_a_time:
            return self._make_page()


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version = "metabench"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        path, _, question = self.path.partition("?")
        if host.partition(":")[0] not in _OUR_NAMES:
            self._answer(
                HTTPStatus.MISDIRECTED_REQUEST, "This page is only for the machine that serves it."
            )
        elif self.path == "/favicon.ico":
            self._answer(HTTPStatus.NO_CONTENT, "")
        elif path not in ("/", *self.server.beside):
            self._answer(HTTPStatus.NOT_FOUND, "There is no such page; the report is /")
        else:
            try:
                if path == "/":
                    self._answer(HTTPStatus.OK, self.server.page(), kind="text/html")
                else:
                    other = self.server.beside[path]
                    self._answer(HTTPStatus.OK, other.make(question), kind=other.kind)
            except MetabenchError as error:
                words = f"{error.message}\n{error.hint}\n"
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, words)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: HTTPStatus, text: str, *, kind: str = "text/plain") -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def bundle_of(page: Page) -> dict[str, str]:
    """The page and its tables as files, by name."""
    files = {"index.html": render_page(page)}
    reports: dict[str, Report | PaperReport] = {
        "tables": Report(page.tables, page.problems),
        "papers": PaperReport(page.papers, page.problems),
    }
    for name, report in reports.items():
        if report.tables:
            files |= {f"{name}.{kind}": render(report, kind) for kind in (Format.csv, Format.json)}
    return files


def write_bundle(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write files into a folder that is new, empty, or was written by this function.

    Raises:
        UsageError: when the folder holds anything else, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in _NAMES)
        index = folder / "index.html"
        if foreign or (index.exists() and _MARK.encode() not in read_plain(index, MAX_ROWS)):
            raise UsageError(
                f"{folder} has {'a file' if foreign else 'an index.html'} that metabench did not "
                f"write{f': {foreign[0]}' if foreign else ''}.",
                hint="Name a new or an empty folder.",
            )
        for old in set(_NAMES) - files.keys():
            (folder / old).unlink(missing_ok=True)
        for name, text in files.items():
            with replacing(folder / name) as place:
                place.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(
            f"Cannot write {folder}: {error.strerror}.",
            hint=hint_of(error) if error.errno in NO_SPACE else "Name another folder.",
        ) from error
    return [folder / name for name in files]
