"""The records under ``results/``: what is written about them is what they say."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from metabench.catalog import Catalog, load_catalog
from metabench.claims import evaluate, load_claims
from metabench.page import Page, read_page
from metabench.paper_report import build_paper_report
from metabench.reference_files import find_reference
from metabench.render import Format, render
from metabench.render.html import render_page
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
    "m-nas-genotypes-by-source": "supported",
}
"""Of the claims on Table 1."""
STUDIES = pytest.mark.parametrize("study", sorted(p.name for p in RESULTS.iterdir() if p.is_dir()))


@cache
def runs_of(study: str) -> Results:
    return read_runs(RESULTS / study)


@cache
def page_of(study: str) -> Page:
    return read_page(RESULTS / study, load_catalog(), paper=None)[1]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def table_1() -> Results:
    return runs_of(TABLE_1.name)


@STUDIES
def test_every_committed_run_is_counted(study: str) -> None:
    runs = runs_of(study).runs
    assert runs
    for run in runs:
        spec = run.record.spec
        assert len(run.episodes) == spec.protocol.episodes * len(spec.sources)


@STUDIES
def test_every_study_is_written_in_every_format(study: str) -> None:
    report = build_report(runs_of(study))
    learners = {run.record.spec.learner.name for run in runs_of(study).runs}
    texts = {str(format): render(report, format) for format in Format if format is not Format.html}
    texts["html"] = render_page(page_of(study))
    for format, text in texts.items():
        assert {name for name in learners if name not in text} == set(), format


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@STUDIES
def test_every_study_compiles_in_latex(study: str, tmp_path: Path) -> None:
    report = build_report(runs_of(study))
    (tmp_path / "table.tex").write_text(render(report, Format.tex), encoding="utf-8")
    (tmp_path / "document.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx,xcolor}\\begin{document}"
        "\\input{table}\\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "document.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@STUDIES
def test_the_page_of_every_study_has_all_its_figures(study: str) -> None:
    pictures = page_of(study).pictures
    assert pictures
    assert [picture.notes for picture in pictures if not picture.svg] == []


def test_the_written_table_is_the_rendered_one(catalog: Catalog, table_1: Results) -> None:
    reference = find_reference(catalog, "m-nas/table-1")
    rendered = render(build_paper_report(table_1, reference), Format.md)
    assert (TABLE_1 / "README.md").read_text(encoding="utf-8").endswith(rendered)


@pytest.mark.parametrize("study", ["toy-readings", "m-nas-table-1-seeds"])
def test_the_written_tables_of_a_study_are_the_rendered_ones(study: str) -> None:
    rendered = render(build_report(runs_of(study)), Format.md)
    assert (RESULTS / study / "README.md").read_text(encoding="utf-8").endswith(rendered)


def test_the_claims_on_table_1_have_the_verdicts_that_the_records_give(
    catalog: Catalog, table_1: Results
) -> None:
    files = [load_claims(file) for file in catalog.claims.values()]
    found = {e.claim.id: e.said for e in evaluate(files, table_1.runs)}
    said = {name: f"{verdict} (one seed)" for name, verdict in VERDICTS.items()}
    assert {name: found[name] for name in VERDICTS} == said


def test_two_seeds_each_on_omniglot_against_what_the_paper_says(catalog: Catalog) -> None:
    """MetaNAS alone is better than REPTILE; with the cell of Auto-Meta on the left it is open."""
    runs = runs_of("omniglot-search").runs
    files = [load_claims(file) for file in catalog.claims.values()]
    found = {e.claim.id: e for e in evaluate(files, runs)}
    assert {name: e.said for name, e in found.items()} == {
        "metanas-reptile-omniglot": "undecided [search]",
        "metanas-alone-reptile-omniglot": "supported [search]",
        "metanas-auto-meta-omniglot": "refuted [search]",
        "metanas-auto-meta-slightly-omniglot": "supported [search]",
    }
    alone = found["metanas-alone-reptile-omniglot"].decided_by
    assert alone is not None
    assert alone.difference is not None
    low, high = alone.difference.interval()
    numbers = (alone.difference.mean, low, high)
    assert [f"{number:+.2f}" for number in numbers] == ["+6.17", "+1.12", "+11.23"]
    written = (RESULTS / "README.md").read_text(encoding="utf-8").split()
    assert "+6.17 [+1.12, +11.23]" in " ".join(written)
    seeds = [run.record.spec.seed for run in runs if run.record.spec.learner.name == "metanas"]
    assert sorted(seeds) == [0, 1]
