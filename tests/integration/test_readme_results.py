"""The README says how the committed table compares with the paper's: as the records say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

from metabench.papers.reference_files import find_reference
from metabench.papers.report import build_paper_report
from metabench.papers.verdict import Outcome
from metabench.plugin.catalog import load_catalog
from metabench.results.reading import read_runs

ROOT = Path(__file__).parents[2]


def test_the_verdicts_of_table_1_are_counted() -> None:
    catalog = load_catalog()
    runs = read_runs(ROOT / "results" / "m-nas-table-1")
    reference = find_reference(catalog, "m-nas/table-1")
    (table,) = build_paper_report(runs, reference, catalog=catalog).tables
    cells = [cell for row in table.rows for cell in row.cells.values() if row.in_paper]
    verdicts = [cell.verdict for cell in cells if cell.verdict is not None]
    assert len(verdicts) == sum(cell.printed is not None for cell in cells)
    n = Counter(verdict.outcome for verdict in verdicts)
    differing = [v.difference for v in verdicts if v.outcome == "differs" and v.difference]
    better = sum(difference < 0 for difference in differing)
    n_all = len(verdicts)
    assert n.total() == sum(n[outcome] for outcome in get_args(Outcome))
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    if n["not comparable"] == n_all:
        assert all("is installed" in verdict.reason for verdict in verdicts)
        sentence = (
            f"None of the {n_all} numbers that M-NAS prints in its Table 1 is compared with ours "
            "today: the committed runs are of earlier versions of the suite and the learners."
        )
        assert sentence in readme
        return
    sentence = (
        f"Of the {n_all} numbers that M-NAS prints in its Table 1, ours match {n['match']}, "
        f"are close to {n['close']}, differ from {n['differs']} ({better} of ours are better, "
        f"{len(differing) - better} worse) and are inconclusive for {n['inconclusive']}. The paper "
        "states neither the queries nor the normalization of any of them."
    )
    assert all({"queries", "normalization"} <= set(verdict.unstated) for verdict in verdicts)
    assert sentence in readme
