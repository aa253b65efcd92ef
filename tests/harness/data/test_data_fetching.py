"""Downloads from a server on this machine that misbehaves in every way seen in the field."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metabench.data import Archive, RemoteFile, fetch_archive, fetching, verify_pack
from metabench.data.locations import originals_folder
from metabench.data.locks import held
from metabench.errors import DataError

NAMES = ("images_background.zip", "images_evaluation.zip")


@dataclass
class Site:
    """What the server offers, how it misbehaves, and what it was asked.

    Attributes:
        address: its root.
        files: content by name.
        cuts: after how many bytes each coming answer breaks off; ``None`` is a whole answer.
        ranges: whether it can continue a file.
        requests: path and ``Range`` header of each request.
    """

    address: str
    files: dict[str, bytes]
    cuts: list[int | None] = field(default_factory=list)
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def archive(self, archive: Archive, *mirrors: str) -> Archive:
        """The archive with this site's mirrors, in the order given."""
        files = tuple(
            RemoteFile(
                name=name,
                urls=tuple(f"{mirror}/{name}" for mirror in mirrors),
                digest=f"sha256:{hashlib.sha256(self.files[name]).hexdigest()}",
                size=len(self.files[name]),
            )
            for name in NAMES
        )
        return dataclasses.replace(archive, files=files)


