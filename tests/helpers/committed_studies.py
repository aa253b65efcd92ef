"""The studies under ``results/``, read once in a process, and the tables that are made of each."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from metabench.papers.reference_files import readable_references
from metabench.papers.report import PooledRuns, build_paper_report
from metabench.papers.table import PaperReport
from metabench.plugin.catalog import load_catalog
from metabench.reports.build import build_report
from metabench.reports.tables import Report
from metabench.results.reading import Results, read_runs

RESULTS = Path(__file__).parents[2] / "results"
STUDIES = pytest.mark.parametrize("study", sorted(p.name for p in RESULTS.iterdir() if p.is_dir()))


@cache
def runs_of(study: str) -> Results:
    return read_runs(RESULTS / study)


@cache
def report_of(study: str) -> Report:
    return build_report(runs_of(study))


@cache
def papers_of(study: str) -> list[PaperReport]:
    """Every paper's table in which the study has a row."""
    catalog, runs = load_catalog(), runs_of(study)
    pooled = PooledRuns(runs, catalog)
    found = [
        build_paper_report(runs, reference, catalog=catalog, pooled=pooled)
        for reference in readable_references(catalog).values()
    ]
    return [one for one in found if any(row.ours for table in one.tables for row in table.rows)]
