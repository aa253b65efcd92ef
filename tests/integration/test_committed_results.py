"""The records under ``results/``: what is written about them is what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.catalog import Catalog, load_catalog
from metabench.claims import evaluate, load_claims
from metabench.page import read_page
from metabench.paper_report import build_paper_report
from metabench.reference_files import find_reference
from metabench.render import Format, render
from metabench.report import build_report
from metabench.results import Results, read_runs

RESULTS = Path(__file__).parents[2] / "results"
TABLE_1 = RESULTS / "m-nas-table-1"
VERDICTS = {
    "m-nas-modulation": "supported",
    "m-nas-modulation-tree": "supported",
    "m-nas-searched-average": "refuted",
    "m-nas-searched-harmonics": "refuted",
    "m-nas-searched-extrapolates": "refuted",
    "m-nas-per-task": "refuted",
    "m-nas-near-maml": "refuted",
    "m-nas-genotypes": "supported",
}
"""Of the claims on Table 1."""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def table_1() -> Results:
    return read_runs(TABLE_1)


def test_every_committed_run_is_counted() -> None:
    for folder in sorted(RESULTS.glob("*/*@*")):
        for run in read_runs(folder).runs:
            assert len(run.episodes) == run.record.spec.protocol.episodes * len(
                run.record.spec.sources
            )


@pytest.mark.parametrize("study", sorted(p.name for p in RESULTS.iterdir() if p.is_dir()))
def test_the_page_of_every_study_has_all_its_figures(catalog: Catalog, study: str) -> None:
    page = read_page(RESULTS / study, catalog, paper=None)[1]
    assert page.pictures
    assert [picture.notes for picture in page.pictures if not picture.svg] == []


def test_the_written_table_is_the_rendered_one(catalog: Catalog, table_1: Results) -> None:
    reference = find_reference(catalog, "m-nas/table-1")
    rendered = render(build_paper_report(table_1, reference), Format.md)
    assert (TABLE_1 / "README.md").read_text(encoding="utf-8").endswith(rendered)


def test_the_written_table_of_readings_is_the_rendered_one() -> None:
    folder = RESULTS / "toy-readings"
    rendered = render(build_report(read_runs(folder)), Format.md)
    assert (folder / "README.md").read_text(encoding="utf-8").endswith(rendered)


def test_the_claims_on_table_1_have_the_verdicts_that_the_records_give(
    catalog: Catalog, table_1: Results
) -> None:
    files = [load_claims(file) for file in catalog.claims.values()]
    found = {e.claim.id: e.verdict for e in evaluate(files, table_1.runs)}
    assert {name: str(found[name]) for name in VERDICTS} == VERDICTS


def test_two_seeds_of_metanas_are_better_than_two_of_reptile(catalog: Catalog) -> None:
    runs = read_runs(RESULTS / "omniglot-search").runs
    files = [load_claims(file) for file in catalog.claims.values()]
    found = {e.claim.id: e.verdict for e in evaluate(files, runs)}
    assert str(found["metanas-reptile-omniglot"]) == "supported"
    seeds = [run.record.spec.seed for run in runs if run.record.spec.learner.name == "metanas"]
    assert sorted(seeds) == [0, 1]
