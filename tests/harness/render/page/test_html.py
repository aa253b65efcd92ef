import base64
import hashlib
import itertools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from html_outline import Outline
from result_factory import golden_paper_report, golden_report, make_spec, write_run

from metabench.papers.claims import Scope
from metabench.papers.table import PaperTable
from metabench.plugin.catalog import Catalog
from metabench.render import Format, render, text_table
from metabench.render.page import build_page, read_page
from metabench.render.page.html import parts, render_page
from metabench.render.page.values import Page
from metabench.results.reading import read_runs

SCRIPT_NAME = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that concern papers and claims, with curves and searched cells."""
    out = tmp_path_factory.mktemp("page")
    sources = ("sine", "line", "quadratic", "harmonics")
    for shift, learner in enumerate(("maml", "hsml-notree", "mnas", SCRIPT_NAME)):
        spec = make_spec(
            learner,
            suite="toy-regression",
            setting="10-shot",
            metric="mse",
            budget="paper",
            sources=sources,
            episodes=40,
            params={"inner_lr": 0.001},
        )
        scores = [1.0 + shift + (i * 7 % 11) / 10 for i in range(160)]
        run = write_run(out / str(shift), spec, scores, n_params=7801)
        points = [{"step": step, "loss": 10.0 / step} for step in range(1, 30)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in points))
    for shift, learner in enumerate(("maml", "reptile")):
        spec = make_spec(learner, suite="omniglot", sources=("omniglot",), episodes=40)
        stamps = ("lite", SCRIPT_NAME)
        scores = [((i + shift) % 3) / 2 for i in range(40)]
        write_run(out / "o", spec, scores, stamps=stamps)
    return out


@pytest.fixture(scope="module")
def page_text(folder: Path, catalog: Catalog) -> str:
    return render_page(read_page(folder, catalog, paper=None)[1])


@pytest.fixture(scope="module")
def outline(page_text: str) -> Outline:
    return Outline(page_text)


def html(folder: Path, catalog: Catalog) -> str:
    return render_page(read_page(folder, catalog, paper=None)[1])


def test_every_section_is_there(outline):
    ids = set(outline.values("id"))
    sections = {"glance", "tables", "papers", "differences", "claims", "figures", "provenance"}
    assert {*sections, "reproduce"} <= ids
    assert "problems" not in ids  # there are none


def test_the_size_of_a_network_has_one_name(page_text):
    words = {re.sub("<[^>]+>", "", head) for head in re.findall("<th[^>]*>.*?</th>", page_text)}
    assert "Weights" in words
    assert not [word for word in words if word.startswith("Param")]


def test_verdicts_on_claims_are_counted_with_their_scope(folder, catalog):
    page = read_page(folder, catalog, paper=None)[1]
    stamped = replace(page.claims[0], verdict="supported", scope=Scope(True, ("lite",)))
    claim = page.claims[0].claim.model_copy(update={"reading": "our reading of Table 9"})
    full = replace(stamped, scope=Scope(), claim=claim)
    text = render_page(replace(page, claims=(stamped, stamped, full)))
    glance = text[text.index('id="glance"') : text.index('id="claims"')]
    assert '<span class="badge supported">supported <b>1</b></span>' in glance
    said = "supported (one seed) [lite]"
    assert f'<span class="badge supported scoped">{said} <b>2</b></span>' in glance
    assert f'<span class="badge supported scoped">{said}</span>' in text
    assert "; our reading of Table 9</p>" in text


@pytest.mark.parametrize(
    ("lengths", "seen"),
    [((40,), {1}), ((1, 6, 4, 4, 3), {2, 3, 4}), ((16, 6, 8, 9), {2, 3}), ((1, 1), set())],
)
def test_tables_are_seen_at_first_while_they_are_short_together(lengths, seen):
    table = golden_report().tables[0]
    tables = tuple(replace(table, rows=table.rows[:1] * n) for n in lengths)
    assert parts.open_tables(Page(title="x", tables=tables, papers=())) == seen


def test_rendered_again_is_the_same(folder, catalog, page_text):
    assert html(folder, catalog) == page_text


def test_the_page_is_nested_as_it_should_be(outline):
    assert outline.open == []
    assert outline.elements[0] == ("html", {"lang": "en"})


def test_headings_are_in_order(outline):
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_ids_are_unique_and_links_lead_to_them(outline):
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    targets = [value[1:] for value in outline.values("href") if value.startswith("#")]
    assert targets
    for name in ("aria-labelledby", "aria-describedby"):
        targets += outline.values(name)
    assert set(targets) <= set(ids)


def test_nothing_is_loaded_from_anywhere(outline, page_text):
    assert set(outline.values("src")) == set()
    assert all(value.startswith(("#", "data:")) for value in outline.values("href"))
    assert "http:" not in page_text
    assert "https:" not in page_text
    assert not re.search(r"@import|url\((?!#)", page_text)


def test_the_policy_names_the_style_and_the_script_and_nothing_else(outline):
    (policy,) = (
        found["content"]
        for found in outline.tags("meta")
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(outline.raw[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
        assert len(outline.tags(kind)) == 1
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not outline.values("style")
    assert not [n for _, found in outline.elements for n in found if n.startswith("on")]


def test_tables_are_whole_and_named(page_text):
    tables = re.findall(r"<table.*?</table>", page_text, flags=re.DOTALL)
    assert len(tables) >= 8
    for table in tables:
        inside = Outline(table)
        assert inside.elements[1][0] == "caption"
        assert len({n for _, n in inside.rows}) == 1, "a row has more cells than another"
        scopes = {found.get("scope") for found in inside.tags("th")}
        assert scopes == {"col", "row"}
        n_heads = sum(tag == "thead" for tag, _ in inside.elements)
        assert n_heads == 1


def test_tables_scroll_by_themselves_and_can_be_reached_by_key(outline):
    containers = [found for found in outline.tags("div") if found.get("class") == "scroll"]
    assert len(containers) >= len(outline.tags("table"))
    assert all(found["tabindex"] == "0" and found["aria-labelledby"] for found in containers)


def test_figures_are_in_the_page_with_words(page_text):
    figures = re.findall(r"<figure>.*?</figure>", page_text, flags=re.DOTALL)
    assert len(figures) == 2  # only one suite has curves, and so many learners that they are ranked
    for figure, said in zip(figures, ("meta-training: query loss", "ranks within"), strict=True):
        assert 'role="img"' in figure
        assert "<title>" in figure
        assert "<desc>" in figure
        assert said in figure


def test_every_number_of_the_tables_is_there(outline, folder, catalog):
    page = build_page(read_runs(folder), catalog, title="x")
    for table in (*page.tables, *page.papers):
        for row in table.rows:
            for cell in row.cells.values():
                ours = cell.ours if isinstance(table, PaperTable) else cell
                assert ours is None or text_table.cell_text(ours) in outline.text


def test_cells_are_sorted_by_their_values(outline, folder, catalog):
    values = {float(value) for value in outline.values("data-value") if _is_number(value)}
    page = build_page(read_runs(folder), catalog, title="x")
    means = {
        cell.mean for table in page.tables for row in table.rows for cell in row.cells.values()
    }
    assert means <= values


def _is_number(text: str) -> bool:
    try:
        return bool(text) and float(text) == float(text)
    except ValueError:
        return False


def test_lines_can_be_filtered_by_facts(outline):
    facts = [json.loads(value) for value in outline.values("data-facts")]
    assert {"learner": ["maml"], "suite": ["omniglot"], "stamp": ["lite", SCRIPT_NAME]} in facts
    assert all(set(found) <= {"learner", "suite", "stamp"} for found in facts)


def test_the_command_of_every_run_is_there(outline, folder):
    commands = [run.record.provenance.command for run in read_runs(folder).runs]
    assert outline.text.count("metabench run") >= len(commands)
    assert all(run.record.run_id in outline.text for run in read_runs(folder).runs)


def test_a_verdict_leads_to_its_reason():
    text = render(golden_paper_report(), Format.html)
    (table,) = golden_paper_report().tables
    assert isinstance(table, PaperTable)
    outline = Outline(text)
    reasons = re.findall(r'<li id="paper-1-reason-(\d+)">(.*?)</li>', text)
    assert [int(number) for number, _ in reasons] == [*range(1, len(table.reasons) + 1)]
    found = set()
    for row, numbers in parts.numbered(table):
        for column, number in numbers.items():
            verdict = row.cells[column].verdict
            assert verdict is not None
            assert table.reasons[number - 1].endswith(f"{verdict.outcome}: {verdict.reason}")
            found.add(number)
    assert found == {*range(1, len(table.reasons) + 1)}
    assert "match" in outline.text


def test_claims_on_a_page_name_deviations_and_list_them_once(outline, page_text):
    claims = page_text.partition('<section id="claims"')[2].partition("</section>")[0]
    assert re.search(r"<dt>Deviations</dt><dd>D\d+(, D\d+)*, listed below</dd>", claims)
    assert claims.count("<summary>Deviations from the sources</summary>") == 1
    assert re.search(r"<li>D\d+ \(mnas\): M-NAS, equation 5: ", claims)


def test_best_and_tied_are_marked():
    text = render(golden_report(), Format.html)
    assert "<strong>47.50 ± 158.83</strong>" in text
    assert "<u>40.00 ± 63.53</u>" in text


def test_a_report_without_records_has_no_sections_for_them():
    ids = set(Outline(render(golden_report(), Format.html)).values("id"))
    assert {"glance", "tables"} <= ids
    assert not {"papers", "differences", "claims", "figures", "reproduce"} & ids


def test_with_a_paper_only_its_table_stands_there(folder, catalog):
    page = read_page(folder, catalog, paper="m-nas/table-1")[1]
    assert [table.key for table in page.papers] == ["m-nas/table-1"]
    keys = [table.key for table in read_page(folder, catalog, paper=None)[1].papers]
    assert "m-nas/table-1" in keys
    assert "reptile/table-2" in keys


def test_without_matplotlib_the_rest_is_complete(folder, catalog, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outline = Outline(html(folder, catalog))
    assert "Figures need matplotlib, which is not installed." in outline.text
    assert outline.tags("figure") == []
    assert {"tables", "papers", "claims", "reproduce"} <= set(outline.values("id"))
