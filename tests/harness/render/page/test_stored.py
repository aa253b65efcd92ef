import base64
import json
import zlib
from dataclasses import replace

import pytest
from result_factory import make_spec, write_run

from metabench.render import Format, render
from metabench.render.page import read_page
from metabench.render.page.html import parts, render_page, row_columns
from metabench.render.page.html.stored import stored
from metabench.render.page.values import Page, Picture
from metabench.reports.build import build_report
from metabench.reports.tables import Report
from metabench.results.metrics import number
from metabench.results.reading import read_runs


@pytest.fixture
def folder(tmp_path):
    for n, learner in enumerate(("maml", "mnas")):
        scores = [(i + n) % 5 / 4 for i in range(80)]
        write_run(tmp_path, make_spec(learner, episodes=40), scores, n_params=100 + n)
    return tmp_path


def unpacked(page: Page) -> dict:
    return json.loads(zlib.decompress(base64.b64decode(stored(page))))


def test_files_are_those_of_the_command(folder, catalog):
    page = read_page(folder, catalog, paper=None)[1]
    files = unpacked(page)["files"]["table-1"]
    report = Report(build_report(read_runs(folder)).tables[:1], ())
    for kind in (Format.csv, Format.json, Format.tex):
        assert files[kind] == render(report, kind)
    assert files["svg"].startswith("<svg")


def test_pairs_name_their_sides_and_nothing_is_no_number(folder, catalog):
    (group,) = unpacked(read_page(folder, catalog, paper=None)[1])["groups"]
    assert [side["facts"]["learner"] for side in group["sides"]] == [["maml"], ["mnas"]]
    (pair,) = group["pairs"]
    assert pair["of"] == [0, 1]
    assert len(pair["differences"]) == len(group["columns"]) == 3


def test_large_figures_are_stored_only_where_they_are_not_seen_at_first():
    large = "<svg>" + "<g></g>" * parts.LONG_FIGURE + "</svg>"
    pictures = [
        Picture(suite="s", setting=f"{n}", budget="b", learners=("maml",), title="T", svg=svg)
        for n, svg in enumerate((large, "<svg></svg>", "<svg></svg>"))
    ]
    page = Page(title="x", tables=(), papers=(), pictures=tuple(pictures))
    assert parts.stored_figures(page) == {"picture-1": large}
    text = render_page(page)
    assert large not in text
    assert 'data-stored="picture-1"' in text
    assert "This figure needs JavaScript" in text
    few = replace(page, pictures=tuple(pictures[:2]))
    assert parts.stored_figures(few) == {}
    assert large in render_page(few)


def test_a_table_has_the_columns_that_tell_its_rows_apart(folder):
    (table,) = build_report(read_runs(folder)).tables
    assert [column.heading for column in row_columns.telling_columns(table)] == ["Weights"]
    assert dict(row_columns.in_common(table)).keys() == {"Network", "Budget", "Seeds"}
    first, second = table.rows
    longer = replace(table, rows=(first, replace(second, meta_steps=second.meta_steps + 1)))
    (params, steps) = row_columns.telling_columns(longer)
    assert (params.further, steps.heading, steps.further) == (False, "Meta-steps", True)
    assert steps.values == (10, 11)
    (alone,) = (replace(table, rows=(first,)),)
    assert row_columns.telling_columns(alone) == []
    assert ("Weights", "100") in row_columns.in_common(alone)


@pytest.mark.parametrize("scale", [1.0, 40.0, 9000.0])
def test_numbers_that_the_script_prints_are_those_of_tables(tmp_path, catalog, scale):
    for n, learner in enumerate(("maml", "mnas")):
        scores = [scale * (1.23456 + 0.00317 * ((i + 3 * n) % 7)) for i in range(40)]
        spec = make_spec(learner, episodes=40, metric="mse", sources=("sine",))
        write_run(tmp_path, spec, scores)
    page = read_page(tmp_path, catalog, paper=None)[1]
    (group,) = unpacked(page)["groups"]
    (table,), (found,) = page.tables, page.sides[0].pairs

    def shown(values):
        return [number(value, "mse") for value in values]

    means = {row.learner: row.cells["sine"].mean for row in table.rows}
    for side in group["sides"]:
        assert shown(side["means"]) == shown([means[side["facts"]["learner"][0]]])
    (pair,) = group["pairs"]
    for kept, one in zip(pair["episodes"], found.episodes, strict=True):
        assert shown(kept[2:4]) == shown([one.left, one.right])
    difference = found.by_column["sine"]
    assert shown(pair["differences"][0]) == shown([difference.mean, *difference.interval()])
