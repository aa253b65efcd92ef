"""What a reader can do with the page: sort, filter, download, put two side by side, open, print."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree

import pytest
from browser import CHROMIUM, Tab

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

SHOWN_ROWS = "[...document.querySelectorAll('#tables tbody tr')].filter(r => !r.hidden).length"
SAVED = """(async () => {
  const saved = new Promise(done => {
    HTMLAnchorElement.prototype.click = async function () {
      done([this.download, await blobs.get(this.href).text()]);
    };
  });
  const blobs = new Map();
  const make = URL.createObjectURL;
  URL.createObjectURL = blob => { const url = make(blob); blobs.set(url, blob); return url; };
  document.querySelector(`%s`).click();
  return await saved;
})()"""
"""The name and the text of what a button saves."""


def choose(tab: Tab, kind: str, *values: str) -> None:
    for value in values:
        tab.evaluate(f"document.querySelector('#filters [name={kind}][value={value}]').click()")


def saved(tab: Tab, button: str) -> tuple[str, str]:
    name, text = tab.evaluate(SAVED % button)
    return name, text


@pytest.mark.parametrize(
    ("kind", "values", "rows"),
    [
        ("learner", ["maml"], 2),
        ("learner", ["maml", "mnas"], 3),
        ("suite", ["omniglot"], 2),
        ("stamp", ["subset"], 2),
        ("stamp", ["none"], 3),
        ("stamp", ["none", "subset"], 5),
    ],
)
def test_filters_take_several_values_and_are_in_the_address(opened, page, kind, values, rows):
    choose(opened, kind, *values)
    assert opened.evaluate(SHOWN_ROWS) == rows
    said = opened.evaluate("document.querySelector('#filters output').textContent")
    assert said == f"{rows} of 6 rows"
    address = opened.evaluate("location.href")
    assert address.partition("?")[2].count(f"{kind}=") == len(values)
    opened.open(address)  # as someone would to whom it was sent
    assert opened.evaluate(SHOWN_ROWS) == rows
    opened.evaluate("document.querySelector('#filters button').click()")
    opened.evaluate("new Promise(done => setTimeout(done, 50))")
    assert opened.evaluate(SHOWN_ROWS) == 6
    assert opened.evaluate("location.href") == page.as_uri()


def test_a_filter_applies_to_everything(opened):
    choose(opened, "learner", "reptile")
    shown = "[...document.querySelectorAll('%s')].filter(one => !one.closest('[hidden]')).length"
    assert opened.evaluate(shown % "#glance .dot") == 1
    assert opened.evaluate(shown % "#tables tbody tr") == 1
    assert opened.evaluate(shown % "#papers tbody tr:has(.ours)") == 1
    assert opened.evaluate(shown % "#papers > details") < opened.evaluate(
        "document.querySelectorAll('#papers > details').length"
    )
    assert opened.evaluate(shown % "#differences tbody tr") <= 1
    assert opened.evaluate(shown % "#claims .claim") == 0
    assert opened.evaluate(shown % "#figures .picture figure svg") == 0  # those of toy regression
    assert opened.evaluate(shown % "#reproduce .origin") == 1


def test_verdicts_at_a_glance_are_counted_anew(opened):
    count = (
        "[...document.querySelectorAll('[data-counts] .badge:not([hidden]) b')]"
        ".filter(one => !one.closest('[hidden]'))"
        ".reduce((sum, one) => sum + Number(one.textContent), 0)"
    )
    before = opened.evaluate(count)
    choose(opened, "learner", "reptile")
    after = opened.evaluate(count)
    assert 0 < after < before
    choose(opened, "learner", "reptile")  # once more takes it back
    assert opened.evaluate(count) == before


def test_the_best_comes_first(opened):
    script = (
        "(() => { const table = document.querySelector('#table-%d').closest('details');"
        "const head = [...table.querySelectorAll('thead th')].find(h => h.textContent === '%s');"
        "head.querySelector('button').click(); return head.ariaSort; })()"
    )
    assert opened.evaluate(script % (1, "omniglot")) == "descending"  # of accuracy
    assert opened.evaluate(script % (2, "average")) == "ascending"  # of an error


@pytest.mark.parametrize("kind", ["csv", "json", "tex", "svg"])
def test_a_table_can_be_saved(opened, kind):
    name, text = saved(opened, f"[data-file=table-2][data-kind={kind}]")
    assert name == f"toy-regression-10-shot.{kind}"
    if kind == "csv":
        rows = [*csv.DictReader(io.StringIO(text))]
        assert {row["learner"] for row in rows} >= {"maml", "mnas"}
        assert len(rows) == 4 * 3
    elif kind == "json":
        assert "toy-regression" in json.dumps(json.loads(text))
    elif kind == "tex":
        assert r"\toprule" in text
    else:
        root = ElementTree.fromstring(text)
        said = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
        assert {"maml", "mnas", "1.250 ± 0.032"} & {*said} >= {"maml", "mnas"}


def test_a_figure_can_be_saved(opened):
    name, text = saved(opened, "#figures [data-kind=figure]")
    assert name.endswith(".svg")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("width", "").endswith("pt")


COMPARED = """(async () => {
  document.querySelector("#compare details").open = true;
  const form = document.getElementById("choice");
  for (let i = 0; i < 100 && !form.left.options.length; i++) {
    await new Promise(done => setTimeout(done, 20));
  }
  for (const [name, said] of Object.entries(%s)) {
    form[name].value = [...form[name].options].find(o => o.textContent === said).value;
    form[name].dispatchEvent(new Event("input", { bubbles: true }));
  }
  const tables = [...document.querySelectorAll("#compared table")];
  return [tables.map(t => [...t.tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent))),
    document.querySelectorAll("#compared .curve path:not(.axis)").length,
    document.getElementById("compared").textContent];
})()"""


def test_two_configurations_stand_side_by_side(opened):
    (sources, episodes), n_lines, said = opened.evaluate(
        COMPARED % '{group: "toy-regression @ 10-shot, budget paper", left: "maml", right: "mnas"}'
    )
    by_source = {row[0]: row[1:] for row in sources}
    assert [*by_source] == ["average", "sine", "line"]
    left, right, difference, interval = by_source["average"]
    assert float(difference) == pytest.approx(float(left) - float(right), abs=0.002)
    low, high = map(float, interval.strip("[]").split(","))
    assert low <= float(difference) <= high
    assert len(episodes) == 8
    assert all(
        float(row[3]) == pytest.approx(float(row[1]) - float(row[2]), abs=0.002) for row in episodes
    )
    assert n_lines == 2  # a curve of the loss, of both
    assert "adjusted over all pairs" in said
    (turned, _), _, _ = opened.evaluate(COMPARED % '{left: "mnas", right: "maml"}')
    assert float(turned[0][3]) == pytest.approx(-float(difference))


def test_what_a_learner_calls_its_loss_is_drawn_for_two_of_that_learner_alone(opened):
    titles = "[...document.querySelectorAll('#compared .curve h4')].map(one => one.textContent)"
    for right in ("mnas", "<script>alert(1)</script>"):
        opened.evaluate(
            COMPARED
            % json.dumps(
                {
                    "group": "toy-regression @ 10-shot, budget paper",
                    "left": "maml",
                    "right": right,
                }
            )
        )
        said = opened.evaluate(titles)
        assert [one for one in said if "query_loss" in one]
        assert not [one for one in said if " loss" in one]
    alike = opened.evaluate(
        """(async () => {
          const { groups } = await stored();
          const group = groups.find(({ name }) => name.startsWith("toy-regression"));
          group.sides[1].facts.learner = group.sides[0].facts.learner;
          const parts = sideBySide(group, 0, 1).filter((one) => one.matches(".curves"));
          return parts.flatMap((one) => [...one.querySelectorAll("h4")].map((h) => h.textContent));
        })()"""
    )
    assert [one for one in alike if " loss" in one]


def test_the_pair_stands_in_the_address(opened):
    opened.evaluate(
        COMPARED % '{group: "toy-regression @ 10-shot, budget paper", left: "mnas", right: "hsml"}'
    )
    choose(opened, "learner", "mnas", "hsml")  # a filter leaves the pair there
    address = opened.evaluate("location.href")
    shown = opened.evaluate("document.getElementById('compared').textContent")
    opened.open("about:blank")
    opened.open(address)
    again = opened.evaluate(COMPARED % "{}")[2]
    assert "mnas and hsml" in again
    assert again == shown


def test_a_filter_limits_what_can_be_chosen(opened):
    choose(opened, "learner", "maml", "hsml")
    opened.evaluate(COMPARED % "{}")
    names = "[...document.getElementById('choice').left.options].map(one => one.textContent)"
    assert sorted(opened.evaluate(names)) == ["hsml", "maml"]


def test_a_link_opens_what_it_leads_to(opened, page):
    opened.evaluate("document.querySelectorAll('details').forEach(one => (one.open = false))")
    opened.evaluate("document.querySelector('#tables tbody a').click()")
    opened.evaluate("new Promise(done => setTimeout(done, 50))")
    target = "document.getElementById(location.hash.slice(1))"
    assert opened.evaluate(f"{target}.matches('.origin[open]')")
    assert "metabench run" in opened.evaluate(f"{target}.textContent")


def test_columns_that_tell_rows_apart_are_shown_when_asked_for(opened):
    shown = (
        "[...document.querySelectorAll('#tables th.further')].filter(h => h.offsetParent).length"
    )
    n = opened.evaluate("document.querySelectorAll('#tables th.further').length")
    assert opened.evaluate(shown) == 0
    opened.evaluate("document.querySelectorAll('input.further').forEach(one => one.click())")
    assert opened.evaluate(shown) == n


def test_paper_shows_everything_and_the_screen_is_as_before(opened):
    n = "document.querySelectorAll('main details:not([open])').length"
    before = opened.evaluate(n)
    assert before > 0
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.evaluate(n) == 0
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.evaluate(n) == before