@pytest.fixture
def site(tiny_zips: Path) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror, _, name = self.path[1:].partition("/")
            offered.requests.append((self.path, self.headers["Range"]))
            if mirror == "gone":
                self.send_error(404)
                return
            if mirror == "quota":
                self._answer(b"<html>Quota exceeded</html>", "text/html; charset=utf-8")
                return
            if mirror == "disguised":
                page = b"<!DOCTYPE html><html>Log in</html>"
                self._answer(page.ljust(len(offered.files[name])), "application/zip")
                return
            content = offered.files[name]
            if mirror == "older":
                content = bytes([content[0] ^ 1]) + content[1:]
            if mirror == "shorter":
                content = content[:-10]
            self._answer(content, "application/zip")

        def _answer(self, content: bytes, kind: str) -> None:
            asked = self.headers["Range"] if offered.ranges else None
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cut = offered.cuts.pop(0) if offered.cuts else None
            self.wfile.write(content[start:] if cut is None else content[start : start + cut])

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    offered = Site(
        address=f"http://127.0.0.1:{server.server_port}",
        files={name: (tiny_zips / name).read_bytes() for name in NAMES},
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield offered
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_are_fetched_packed_and_not_fetched_again(
    site: Site, tiny_archive: Archive, data_root: Path
) -> None:
    archive = site.archive(tiny_archive, f"{site.address}/good")
    steps: list[tuple[str, int, int]] = []
    pack = fetch_archive(archive, report=lambda *step: steps.append(step))
    verify_pack(pack)
    size = len(site.files[NAMES[0]])
    assert (f"fetch {NAMES[0]}", size, size) in steps
    assert steps[-1] == ("pack omniglot", 20, 20)
    assert len(site.requests) == 2
    fetch_archive(archive)
    assert len(site.requests) == 2
    originals = data_root / "omniglot" / "originals"
    assert sorted(path.name for path in originals.iterdir()) == sorted(NAMES)


def test_two_downloads_at_once_share_one(
    site: Site, tiny_archive: Archive, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = site.archive(tiny_archive, f"{site.address}/good")
    folder = originals_folder(archive.name, data_root)
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(2) as pool:
        with held(folder):
            jobs = [pool.submit(fetch_archive, archive) for _ in range(2)]
            deadline = time.monotonic() + 60
            while len(caplog.messages) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert site.requests == []
        digests = {job.result().index.digest for job in jobs}
    assert len(digests) == 1
    assert sorted(path for path, _ in site.requests) == [f"/good/{name}" for name in sorted(NAMES)]
    waits = "omniglot: waits for another process that downloads it"
    assert caplog.messages == [waits, waits]


def test_a_cut_connection_is_resumed_where_it_ended(
    site: Site, tiny_archive: Archive, data_root: Path
) -> None:
    site.cuts = [1000, 500, None]
    verify_pack(fetch_archive(site.archive(tiny_archive, f"{site.address}/good")))
    assert [asked for _, asked in site.requests[:3]] == [None, "bytes=1000-", "bytes=1500-"]


def test_a_call_that_failed_half_way_is_resumed_by_the_next_call(
    site: Site, tiny_archive: Archive, data_root: Path
) -> None:
    archive = site.archive(tiny_archive, f"{site.address}/good")
    site.cuts = [1000, 0]
    size = len(site.files[NAMES[0]])
    with pytest.raises(DataError, match=f"was cut after 1000 of {size} bytes") as caught:
        fetch_archive(archive)
    assert "again" in caught.value.hint
    site.requests.clear()
    verify_pack(fetch_archive(archive))
    assert site.requests[0] == (f"/good/{NAMES[0]}", "bytes=1000-")


def test_a_server_that_cannot_resume_starts_over(
    site: Site, tiny_archive: Archive, data_root: Path
) -> None:
    site.ranges = False
    site.cuts = [1000, None]
    verify_pack(fetch_archive(site.archive(tiny_archive, f"{site.address}/good")))


def test_a_beginning_that_is_no_beginning_is_thrown_away(
    site: Site, tiny_archive: Archive, data_root: Path
) -> None:
    originals = data_root / "omniglot" / "originals"
    originals.mkdir(parents=True)
    (originals / f"{NAMES[0]}.part").write_bytes(bytes(10**6))
    (originals / f"{NAMES[1]}.part").write_bytes(b"other")
    (originals / NAMES[1]).write_bytes(b"a file with another digest")
    verify_pack(fetch_archive(site.archive(tiny_archive, f"{site.address}/good")))


def test_what_one_mirror_began_does_not_spoil_the_file_of_another(
    site: Site, tiny_archive: Archive, data_root: Path
) -> None:
    site.cuts = [1000, 0]
    mirrors = (f"{site.address}/older", f"{site.address}/good")
    verify_pack(fetch_archive(site.archive(tiny_archive, *mirrors)))
    name = NAMES[0]
    assert site.requests[:4] == [
        (f"/older/{name}", None),
        (f"/older/{name}", "bytes=1000-"),
        (f"/good/{name}", "bytes=1000-"),
        (f"/good/{name}", None),
    ]


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ("gone", "answered 404 Not Found"),
        ("quota", "answered with a web page instead of the file"),
        ("disguised", "answered with a web page instead of the file"),
        ("older", "has another digest than sha256:"),
        ("shorter", "bytes, not"),
        ("dead", "cannot be reached"),
    ],
)
def test_a_mirror_that_fails_is_named_and_the_next_one_serves(
    site: Site, tiny_archive: Archive, data_root: Path, mirror: str, words: str
) -> None:
    # Nothing listens at port 1.
    address = "http://127.0.0.1:1" if mirror == "dead" else f"{site.address}/{mirror}"
    with pytest.raises(DataError, match=words) as caught:
        fetch_archive(site.archive(tiny_archive, address))
    assert caught.value.exit_code == 3
    assert f"{address}/{NAMES[0]}" in caught.value.message
    assert not [path for path in data_root.rglob("*") if path.is_file()]
    verify_pack(fetch_archive(site.archive(tiny_archive, address, f"{site.address}/good")))


def test_a_dataset_without_addresses_says_how_to_import_it(
    tiny_archive: Archive, data_root: Path
) -> None:
    with pytest.raises(DataError, match="no lawful stable address") as caught:
        fetch_archive(dataclasses.replace(tiny_archive, files=()))
    assert "metabench data import omniglot PATH" in caught.value.hint


