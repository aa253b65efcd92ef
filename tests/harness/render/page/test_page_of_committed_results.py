"""The page that a reader of the repository makes: its size, what is cut, who can use it.

``build/report-screenshots`` keeps what it looks like.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Tab

from metabench.plugin.catalog import load_catalog
from metabench.render.page import read_page
from metabench.render.page.html import render_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

ROOT = Path(__file__).parents[4]
SCREENSHOTS = ROOT / "build" / "report-screenshots"
SIZES = {"phone": (390, 844), "desktop": (1440, 900), "large": (1920, 1080)}
PORTRAIT, LANDSCAPE = 688, 1017
"""A4 without margins, in CSS pixels."""


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("committed") / "results.html"
    text = render_page(read_page(ROOT / "results", load_catalog(), paper=None)[1])
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def shown(tab: Tab, committed: Path) -> Iterator[Tab]:
    """Nothing may complain or go to the network, and the next test finds a screen again."""
    tab.complaints.clear()
    yield tab
    tab.call("Emulation.setEmulatedMedia", media="", features=[])
    asked = [url for url in tab.requests if not url.startswith("data:")]
    assert asked == [committed.as_uri()]
    assert tab.complaints == []


OPEN_ALL = """(async () => {
  await unpackFigures();
  for (const fold of document.querySelectorAll("main details")) fold.open = true;
  for (const box of document.querySelectorAll("input.further")) box.checked = true;
  await new Promise(done => setTimeout(done, 300));
  showHints();
  return document.querySelectorAll("[data-stored]").length;
})()"""

CUT = """(() => {
  const cut = [];
  for (const one of document.querySelectorAll("body *:not(svg *)")) {
    if (!one.getClientRects().length || one.closest(".unseen")) continue;
    if (getComputedStyle(one).display === "inline" || !one.clientWidth) continue;
    if (one.scrollWidth <= one.clientWidth + 1) continue;
    const box = one.closest(".scroll");
    const hint = box?.previousElementSibling;
    if (box?.matches(".wide") && hint.getClientRects().length && box.tabIndex === 0) continue;
    if (one.matches("nav ul.wide, #filters.wide")) continue;
    cut.push(`${one.tagName}.${one.className} ${one.textContent.trim().slice(0, 40)}`);
  }
  return cut;
})()"""
"""What is wider than its box, unless the box scrolls, says so, and can be reached by key."""


BROKEN_RULES = """axe.run(document, {resultTypes: ["violations"]}).then(found =>
  found.violations.map(rule => `${rule.id}: ${rule.nodes[0].html.slice(0, 120)}`))"""


def test_it_is_small_and_short(shown, committed):
    studies = [path for path in (ROOT / "results").iterdir() if path.is_dir()]
    assert committed.stat().st_size < 150_000 * len(studies)
    width, height = SIZES["desktop"]
    shown.resize(width, height)
    shown.open(committed.as_uri())
    screens = 1 + len(studies)
    assert shown.evaluate("document.documentElement.scrollHeight") <= screens * height


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("phone", "light"),
        ("desktop", "dark"),
        ("large", "light"),
        *(
            pytest.param(size, scheme, marks=pytest.mark.exhaustive)
            for size, scheme in (("phone", "dark"), ("desktop", "light"), ("large", "dark"))
        ),
    ],
)
def test_nothing_is_cut_at_any_width(shown, committed, size, scheme):
    shown.resize(*SIZES[size])
    shown.prefer(scheme)
    shown.open(committed.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
    assert shown.evaluate(CUT) == []
    shown.screenshot(SCREENSHOTS / f"committed-{size}-{scheme}.png", whole=True)
    assert shown.evaluate(OPEN_ALL) == 0
    assert shown.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
    assert shown.evaluate(CUT) == []


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.exhaustive)])
def test_axe_finds_nothing(shown, committed, scheme):
    """Of its rules for accessible pages, none is broken, whether parts are folded or open."""
    axe = pytest.importorskip("axe_core_python", reason="no axe: pip install axe-core-python")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    shown.resize(*SIZES["desktop"])
    shown.prefer(scheme)
    shown.open(committed.as_uri())
    shown.evaluate(f"{rules};1")
    for opening in ("1", OPEN_ALL):
        shown.evaluate(opening)
        assert shown.evaluate(BROKEN_RULES) == []


@pytest.mark.parametrize(("width", "without"), [(PORTRAIT, ".broad"), (LANDSCAPE, "#reproduce")])
def test_paper_shows_all_of_a_table(shown, committed, width, without):
    """Tables of many columns are printed across the page."""
    shown.resize(width, 1000)
    shown.call("Emulation.setEmulatedMedia", media="print", features=[])
    shown.open(committed.as_uri())
    shown.evaluate(OPEN_ALL)
    shown.evaluate(f"document.querySelectorAll('{without}').forEach(one => one.remove())")
    assert shown.evaluate("document.querySelectorAll('table').length") > 20
    assert shown.evaluate(CUT) == []
    assert shown.evaluate("document.documentElement.scrollWidth") == width


def test_it_prints(shown, committed):
    shown.resize(*SIZES["desktop"])
    shown.open(committed.as_uri())
    shown.evaluate("unpackFigures().then(() => 1)")
    pdf = base64.b64decode(shown.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / "committed.pdf").write_bytes(pdf)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(shown, committed, scheme):
    shown.resize(*SIZES["desktop"])
    shown.prefer(scheme)
    shown.open(committed.as_uri())
    shown.evaluate(OPEN_ALL)
    assert shown.evaluate(CONTRAST) == []


def test_what_a_screen_reader_hears(shown, committed):
    """Everything that can be used has a name, and the page is in parts with names."""
    shown.resize(*SIZES["desktop"])
    shown.open(committed.as_uri())
    shown.evaluate(OPEN_ALL)
    nodes = shown.call("Accessibility.getFullAXTree")["nodes"]
    heard = [
        (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")).strip())
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]
    roles = {role for role, _ in heard}
    assert {"banner", "navigation", "main", "contentinfo", "form", "heading", "table"} <= roles
    named = {
        *("button", "link", "checkbox", "combobox", "heading", "region", "form", "navigation"),
        *("table", "columnheader", "rowheader", "group", "DisclosureTriangle", "img"),
    }
    assert [role for role, name in heard if role in named and not name and role != "group"] == []
    regions = [name for role, name in heard if role in ("navigation", "form")]
    assert len(regions) == len({*regions})


def test_it_can_be_used_by_key(shown, committed):
    shown.resize(*SIZES["desktop"])
    shown.open(committed.as_uri())
    jumps = "[...document.querySelectorAll('[tabindex]')].filter(one => one.tabIndex > 0).length"
    assert shown.evaluate(jumps) == 0
    assert shown.evaluate("document.documentElement.lang") == "en"
    assert shown.evaluate("document.querySelector('a.skip').hash") == "#main"
    shown.evaluate("document.querySelector('.filter summary').focus()")
    shown.evaluate("document.activeElement.click()")
    assert shown.evaluate("document.querySelector('.filter').open") is True
    for kind in ("rawKeyDown", "keyUp"):
        key = {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27}
        shown.call("Input.dispatchKeyEvent", type=kind, **key)
    assert shown.evaluate("document.querySelector('.filter').open") is False
    assert shown.evaluate("document.activeElement.matches('.filter > summary')") is True


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
