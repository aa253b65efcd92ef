"""The numbered list of deviations, and what a paper's table makes of it."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from result_factory import in_full, make_spec, write_run

from metabench import SourceDeviation
from metabench.papers.deviation_list import DeviationList, joined
from metabench.papers.reference import Reference
from metabench.papers.reference_files import find_reference
from metabench.papers.report import build_paper_report
from metabench.papers.table import PaperReport, PaperRow
from metabench.planning.runspec import Choice
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import Catalog
from metabench.render import Format, render
from metabench.results.reading import read_runs


def deviation(name: str, **changes: Any) -> SourceDeviation:
    values = {"source": f"{name} there", "here": f"{name} here", "why": "time", "where": "Doe"}
    return SourceDeviation.model_validate({**values, **changes})


def test_equal_deviations_have_one_number_and_all_their_rows() -> None:
    found = DeviationList()
    first = found.add("MAML", [deviation("a"), deviation("b")])
    second = found.add("MT-Net", [deviation("b"), deviation("c")])
    assert [(one.label, one.rows) for one in first] == [("D1", ("MAML",)), ("D2", ("MAML",))]
    assert [one.label for one in second] == ["D2", "D3"]
    assert [str(one).split(":")[0] for one in found.listed()] == [
        "D1 (MAML)",
        "D2 (MAML, MT-Net)",
        "D3 (MT-Net)",
    ]
    assert joined([second, first]) == tuple(
        replace(one, rows=("MT-Net", "MAML")) if one.label == "D2" else one
        for one in found.listed()
    )


PLAIN, HARD = deviation("plain"), deviation("hard", comparable=False)


@pytest.fixture
def catalog_with(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory):
    """A catalog whose MAML has these deviations, and whose toy suite has none."""
    suite = yaml.safe_load(catalog.suite("toy-regression").read_text(encoding="utf-8"))
    assert suite.pop("deviations")
    file = tmp_path_factory.mktemp("suites") / "toy-regression.yaml"
    file.write_text(yaml.safe_dump(suite), encoding="utf-8")

    def make(*deviations: SourceDeviation) -> Catalog:
        maml = replace(catalog.learner("maml"), deviations=deviations)
        return replace(
            catalog,
            learners={**catalog.learners, "maml": maml},
            suites={**catalog.suites, "toy-regression": file},
        )

    return make


@pytest.fixture
def reference(catalog: Catalog) -> Reference:
    return find_reference(catalog, "m-nas/table-1")


@pytest.fixture
def runs(tmp_path: Path, catalog: Catalog) -> Path:
    """A run of MAML whose average is the printed one, and one of a learner beside the table."""
    for learner, beside in (("maml", False), ("reptile", True)):
        spec = make_spec(
            learner,
            suite="toy-regression",
            setting="10-shot",
            metric="mse",
            budget="paper",
            sources=("sine", "line", "quadratic", "harmonics"),
            episodes=40,
            suite_version=load_suite(catalog.suite("toy-regression")).version,
            params={"carry": "mean"} if beside else {"inner_lr": 0.001},
            space=Choice(name="mlp", version=1),
        )
        installed = {"version": catalog.learner(learner).version}
        spec = spec.model_copy(update={"learner": spec.learner.model_copy(update=installed)})
        scores = [1.9 + (i % 3) / 20 for i in range(160)]
        write_run(tmp_path, spec, scores, transductive=False)
    return tmp_path


def report(runs: Path, reference: Reference, catalog: Catalog) -> PaperReport:
    return build_paper_report(read_runs(runs), reference, catalog=catalog)


def verdict(found: PaperReport) -> tuple[str, str]:
    row: PaperRow = next(row for row in found.tables[0].rows if row.method == "MAML")
    said = row.cells["average"].verdict
    assert said is not None
    return said.outcome, said.reason


def test_a_verdict_names_the_deviations_of_its_row(runs, reference, catalog_with) -> None:
    outcome, reason = verdict(report(runs, reference, catalog_with(PLAIN)))
    without = verdict(report(runs, reference, catalog_with()))
    assert (outcome, without[0]) == ("match", "match")
    named = " With deviations from the sources: D1."
    assert named in reason
    assert reason.replace(named, "") == without[1]


def test_one_that_makes_another_experiment_decides(runs, reference, catalog_with) -> None:
    outcome, reason = verdict(report(runs, reference, catalog_with(PLAIN, HARD)))
    assert (outcome, reason) == (
        "not comparable",
        "D2 makes it another experiment than the source's. With deviations from the sources: D1.",
    )


def test_where_nothing_is_printed_nothing_is_named(runs, reference, catalog_with) -> None:
    rows = [row.model_dump() for row in reference.rows]
    rows[0]["cells"]["average"] = {"printed": "", "status": "missing"}
    lost = Reference.model_validate({**reference.model_dump(), "rows": rows})
    outcome, reason = verdict(report(runs, lost, catalog_with(PLAIN, HARD)))
    assert outcome == "not comparable"
    assert "D1" not in reason


def test_a_condition_that_the_run_does_not_fulfill_clears_it(runs, reference, catalog_with) -> None:
    other = deviation("other", when={"learner.inner_lr": 0.5}, comparable=False)
    found = report(runs, reference, catalog_with(other))
    assert verdict(found)[0] == "match"
    assert all(one.deviation != other for one in found.tables[0].deviations)


def test_rows_that_the_paper_lacks_are_listed_too(runs, reference, catalog_with) -> None:
    found = report(runs, reference, catalog_with(PLAIN))
    listed = found.tables[0].deviations
    assert [(one.label, one.rows) for one in listed] == [("D1", ("MAML",)), ("D2", ("reptile",))]


def test_what_is_not_installed_has_no_known_deviations(runs, reference, catalog_with) -> None:
    bare = replace(catalog_with(PLAIN), learners={}, suites={})
    found = report(runs, reference, bare)
    assert found.tables[0].deviations == ()
    assert "cannot be compared" in verdict(found)[1]


@pytest.mark.parametrize("format", [f for f in Format if f not in (Format.csv, Format.json)])
def test_every_format_for_readers_lists_them(runs, reference, catalog_with, format) -> None:
    text = " ".join(in_full(report(runs, reference, catalog_with(PLAIN)), format).split())
    assert "Deviations from the sources" in text
    assert "D1 (MAML): Doe: plain there. Here: plain here. Why: time." in text
    assert "With deviations from the sources: D1." in text
    bare = " ".join(in_full(report(runs, reference, catalog_with()), format).split())
    assert "plain there" not in bare


def test_formats_for_programs_hold_them(runs, reference, catalog_with) -> None:
    found = report(runs, reference, catalog_with(PLAIN, HARD))
    lines = list(csv.DictReader(io.StringIO(render(found, Format.csv))))
    (average,) = [x for x in lines if x["method"] == "MAML" and x["column"] == "Averaged MSE"]
    assert average["deviations"] == (
        "D1 (MAML): Doe: plain there. Here: plain here. Why: time. D2 (MAML): Doe: hard there. "
        "Here: hard here. Why: time. This makes it another experiment."
    )
    (table,) = json.loads(render(found, Format.json))["tables"]
    assert table["deviations"][1] == {
        "label": "D2",
        "rows": ["MAML"],
        "source": "hard there",
        "here": "hard here",
        "why": "time",
        "where": "Doe",
        "comparable": False,
    }
    assert table["rows"][0]["cells"]["average"]["deviations"] == ["D1", "D2"]
