import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from latex_documents import Geometry, misfits
from result_factory import (
    GOLDEN,
    golden_paper_report,
    golden_report,
    golden_text,
    in_full,
    make_spec,
    nine_digits,
    write_run,
)

from metabench import SourceDeviation
from metabench.papers.deviation_list import ListedDeviation
from metabench.papers.reference import PrintedCell
from metabench.papers.table import PaperCell, PaperReport, PaperRow, PaperTable, our_rows
from metabench.papers.verdict import Verdict
from metabench.render import Format, as_md, as_table, as_tex, render, text_table
from metabench.render.layout import Screen
from metabench.render.short_legends import short_legend
from metabench.render.text_table import UNSTATED
from metabench.reports.build import build_report
from metabench.reports.tables import Report, Table, TableCell
from metabench.results.metrics import FORMER
from metabench.results.reading import read_runs
from metabench.stats import OF_LEARNERS, OF_NETWORKS
from metabench.text import plain

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "\\input{/etc/passwd}",
    "**[x](javascript:y)** `z`",
    "[1ex] 50% & $x_1^2$ #1 ~ -- ```",
    "\x1b[2J\x9b31m\r\nrow \u202eleft",
    "=1+1",
    "[bold red]x[/]",
    "名前 é €",
)
HOSTILE_NAMES = pytest.mark.parametrize("name", HOSTILE)
COMMANDS = {
    *("begin", "end", "centering", "caption", "label", "ref", "par", "smallskip", "medskip"),
    *("small", "footnotesize", "setlength", "tabcolsep", "toprule", "midrule", "bottomrule"),
    *("cmidrule", "multicolumn", "parbox", "linewidth", "raggedright", "strut", "allowbreak"),
    *("textbf", "underline", "emph", "dag", "ddag", "S", "P", "pm", "textbackslash"),
    *("textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
}
PAPER_COMMANDS = {"textcolor", "textendash", "neq"}
EVERY = pytest.mark.parametrize("format", list(Format))
GOLDEN_FORMATS = pytest.mark.parametrize("format", [f for f in Format if f is not Format.html])
"""HTML is tested for what it says, not for its bytes: every change of a style would change them."""


@pytest.fixture(scope="module")
def golden() -> Report:
    return golden_report()


@pytest.fixture(scope="module", params=["report", "paper"])
def either(request: pytest.FixtureRequest) -> tuple[str, Report]:
    """The two kinds of report, each with the stem of its golden files."""
    make = {"report": golden_report, "paper": golden_paper_report}[request.param]
    return request.param, make()


@pytest.fixture
def report_named(tmp_path: Path) -> Callable[[str], Report]:
    """A report in which every text that a plugin or a user chooses is the given one."""

    def make(name: str) -> Report:
        shape = {"suite": name, "setting": name, "budget": name, "sources": (name,)}
        out = Path(tempfile.mkdtemp(dir=tmp_path))
        for folder, learner in (("a", name), ("b", "maml")):
            spec = make_spec(learner, **shape)
            run = write_run(tmp_path / "fresh", make_spec(), backend=name, stamps=(name,))
            text = json.loads((run / "run.json").read_text())
            text |= {"run_id": spec.run_id, "spec": spec.model_dump(mode="json")}
            (run / "run.json").write_text(json.dumps(text))
            lines = (run / "episodes.jsonl").read_text().splitlines()
            lines = [json.dumps({**json.loads(line), "source": name}) for line in lines[:4]]
            (run / "episodes.jsonl").write_text("\n".join(lines))
            (tmp_path / "fresh").rename(out / folder)
        return build_report(read_runs(out))

    return make


@GOLDEN_FORMATS
def test_golden(either, format):
    name, report = either
    expected = (GOLDEN / f"{name}.{format}").read_text(encoding="utf-8")
    assert nine_digits(golden_text(report, format)) == nine_digits(expected)


@EVERY
def test_rendered_again_is_the_same(format):
    for make in (golden_report, golden_paper_report):
        assert render(make(), format) == render(make(), format)


@EVERY
def test_every_format_shows_the_same_numbers_and_stamps(golden, format):
    text = as_read(in_full(golden, format))
    for table in golden.tables:
        for row in table.rows:
            assert all(stamp in text for stamp in row.stamps)
            assert all(text_table.cell_text(cell) in text for cell in row.cells.values())


@EVERY
def test_every_format_shows_what_the_paper_prints_and_what_follows(format):
    report = golden_paper_report()
    text = as_read(in_full(report, format))
    (table,) = report.tables
    assert isinstance(table, PaperTable)
    for row in table.rows:
        assert all(stamp in text for ours in row.ours for stamp in ours.stamps)
        for cell in row.cells.values():
            assert cell.ours is None or text_table.cell_text(cell.ours) in text
            assert cell.printed is None or (cell.printed.text or "missing") in text
            assert cell.verdict is None or cell.verdict.outcome in text
    assert text.count("(standard deviation over episodes:") == (2 if format is Format.json else 1)


def as_read(text: str) -> str:
    """Text in which a mean and its half-width stand beside each other, as a reader sees them."""
    text = re.sub(r"\\(?:textbf|underline|textcolor\{gray\})\{([^{}$]*)\}", r"\1", text)
    text = re.sub(r" & (?:\\textcolor\{gray\}\{)?\$_\{\\pm ([\d.]+)\}", r" ± \1", text)
    return text.replace("$\\pm$", "±").replace("\\u00b1", "±")


def in_one_line(text: str) -> str:
    """Text without line ends; comments of LaTeX are read as text."""
    return " ".join(text.replace("\n%", "\n").split())


def without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.startswith("%"))


