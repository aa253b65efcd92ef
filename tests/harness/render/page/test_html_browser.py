"""The page in a real browser; ``build/report-screenshots`` keeps what it looks like."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Tab, open_tab
from result_factory import make_spec, write_run

from metabench.plugin.catalog import load_catalog
from metabench.render.page import read_page
from metabench.render.page.html import render_page
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
SHOWN_ROWS = "[...document.querySelectorAll('#tables tbody tr')].filter(r => r.offsetParent)"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few learners on two suites, with curves, stamps, searched cells and a name to fear."""
    out = tmp_path_factory.mktemp("browser")
    genotype = {"normal": [[0, 2, "conv_3x3"], [1, 2, "skip"]]}
    for learner, mean in MEANS.items():
        spec = make_spec(
            learner,
            suite="toy-regression",
            setting="10-shot",
            metric="mse",
            budget="paper",
            sources=("sine", "line"),
            episodes=40,
        )
        scores = [mean + (i % 7 - 3) / 10 for i in range(80)]
        stamps = ("lite",) if learner == "hsml" else ()
        run = write_run(out / "toy", spec, scores, stamps=stamps, transductive=False)
        points = [{"step": step, "loss": mean * 10.0 / step} for step in range(1, 40)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in points))
        if learner == "mnas":
            lines = [{"index": i, "genotype": genotype} for i in range(5)]
            (run / "genotypes.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    for learner in ("maml", "reptile"):
        spec = make_spec(learner, suite="omniglot", sources=("omniglot",), episodes=40)
        write_run(out / "o", spec, [(i % 3) / 2 for i in range(40)], stamps=("lite", "subset"))
    return out


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "report.html"
    text = render_page(read_page(results, load_catalog(), paper=None)[1])
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def opened(tab: Tab, page: Path) -> Iterator[Tab]:
    """The page at desktop width; nothing may complain or go to the network."""
    tab.resize(*SIZES["desktop"])
    tab.prefer("light")
    tab.complaints.clear()
    tab.open(page.as_uri())
    yield tab
    asked = [url for url in tab.requests if not url.startswith("data:")]
    assert asked == [page.as_uri()]
    assert tab.complaints == []


def learners(tab: Tab) -> list[str]:
    """The learners of the table of toy regression, from top to bottom."""
    script = (
        "[...document.querySelector('#table-2').closest('article')"
        ".querySelectorAll('tbody .name')].map(name => name.textContent.trim())"
    )
    return list(tab.evaluate(script))


def click_head(tab: Tab, text: str) -> str:
    """Press a heading's button; how the column is sorted then."""
    script = (
        "(() => { const button = [...document.querySelector('#table-2').closest('article')"
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
        "[...document.querySelector('#table-2').closest('article')"
        ".querySelectorAll('thead button')][2].focus()"
    )
    for kind in ("rawKeyDown", "char", "keyUp"):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        opened.call("Input.dispatchKeyEvent", type=kind, **key)
    assert opened.evaluate("document.activeElement.closest('th').ariaSort") == "ascending"


@pytest.mark.parametrize(
    ("kind", "value", "rows"),
    [
        ("learner", "maml", 2),
        ("suite", "omniglot", 2),
        ("stamp", "subset", 2),
        ("stamp", "none", 3),
    ],
)
def test_filters(opened, kind, value, rows):
    opened.evaluate(
        f"(() => {{ const s = document.querySelector('#filters select[name={kind}]');"
        f"s.value = '{value}'; s.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
    )
    assert opened.evaluate(f"{SHOWN_ROWS}.length") == rows
    assert opened.evaluate("document.querySelector('#filters output').textContent") == (
        f"{rows} of 6 rows"
    )
    opened.evaluate("document.querySelector('#filters button').click()")
    shown = f"new Promise(done => setTimeout(() => done({SHOWN_ROWS}.length), 50))"
    assert opened.evaluate(shown) == 6


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, page, scheme):
    opened.prefer(scheme)
    opened.open(page.as_uri())
    weak = opened.evaluate(CONTRAST)
    assert weak == []


def test_committed_records(tab, tmp_path):
    """What a reader of the repository sees."""
    path = tmp_path / "results.html"
    text = render_page(read_page(ROOT / "results", load_catalog(), paper=None)[1])
    path.write_text(text, encoding="utf-8")
    tab.resize(*SIZES["desktop"])
    tab.complaints.clear()
    tab.open(path.as_uri())
    assert tab.complaints == []
    tab.screenshot(SCREENSHOTS / "committed-records.png", whole=True)


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


CONTRAST = """(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const groundOf = one => {
    for (let e = one; e; e = e.parentElement) {
      const found = parse(getComputedStyle(e).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const weak = new Set();
  for (const one of document.querySelectorAll("body *:not(svg *)")) {
    const own = [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !one.offsetParent || one.tagName === "SCRIPT") continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(groundOf(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.add(`${one.tagName}.${one.className}: ${ratio.toFixed(2)}`);
  }
  return [...weak];
})()"""
