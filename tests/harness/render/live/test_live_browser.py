"""Two real runs in a real browser: curves grow and the share done rises, without a reload."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from browser import CHROMIUM, Tab, open_tab
from result_factory import make_spec
from state_factory import at_work, write_going

from metabench.plugin.catalog import load_catalog
from metabench.render.live.service import LiveService
from metabench.render.page import read_page
from metabench.render.page.html import render_page
from metabench.render.page.server import ReportServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

SCREENSHOTS = Path(__file__).parents[4] / "build" / "report-screenshots"
POINTS = (
    "Object.fromEntries([...document.querySelectorAll('svg[data-kind=loss] path.curve')]"
    ".map(path => [path.dataset.key, Number(path.dataset.points)]))"
)
SHARE = "document.getElementById('share').value"
SUMMARY = "document.getElementById('summary').textContent"
MOST_SECONDS = 240.0


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A metabench command that is ended with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "metabench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell starts what runs in the background deaf to Ctrl-C, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            finally:
                process.kill()


def wait_for(tab: Tab, what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while not holds():
        assert time.monotonic() < end, f"{what}: {tab.evaluate(SUMMARY)}"
        time.sleep(0.3)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the pages of a folder."""

    def make() -> str:
        page = read_page(folder, load_catalog(), paper=None)[1]
        return render_page(replace(page, live="/live"))

    with ReportServer(make, port=0, beside=LiveService(folder).pages()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


def test_failures_are_shown_and_names_of_others_are_text(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    points = [{"step": step, "loss": 1.0 / step} for step in range(1, 8)]
    write_going(tmp_path, make_spec("maml"), points, status="failed", error=hostile)
    going = write_going(tmp_path, make_spec(hostile), points)
    with at_work(going), served(tmp_path) as url, open_tab(tmp_path / "profile") as tab:
        tab.open(url)
        assert "1 run was under way" in tab.evaluate("document.body.textContent")
        tab.evaluate("document.querySelector('a[href=\"/live\"]').click()")
        wait_for(tab, "curves", lambda: len(tab.evaluate(POINTS)) == 2)
        assert "1 running, 1 failed" in tab.evaluate(SUMMARY)
        assert tab.evaluate("document.querySelector('.reason').textContent") == (
            f"failed: maml seed 0: {hostile}metabench run"
        )
        assert tab.evaluate("document.querySelectorAll('img').length") == 0
        labels = tab.evaluate("document.querySelector('svg.chart').getAttribute('aria-label')")
        assert f"{hostile} seed 0: 0.143" in labels
        assert tab.complaints == []


def test_two_runs_grow_on_the_page_until_they_are_done(tmp_path: Path) -> None:
    out = str(tmp_path / "R")
    run = (
        *("run", "--learner", "maml,reptile", "--suite", "toy-regression", "--budget", "smoke"),
        *("--set", "budget.meta_steps=400", "--limit", "20", "--jobs", "2", "--device", "cpu"),
        *("--out", out),
    )
    with started(*run) as runs, open_tab(tmp_path / "profile") as tab:
        while not [*Path(out).rglob("run.json")]:
            assert runs.poll() is None
            time.sleep(0.2)
        with started("view", out, "--port", "0", "--no-browser") as view:
            assert view.stdout is not None
            url = view.stdout.readline().strip()
            tab.resize(1280, 900)
            tab.open(f"{url}live")
            wait_for(tab, "two curves", lambda: len(tab.evaluate(POINTS)) == 2)
            points, share = tab.evaluate(POINTS), tab.evaluate(SHARE)
            assert "2 running" in tab.evaluate(SUMMARY)
            assert 0 < share < 1
            tab.screenshot(SCREENSHOTS / "live-going.png", whole=True)

            def grown() -> bool:
                now = tab.evaluate(POINTS)
                return all(now[key] > n for key, n in points.items())

            wait_for(tab, "longer curves", grown)
            assert tab.evaluate(SHARE) > share
            wait_for(tab, "the end", lambda: "2 done" in tab.evaluate(SUMMARY))
            wait_for(tab, "all curves", lambda: set(tab.evaluate(POINTS).values()) == {200})
            assert tab.evaluate(SHARE) == 1.0
            assert (
                tab.evaluate("document.querySelectorAll('svg[data-kind=val] path.curve').length")
                == 2
            )
            tab.resize(390, 844)
            assert tab.evaluate("document.documentElement.scrollWidth") <= 390
            tab.screenshot(SCREENSHOTS / "live-done-phone.png")
            asked = {request.partition("?")[0] for request in tab.requests}
            assert asked - {"data:,"} == {f"{url}live", f"{url}status.json"}
            assert tab.complaints == []
            # Only opened once: what was seen came without a reload.
            assert tab.requests.count(f"{url}live") == 1
            tab.open(url)
            assert "maml" in tab.evaluate("document.getElementById('tables').textContent")