def test_latex_prints_the_papers_numbers_in_grey_and_ours_below():
    rows = render(golden_paper_report(), Format.tex).splitlines()
    (at,) = (i for i, line in enumerate(rows) if line.startswith(r"\textcolor{gray}{MAML"))
    grey, ours = rows[at], rows[at + 1]
    assert r"\textcolor{gray}{0.350} & \textcolor{gray}{$_{\pm 0.200}$}" in grey
    assert "0.312" not in grey
    assert r"0.312 & $_{\pm 0.137}^{?}$" in ours
    assert r"0.312 & $_{\pm 0.137}^{=}$" in ours
    assert "gray" not in ours
    assert "Verdicts on ours: $=$ match, $?$ inconclusive." in rows


def test_the_full_caption_of_the_terminal_is_the_list_of_markdown(tmp_path: Path) -> None:
    for learner in ("first", "second"):
        write_run(tmp_path, make_spec(learner))
    report = build_report(read_runs(tmp_path))
    wide = Screen(width=10_000, full_caption=True)
    listed = [line for line in as_table.render(report, wide).splitlines() if line[:2] == "- "]
    of_markdown = [line for line in render(report, Format.md).splitlines() if line[:2] == "- "]
    assert len(listed) == len(of_markdown) > 5
    assert any("not adjusted for the number of comparisons" in line for line in listed)
    narrow = as_table.render(report, Screen(width=40, full_caption=True)).partition("\n- ")[2]
    assert all(line[:2] in ("- ", "  ") for line in narrow.splitlines()[1:] if line)


@pytest.mark.parametrize(
    ("format", "best", "tied"),
    [
        (Format.md, "**47.50 ± 158.83**", "<ins>40.00 ± 63.53</ins>"),
        (Format.tex, r"\textbf{47.50} & $_{\pm 158.83}$", r"\underline{40.00} & $_{\pm 63.53}$"),
        (Format.table, "47.50 ± 158.83 *", "40.00 ± 63.53 ="),
        (Format.csv, "47.50 ± 158.83,best", "40.00 ± 63.53,tied"),
        (Format.json, '"mark": "best"', '"mark": "tied"'),
    ],
)
def test_best_and_tied_are_marked(golden, format, best, tied):
    text = render(golden, format)
    assert best in text
    assert tied in text


@pytest.mark.parametrize(
    ("format", "sign"),
    [
        (Format.md, "0.312 ± 0.137 ‡ |"),
        (Format.tex, "; not compared with other rows."),
        (Format.table, "0.312 ± 0.137 ‡"),
        (Format.html, "0.312 ± 0.137 ‡</td>"),
        (Format.csv, "0.312 ± 0.137,not compared"),
        (Format.json, '"mark": "not compared"'),
    ],
)
def test_what_is_compared_with_nothing_has_a_sign(golden, format, sign):
    text = in_full(golden, format)
    assert sign in text
    words = format in (Format.csv, Format.json)
    assert (
        words
        or "not compared, because the column has no best that ran under the same conditions"
        in in_one_line(text)
    )