def test_a_data_root_that_cannot_be_made_is_a_sentence(
    site: Site, tiny_archive: Archive, data_root: Path
) -> None:
    data_root.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="Cannot write") as caught:
        fetch_archive(site.archive(tiny_archive, f"{site.address}/good"))
    assert "METABENCH_DATA" in caught.value.hint


@contextmanager
def answering(answer: bytes, *, drip: float = 0.0) -> Iterator[str]:
    """The address of a server that gives each client these bytes; with a drip, one by one."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, suppress(OSError):
                        client.recv(2**16)
                        for at in range(len(answer) if drip else 1):
                            client.sendall(answer[at : at + 1] if drip else answer)
                            time.sleep(drip)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.zip"


def refusal(archive: Archive, *urls: str) -> str:
    """Why no address serves the file of an archive."""
    file = RemoteFile(name="x.zip", urls=urls, digest=f"sha256:{'0' * 64}", size=1000)
    with pytest.raises(DataError) as caught:
        fetch_archive(dataclasses.replace(archive, files=(file,)))
    return caught.value.message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "file:///etc/passwd is no address that begins with https://"),
        ("/etc/passwd", "is no address that begins with https://"),
        ("ftp://example.org/x.zip", "is no address that begins with https://"),
        ("http:///x.zip", "is no address that begins with https://"),
        ("http://[::/x.zip", "is no address that begins with https://"),
        ("https://example.org/\x1b[2J", "\\x1b[2J is no address that begins with https://"),
        (
            "https://jane:secret@example.org/x.zip",
            "https://example.org/x.zip holds a user's name or password, which is not sent",
        ),
    ],
)
def test_only_plain_addresses_of_the_web_are_asked(
    tiny_archive: Archive, data_root: Path, url: str, words: str
) -> None:
    said = refusal(tiny_archive, url)
    assert words in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("200 OK\r\nContent-Length: 1000\r\nContent-Length: 1000", "names 2 lengths"),
        ("200 OK\r\nContent-Length: 1000\r\nContent-Length: 5", "names 2 lengths"),
        ("200 OK\r\nContent-Length: 1e3", "offers 1e3 bytes"),
        (f"200 OK\r\nContent-Length: {'9' * 5000}", "characters]"),
        ("302 Found\r\nLocation: file:///x", "sends on to file:///x, which is no address"),
        ("301 Moved\r\nLocation: ftp://127.0.0.1/", "sends on to ftp://127.0.0.1/, which is no"),
        ("302 Found\r\nLocation: //127.0.0.1:1/\x1b[2J", "/\\x1b[2J, which is no address"),
        ("307 Found\r\nLocation: http://[::", "answer that cannot be read (Invalid IPv6 URL)"),
        ("308 Found\r\nLocation: http://a:secret@127.0.0.1/", "http://127.0.0.1/, which holds"),
        ("404 \x1b[2Jgone", "answered 404 \\x1b[2Jgone"),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", "was cut after 0 of 1000 bytes"),
    ],
)
def test_a_strange_answer_is_a_sentence(
    tiny_archive: Archive, data_root: Path, head: str, words: str
) -> None:
    with answering(f"HTTP/1.1 {head}\r\n\r\n".encode("latin-1") + b"x" * 1000) as url:
        said = refusal(tiny_archive, url)
    assert words in said
    assert said.isprintable()
    assert len(said) < 1000
    assert "secret" not in said
    assert not [path for path in data_root.rglob("*") if path.suffix != ".part" and path.is_file()]


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: y", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_drips_is_given_up(
    tiny_archive: Archive, data_root: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.1)
    monkeypatch.setattr(fetching, "SLOWEST", 10**6)
    began = time.monotonic()
    with answering(head + b"z" * 5000, drip=0.01) as url:
        assert "was cut after" in refusal(tiny_archive, url)
    assert time.monotonic() - began < 10
