"""The page in a real browser; ``build/report-screenshots`` keeps what it looks like."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from browser import CHROMIUM, Tab

from metabench.render.page.server import ReportServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

ROOT = Path(__file__).parents[4]
SCREENSHOTS = ROOT / "build" / "report-screenshots"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
HOSTILE = "<script>alert(1)</script>"
MEANS = {"maml": 2.0, "hsml": 10.5, "mnas": 1.25, HOSTILE: 9.0}
"""As in the folder that ``conftest`` makes."""
SHOWN_ROWS = "[...document.querySelectorAll('#tables tbody tr')].filter(r => r.offsetParent)"


def learners(tab: Tab) -> list[str]:
    """The learners of the table of toy regression, from top to bottom."""
    script = (
        "[...document.querySelector('#table-2').closest('details')"
        ".querySelectorAll('tbody .name')].map(name => name.textContent.trim())"
    )
    return list(tab.evaluate(script))


def click_head(tab: Tab, text: str) -> str:
    """Press a heading's button; how the column is sorted then."""
    script = (
        "(() => { const button = [...document.querySelector('#table-2').closest('details')"
        f".querySelectorAll('thead button')].find(b => b.textContent === '{text}');"
        "button.click(); return button.closest('th').getAttribute('aria-sort'); })()"
    )
    return str(tab.evaluate(script))


def test_tables_and_figures_are_seen(opened):
    seen = opened.evaluate(
        "['table', 'figure svg', 'svg.forest'].map(what => [...document.querySelectorAll(what)]"
        ".filter(one => one.getBoundingClientRect().width > 100).length)"
    )
    tables, figures, forests = seen
    assert tables >= 6
    assert figures == 4  # of toy regression: curves, ranks, searched cells, how common they are
    assert forests == 4


def test_figures_have_the_colors_of_their_lines(opened):
    colors = opened.evaluate(
        "[...new Set([...document.querySelectorAll('figure svg path')]"
        ".map(path => getComputedStyle(path).stroke))]"
    )
    assert "rgb(0, 114, 178)" in colors
    dark = "getComputedStyle(document.querySelector('figure svg text')).fill"
    assert opened.evaluate(dark) == "rgb(28, 31, 36)"


def test_numbers_are_sorted_by_value(opened):
    at_first = learners(opened)
    assert at_first == sorted(MEANS)
    assert click_head(opened, "average") == "ascending"
    assert learners(opened) == sorted(MEANS, key=lambda name: MEANS[name])
    assert click_head(opened, "average") == "descending"
    assert learners(opened) == sorted(MEANS, key=lambda name: -MEANS[name])
    assert click_head(opened, "average") == "none"
    assert learners(opened) == at_first


def test_sorting_works_by_key_and_is_said(opened):
    opened.evaluate(
        "[...document.querySelector('#table-2').closest('details')"
        ".querySelectorAll('thead button')][2].focus()"
    )
    for kind in ("rawKeyDown", "char", "keyUp"):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        opened.call("Input.dispatchKeyEvent", type=kind, **key)
    assert opened.evaluate("document.activeElement.closest('th').ariaSort") == "ascending"


def test_hostile_names_run_nothing(opened):
    names = opened.evaluate("[...document.querySelectorAll('th .name')].map(n => n.textContent)")
    assert HOSTILE in [name.strip() for name in names]
    assert opened.evaluate("document.scripts.length") == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_can_be_looked_at(opened, page, size, scheme):
    opened.resize(*SIZES[size])
    opened.prefer(scheme)
    opened.open(page.as_uri())
    width = opened.evaluate("document.documentElement.scrollWidth")
    assert width == SIZES[size][0]
    opened.screenshot(SCREENSHOTS / f"{size}-{scheme}.png", whole=True)
    assert (SCREENSHOTS / f"{size}-{scheme}.png").stat().st_size > 10_000


def test_without_the_script_everything_is_there(tab, page):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(page.as_uri())
        rows = tab.evaluate(f"{SHOWN_ROWS}.length")
        assert rows == 6
        assert tab.evaluate("document.querySelector('#filters').hidden") is True
        assert tab.evaluate("document.querySelectorAll('thead button').length") == 0
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_server_shows_the_same_page(tab, page):
    with ReportServer(lambda: page.read_text(encoding="utf-8"), port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            tab.complaints.clear()
            tab.open(server.url)
            asked = [url for url in tab.requests if not url.startswith("data:")]
            assert asked == [server.url]
            assert tab.complaints == []
            assert tab.evaluate("document.querySelectorAll('thead button').length") > 10
        finally:
            server.shutdown()
            thread.join()