@EVERY
def test_rows_that_are_compared_have_equal_letters(tmp_path, format):
    for budget in ("lite", "paper"):
        for learner in ("maml", "reptile"):
            write_run(tmp_path, make_spec(learner, budget=budget))
    text = in_full(build_report(read_runs(tmp_path)), format)
    told = {
        Format.csv: ("lite,0,,yes,A,bird", "paper,0,,yes,B,bird"),
        Format.json: ('"conditions": "A"', '"conditions": "B"'),
        Format.md: (r"maml \[A\]", r"maml \[B\]"),
        Format.tex: (r"\emph{budget lite}", r"\emph{budget paper}"),
    }
    assert all(part in text for part in told.get(format, ("maml [A]", "maml [B]")))
    legend = "the best of its column among rows with the same letter"
    assert format in (Format.csv, Format.json) or legend in in_one_line(text)


@pytest.mark.parametrize(
    ("seeds", "formula"),
    [
        ((1, 1), f"({OF_NETWORKS}, where n counts shared episodes)"),
        ((1, 2), "n counts shared episodes and scores of several seeds are averaged per episode)"),
        ((2, 2), f"({OF_LEARNERS})"),
        ((1, 2, 2), f"({OF_LEARNERS}; if one of the two rows has one seed, {OF_NETWORKS}"),
    ],
)
def test_the_legend_says_how_seeds_are_treated(tmp_path, seeds, formula):
    for learner, n in enumerate(seeds):
        for seed in range(n):
            write_run(tmp_path, make_spec(f"learner-{learner}", seed=seed))
    text = render(build_report(read_runs(tmp_path)), Format.md)
    assert formula in text
    assert "The intervals are not adjusted for the number of comparisons" in text
    assert "chosen on these episodes" in text


@pytest.mark.parametrize(
    ("format", "said"),
    [(Format.md, "| 0 § |"), (Format.tex, "1 seed; interval over episodes"),
     (Format.table, " 0 §"),
     (Format.html, "<td>0 §</td>")],
)  # fmt: skip
def test_a_single_run_among_several_is_marked(golden, format, said):
    text = in_full(golden, format)
    assert said in text
    assert "are single runs: their interval is mean" in in_one_line(text)


@pytest.mark.parametrize("format", [Format.md, Format.table, Format.html])
def test_a_match_has_the_printed_half_width_beside_it(format):
    assert "match (± 0.200)" in as_read(render(golden_paper_report(), format))


@EVERY
def test_transductive_rows_are_marked(golden, format):
    text = in_full(golden, format)
    marked = {Format.csv: "lite,yes,,bird", Format.json: '"transductive": true'}
    plain = {Format.csv: "smoke,no,,sinusoid", Format.json: '"transductive": false'}
    assert marked.get(format, "maml †") in text
    assert plain.get(format, "mlp") in text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (TableCell(95.314, 0.6151, 600, "%"), "95.31 ± 0.62"),
        (TableCell(100.0, 0.0, 600, "%"), "100.00 ± 0.00"),
        (TableCell(2.21049, 0.3641, 1000, "mse"), "2.210 ± 0.364"),
        (TableCell(50.0, float("nan"), 1, "%"), "50.00 ± n/a"),
    ],
)
def test_rounding(cell, text):
    assert text_table.cell_text(cell) == text


def best_of(folder: Path, metric: str, scores: dict[str, float]) -> list[str]:
    for learner, score in scores.items():
        write_run(folder, make_spec(learner, metric=metric), [score] * 8)
    (table,) = build_report(read_runs(folder)).tables
    rows = text_table.text_table_of(table).rows
    assert not any(entry.mark for row in rows for entry in row[: len(text_table.HEADINGS)])
    return [row[0].text.split()[0] for row in rows if row[-1].mark == "best"]


