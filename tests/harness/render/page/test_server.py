import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import typer
from full_disk import full_disk
from result_factory import GOLDEN, edit_json, make_spec, nine_digits, write_run
from state_factory import at_work, write_going
from typer.testing import CliRunner

from metabench.cli.view import view
from metabench.errors import DataError, UsageError
from metabench.render.page.server import Beside, ReportServer, bundle_of, write_bundle
from metabench.render.page.values import Page

app = typer.Typer()
app.command()(view)


class Pages:
    """Pages that count how often they were asked for, or an error."""

    def __init__(self) -> None:
        self.n = 0
        self.error: DataError | None = None

    def __call__(self) -> str:
        if self.error is not None:
            raise self.error
        self.n += 1
        return f"<p>page {self.n} ±"


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
def server(pages: Pages) -> Iterator[ReportServer]:
    beside = {"/said": Beside(lambda question: f"asked {question}", "application/json")}
    with ReportServer(pages, port=0, beside=beside) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: ReportServer, path: str = "/", *, method: str = "GET", host: str | None = None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    headers = {} if host is None else {"Host": host}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def test_serves_on_the_loopback_alone(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_every_request_makes_the_page_anew(server):
    answer, text = ask(server)
    assert (answer.status, text) == (200, "<p>page 1 ±")
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Content-Security-Policy") == "frame-ancestors 'none'"
    assert ask(server)[1] == "<p>page 2 ±"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""]
)
def test_other_names_of_this_machine_are_refused(server, pages, host):
    answer, text = ask(server, host=host)
    assert answer.status == 421
    assert "page" not in text.replace("This page", "")
    assert pages.n == 0


def test_localhost_is_a_name_of_this_machine(server):
    assert ask(server, host=f"localhost:{server.server_port}")[0].status == 200


def test_what_stands_beside_the_page_is_served_with_its_question(server, pages):
    answer, text = ask(server, "/said?since=7")
    assert (answer.status, text) == (200, "asked since=7")
    assert answer.getheader("Content-Type") == "application/json; charset=utf-8"
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert ask(server, "/said", host="evil.example")[0].status == 421
    assert pages.n == 0


@pytest.mark.parametrize("path", ["/etc/passwd", "/../run.json", "/results/"])
def test_there_is_one_page_and_no_listing(server, pages, path):
    assert ask(server, path)[0].status == 404
    assert pages.n == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(server, pages, method):
    assert ask(server, method=method)[0].status == 501
    assert pages.n == 0


def test_head_has_no_body_and_icons_are_not_there(server):
    answer, text = ask(server, method="HEAD")
    assert (answer.status, text) == (200, "")
    assert ask(server, "/favicon.ico")[0].status == 204


def test_a_tab_that_is_closed_leaves_no_traceback(capsys):
    asked, closed = threading.Event(), threading.Event()

    def page() -> str:
        asked.set()
        assert closed.wait(10)
        return "x" * 10**7

    with ReportServer(page, port=0) as server:
        server.daemon_threads = False  # so that its end waits for the answer
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with socket.create_connection(("127.0.0.1", server.server_port)) as reader:
            reader.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert asked.wait(10)
            # Without lingering, what comes later is answered with a reset.
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        closed.set()
        thread.join()
    assert capsys.readouterr().err == ""


def test_a_fault_of_the_page_is_not_hidden(capsys):
    def page() -> str:
        raise RuntimeError("a fault")

    with ReportServer(page, port=0) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(server)
        thread.join()
    assert "RuntimeError: a fault" in capsys.readouterr().err


def test_an_expected_error_is_a_sentence(server, pages):
    pages.error = DataError("There is no folder R.", hint="Name one.")
    answer, text = ask(server)
    assert answer.status == 503
    assert answer.getheader("Content-Type").startswith("text/plain")
    assert text == "There is no folder R.\nName one.\n"


def test_a_port_that_is_taken_is_said(server, pages):
    with pytest.raises(UsageError, match=f"Cannot serve on port {server.server_port}"):
        ReportServer(pages, port=server.server_port)


def test_the_command_serves_new_runs_and_ends_with_ctrl_c(tmp_path):
    write_run(tmp_path / "a", make_spec("maml"))
    with subprocess.Popen(
        [sys.executable, "-m", "metabench", "view", tmp_path, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell starts what runs in the background deaf to Ctrl-C, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/"))
            for learner in ("reptile", "newcomer"):
                write_run(tmp_path / learner, make_spec(learner))
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/")
                assert learner in connection.getresponse().read().decode()
                connection.close()
            process.send_signal(signal.SIGINT)
            _, messages = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in messages
    assert messages.endswith("Stopped.\n")


# Bundles ---------------------------------------------------------------------------------------


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_bundle_is_the_page_and_its_tables(tmp_path):
    out = tmp_path / "site"
    result = run(GOLDEN / "records", "--bundle", out)
    assert result.exit_code == 0, result.output
    names = {"index.html", "tables.csv", "tables.json"}
    assert {path.name for path in out.iterdir()} >= names
    assert {Path(line).name for line in result.stdout.splitlines()} >= names
    golden = (GOLDEN / "report.csv").read_text()
    assert nine_digits((out / "tables.csv").read_text()) == nine_digits(golden)
    assert len(json.loads((out / "tables.json").read_text())["tables"]) == 2
    assert (out / "index.html").read_text().startswith("<!DOCTYPE html>")


def test_a_bundle_is_written_again_and_leaves_nothing_behind(tmp_path):
    write_bundle(tmp_path, {"index.html": bundle_of(_empty())["index.html"], "papers.csv": "x"})
    write_bundle(tmp_path, bundle_of(_empty()))
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def _empty() -> Page:
    return Page(title="x", tables=(), papers=())


@pytest.mark.parametrize(("name", "text"), [("notes.txt", "mine"), ("index.html", "<p>mine")])
def test_a_foreign_folder_is_left_alone(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match="that metabench did not write"):
        write_bundle(tmp_path, bundle_of(_empty()))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]


def test_a_full_disk_keeps_the_old_bundle(tmp_path):
    files = bundle_of(_empty())
    write_bundle(tmp_path, files)
    with full_disk(100), pytest.raises(UsageError, match="File too large") as caught:
        write_bundle(tmp_path, files)
    assert caught.value.hint == "Free some space there."
    assert (tmp_path / "index.html").read_text() == files["index.html"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="Cannot write"):
        write_bundle(tmp_path / "file", bundle_of(_empty()))


def test_a_folder_without_runs_is_refused(tmp_path):
    assert isinstance(run(tmp_path, "--bundle", tmp_path / "out").exception, DataError)
    assert not (tmp_path / "out").exists()


def test_runs_under_way_are_no_problem_of_a_page(tmp_path):
    write_run(tmp_path / "R", make_spec("maml"))
    with at_work(write_going(tmp_path / "R", make_spec("reptile"))):
        result = run(tmp_path / "R", "--bundle", tmp_path / "out")
    assert result.exit_code == 0
    assert "1 run is under way and not counted" in result.stderr
    text = (tmp_path / "out" / "index.html").read_text()
    assert "1 run was under way when this page was made" in text
    assert 'href="/live"' not in text
    assert 'id="problems"' not in text


def test_problems_are_said_and_the_rest_is_written(tmp_path):
    write_run(tmp_path / "R", make_spec("maml"))
    broken = write_run(tmp_path / "R", make_spec("reptile"))
    edit_json(broken / "run.json", status="failed", error="diverged")
    result = run(tmp_path / "R", "--bundle", tmp_path / "out")
    assert "diverged" in result.stderr
    assert "diverged" in (tmp_path / "out" / "index.html").read_text()