def test_best_is_highest_accuracy_and_lowest_error(tmp_path):
    scores = {"a": 0.5, "b": 0.75, "c": 0.25}
    assert best_of(tmp_path / "accuracy", "accuracy", scores) == ["b"]
    assert best_of(tmp_path / "mse", "mse", scores) == ["c"]


def test_what_prints_alike_is_best_alike(tmp_path):
    assert best_of(tmp_path, "accuracy", {"a": 0.5, "b": 0.500001, "c": 0.4}) == ["a", "b"]


def test_one_row_is_not_best(tmp_path):
    assert best_of(tmp_path, "accuracy", {"a": 0.5}) == []


def test_json_has_the_promised_shape(golden):
    value = json.loads(render(golden, Format.json))
    assert set(value) == {"tables", "problems"}
    table = value["tables"][0]
    assert set(table) == {
        *("suite", "setting", "evaluation", "metric", "caption", "columns", "rows")
    }
    row = table["rows"][0]
    assert set(row) >= {"learner", "network", "n_params", "seeds", "stamps", "cells"}
    assert list(row["cells"]) == table["columns"] == ["bird", "texture", "average"]
    assert set(row["cells"]["bird"]) >= {"mean", "half_width", "n", "interval", "median", "unit"}
    assert row["cells"]["bird"]["interval"] == "over seeds"
    assert row["cells"]["average"]["median"] is None
    assert row["seeds"] == [0, 1]
    assert row["stamps"] == ["lite"]


def test_json_has_problems_and_null_for_an_unknown_half_width(tmp_path):
    write_run(tmp_path, make_spec(seed=0))
    write_run(tmp_path, make_spec(seed=1), status="failed", error="diverged")
    report = build_report(read_runs(tmp_path), interval="seeds")
    value = json.loads(render(report, Format.json))
    assert value["tables"][0]["rows"][0]["cells"]["bird"]["half_width"] is None
    assert "diverged" in value["problems"][0]


def with_problems(golden: Report) -> Report:
    return replace(golden, problems=("a_b failed: 50% <i>\n\\end{document}", "Second."))


def test_markdown_begins_with_what_is_wrong_as_a_note(golden):
    text = render(with_problems(golden), Format.md)
    note, _, rest = text.partition("\n\n")
    assert note.splitlines() == [
        "> **Problems in this folder:**",
        ">",
        "> - a\\_b failed: 50% &lt;i&gt; \\\\end{document}",
        "> - Second.",
    ]
    assert rest == render(golden, Format.md)


def test_latex_has_what_is_wrong_as_comments(golden):
    text = render(with_problems(golden), Format.tex)
    preamble, *comments = text.splitlines()[:4]
    assert preamble.startswith("% Needs")
    assert comments == [
        "% Problems in this folder:",
        "% a_b failed: 50% <i> \\end{document}",
        "% Second.",
    ]
    assert text.splitlines()[4:] == render(golden, Format.tex).splitlines()[1:]


def test_csv_stays_data_whatever_is_wrong(golden):
    assert render(with_problems(golden), Format.csv) == render(golden, Format.csv)


def test_csv_has_a_line_per_number_unrounded(golden):
    lines = list(csv.DictReader(io.StringIO(render(golden, Format.csv))))
    cells = [row.cells[name] for t in golden.tables for row in t.rows for name in t.columns]
    assert [float(line["mean"]) for line in lines] == [cell.mean for cell in cells]
    assert [float(line["half_width"]) for line in lines] == [cell.half_width for cell in cells]
    assert {line["stamps"] for line in lines} == {"", "lite", "smoke"}
    assert {line["seeds"] for line in lines} == {"0;1", "0"}
    assert {(line["seeds"], line["interval"]) for line in lines} == {
        ("0;1", "over seeds"),
        ("0", "over episodes"),
    }
    medians = ["" if cell.median is None else str(cell.median) for cell in cells]
    assert [line["median"] for line in lines] == medians


def test_a_number_below_0_is_printed_as_such_in_every_format(tmp_path):
    for learner, score in (("maml", -0.5), ("reptile", -0.25)):
        write_run(tmp_path, make_spec(learner, metric="mse", sources=("sine",)), [score] * 4)
    report = build_report(read_runs(tmp_path))
    (line, _) = csv.DictReader(io.StringIO(render(report, Format.csv)))
    (table,) = json.loads(render(report, Format.json))["tables"]
    assert line["text"] == table["rows"][0]["cells"]["sine"]["text"] == "-0.500 ± 0.000"
    assert r"\textbf{$-$0.500} & $_{\pm 0.000}$" in render(report, Format.tex)


@pytest.mark.parametrize("width", [None, 60, 200])
@pytest.mark.parametrize("styled", [False, True])
def test_a_narrow_terminal_loses_no_number_and_codes_are_written_where_asked(golden, width, styled):
    text = as_table.render(golden, Screen(width=width, styled=styled))
    assert ("\x1b[1m" in text) == styled
    bare = re.sub("\x1b\\[[0-9;]*m", "", text)
    assert bare == as_table.render(golden, Screen(width=width))
    assert "…" not in bare
    assert {"47.50", "158.83", "0.312", "reptile", "smoke"} <= set(bare.split())


def test_a_verdict_has_a_sign_and_a_color():
    report = golden_paper_report()
    assert "✓ match (± 0.200) °" in as_table.render(report)
    assert "? inconclusive °" in as_table.render(report)
    styled = as_table.render(report, Screen(styled=True))
    assert "\x1b[32m✓ match" in styled
    assert "\x1b[33m? inconclusive" in styled


def test_what_all_rows_have_in_common_is_said_once(golden):
    multidataset, toy = as_table.render(golden).split("toy-regression @ 10s")
    head, table, *_ = multidataset.split("\n\n")
    assert " ".join(head.splitlines()[1:]) == (
        "Network conv4; 32,901 weights; budget lite; seeds 0, 1; stamped lite, so not comparable "
        "with papers; transductive predictions."
    )
    assert table.split()[:4] == ["Learner", "bird", "texture", "average"]
    for varying in ("Budget", "Seeds", "Stamps"):
        assert varying in toy.split()
    assert "Network mlp; 7,801 weights." in toy


def test_a_legend_of_one_episode_says_it_in_the_singular():
    (table, *_) = golden_report().tables
    rows = tuple(
        replace(
            row,
            cells={name: replace(cell, n=1, over="episodes") for name, cell in row.cells.items()},
        )
        for row in table.rows
    )
    first = short_legend(replace(table, rows=rows))[0]
    assert "n = 1 episode per source, not seeds" in first


def test_a_legend_of_the_average_alone_says_that_its_episodes_are_of_each_source(tmp_path):
    for learner in ("maml", "reptile"):
        write_run(tmp_path, make_spec(learner))
    (table,) = build_report(read_runs(tmp_path)).tables
    assert "n = 4 episodes each, not seeds" in short_legend(table)[0]
    alone = replace(table, columns=("average",))
    assert "n = 4 episodes per source, not seeds" in short_legend(alone)[0]


@pytest.mark.parametrize("make", [golden_report, golden_paper_report])
def test_a_legend_has_three_lines_and_warns(make):
    for table in make().tables:
        short = short_legend(table)
        assert len(short) <= 3
        assert all(len(line) <= 100 for line in short)
        if table.warnings or len({row.stamps for row in our_rows(table)}) > 1:
            assert "(--caption full)" in short[-1]
            assert all(
                warning in short[-1][:1].lower() + short[-1][1:] for warning in table.warnings
            )


def test_the_best_is_that_of_the_compared_rows_where_some_are_not(tmp_path):
    for learner in ("maml", "reptile"):
        write_run(tmp_path, make_spec(learner))
    (table,) = build_report(read_runs(tmp_path)).tables
    assert short_legend(table)[1].startswith("* best of its column")
    protocol = make_spec().protocol.model_copy(update={"queries": 2})
    write_run(tmp_path, make_spec("mnas", protocol=protocol))
    (table,) = build_report(read_runs(tmp_path)).tables
    assert "not compared" in {cell.mark for row in table.rows for cell in row.cells.values()}
    assert short_legend(table)[1].startswith("* best of the compared rows, ")


def test_a_sign_that_all_rows_have_is_explained_where_it_is_shown(golden):
    (table, _) = golden.tables
    assert "†" not in as_table.render(Report((table,), ()))
    wide = as_table.render(Report((table,), ()), Screen(wide=True))
    assert "maml †" in wide
    assert "† uses query statistics" in wide
    assert "stamped rows compare with no paper" in wide


def test_rows_that_cannot_be_compared_without_scipy_are_warned_of(golden, monkeypatch):
    monkeypatch.setattr("metabench.reports.row_notes.has_students_t", lambda: False)
    table, _ = golden_report().tables
    assert "without scipy, rows with several seeds are not compared" in table.warnings
    assert golden.tables[0].warnings == ("marks from fewer than 30 episodes are unsure",)


def test_rows_that_differ_are_warned_of(tmp_path):
    write_run(tmp_path, make_spec("maml"), steps_at_test=5)
    write_run(tmp_path, make_spec("reptile"), steps_at_test=50, n_params=99_000)
    (table,) = build_report(read_runs(tmp_path)).tables
    assert "rows differ in test steps, weights" in table.warnings
    assert "Rows differ in test steps, weights" in as_table.render(Report((table,), ()))


@EVERY
def test_what_a_source_does_not_state_is_said_beside_the_verdict_in_every_format(format):
    text = in_full(golden_paper_report(), format)
    assert "Not stated: queries." in text
    if format is Format.csv:
        (sine, *_) = csv.DictReader(io.StringIO(text))
        assert (sine["verdict"], sine["unstated"]) == ("inconclusive", "queries")
    elif format is Format.json:
        cell = json.loads(text)["tables"][0]["rows"][0]["cells"]["average"]
        assert cell["verdict"]["unstated"] == ["queries", "half-width"]
        assert cell["printed"]["over"] is None
    elif format is Format.html:
        assert re.search(rf">match \(± [\d.]+\) {UNSTATED}</span>", text)
        assert f"{UNSTATED}: the source does not state all of the protocol" in text
    elif format is Format.tex:
        assert "\nThe source does not state all of its protocol.\n" in text
    else:
        mark = UNSTATED
        assert re.search(rf"match \(± [\d.]+\) {re.escape(mark)}", text)
        assert f"{mark}: the source does not state all of the protocol" in " ".join(text.split())


# Hostile names ---------------------------------------------------------------------------------


@EVERY
@HOSTILE_NAMES
def test_hostile_names_hold_no_control_characters(report_named, name, format):
    text = render(report_named(name), format)
    assert all(c == "\n" or c.isprintable() for c in text)


@HOSTILE_NAMES
def test_hostile_names_are_plain_in_json(report_named, name):
    table = json.loads(render(report_named(name), Format.json))["tables"][0]
    assert table["suite"] == table["setting"] == name
    assert name in {row["learner"] for row in table["rows"]}
    assert table["rows"][0]["stamps"] == [name]
    assert name in table["rows"][0]["cells"]


@HOSTILE_NAMES
def test_hostile_names_are_plain_in_csv(report_named, name):
    lines = list(csv.DictReader(io.StringIO(render(report_named(name), Format.csv))))
    shown = plain(name)
    assert {line["learner"].removeprefix("'") for line in lines} == {shown, "maml"}
    assert not any(value.startswith(("=", "+", "-", "@")) for v in lines for value in v.values())


@HOSTILE_NAMES
def test_hostile_names_are_plain_in_markdown(report_named, name):
    text = render(report_named(name), Format.md)
    assert "<script" not in text
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert len(grid) == 4
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in grid} == {8}
    # Undoing the escapes, as a reader of Markdown does, gives the name back.
    shown = re.sub(r"\\([^\w\s]|_)", r"\1", text)
    shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown.count(plain(name)) >= 6


@HOSTILE_NAMES
def test_hostile_names_are_plain_in_the_terminal(report_named, name):
    text = render(report_named(name), Format.table)
    assert text.count(plain(name)) >= 6


def test_hostile_names_are_plain_in_latex():
    assert as_tex.escape("\\input{/etc/passwd}") == r"\textbackslash{}input\{/etc/passwd\}"
    assert as_tex.escape("a|b & 5%") == r"a\textbar{}b \& 5\%"
    assert as_tex.escape("[1ex]*---") == "{[}1ex{]}{*}-{}-{}-"
    assert as_tex.escape("名é") == "{[}U+540D{]}é"


def check_latex(text: str, commands: set[str]) -> None:
    """Refuse commands, and signs that LaTeX reads as such, which the writer did not write."""
    body = without_comments(text)
    assert set(re.findall(r"\\([a-zA-Z]+)", body)) <= commands
    bare = re.sub(r"\\[\\{}$&#%_`|]", "", body)
    assert bare.count("{") == bare.count("}")
    assert not set("#%_~^$") & set(re.sub(r"\$[^$]*\$|~", "", bare))


@HOSTILE_NAMES
def test_latex_has_its_own_commands_only(report_named, name):
    text = render(report_named(name), Format.tex)
    check_latex(text, COMMANDS)
    rows = [line for line in without_comments(text).splitlines() if line.endswith(r" \\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 2, 2]


@pytest.fixture
def paper_named(report_named) -> Callable[[str], Report]:
    """A paper's table in which every text that a file or a plugin chooses is the given one."""

    def make(name: str) -> Report:
        (table,) = report_named(name).tables
        assert isinstance(table, Table)
        number = PrintedCell(name, 1.0, None, None, None, None, "%", "printed", name)
        verdict = Verdict("differs", name, 1.0, (name,))
        words = dict.fromkeys(("source", "here", "why", "where"), name)
        deviation = ListedDeviation("D1", (name,), SourceDeviation(**words))
        rows = [
            PaperRow(
                group=name,
                method=name,
                arch=name,
                params=name,
                in_paper=True,
                ours=(row,),
                cells={"c": PaperCell(row, row.cells["average"], None, number, verdict, ("D1",))},
            )
            for row in table.rows
        ]
        paper = PaperTable(
            key="a/b",
            title=name,
            citation=name,
            facts=(name,),
            metric=FORMER["accuracy"],
            columns={"c": name},
            rows=tuple(rows),
            reasons=(name,),
            remarks=(name,),
            deviations=(deviation,),
        )
        return PaperReport((paper,), ())

    return make


@EVERY
@HOSTILE_NAMES
def test_hostile_papers_hold_no_control_characters(paper_named, name, format):
    text = render(paper_named(name), format)
    assert all(c == "\n" or c.isprintable() for c in text)


@HOSTILE_NAMES
def test_hostile_papers_are_plain_in_markdown(paper_named, name):
    text = render(paper_named(name), Format.md)
    assert "<script" not in text
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert len(grid) == 4
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in grid} == {14}


@HOSTILE_NAMES
def test_hostile_papers_are_plain_in_csv(paper_named, name):
    lines = list(csv.DictReader(io.StringIO(render(paper_named(name), Format.csv))))
    assert {line["method"].removeprefix("'") for line in lines} == {plain(name)}
    assert not any(value.startswith(("=", "+", "-", "@")) for v in lines for value in v.values())


@HOSTILE_NAMES
def test_hostile_papers_use_no_commands_of_their_own_in_latex(paper_named, name):
    check_latex(render(paper_named(name), Format.tex), COMMANDS | PAPER_COMMANDS)


LONG = (
    "x" * 120,
    "a-very-long-name(with=parameters, cell=[[0,2,skip],[1,3,conv]])",
    "Donaudampfschifffahrtsgesellschaft " * 3,
    "名" * 30,
)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("kind", ["report_named", "paper_named"])
def test_hostile_and_long_names_compile_and_fit_in_latex(request, tmp_path, kind):
    named = request.getfixturevalue(kind)
    tables = [as_tex.render(named(name), width=180.0) for name in (*HOSTILE, *LONG)]
    assert len(set(tables)) == len(HOSTILE) + len(LONG)
    narrow = Geometry("onecolumn", "\\textwidth 180pt", (180.0,))
    found = misfits(tmp_path, tables, narrow)
    assert [one for one in found if "Overfull" in one] == []  # a long name may fill its page


def test_markdown_escape_keeps_plain_names():
    assert as_md.escape("conv4(filters=64)") == "conv4(filters=64)"
