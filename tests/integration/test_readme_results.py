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
    n_printed = sum(cell.printed is not None for cell in cells)
    verdicts = [cell.verdict for cell in cells if cell.verdict is not None]
    n = Counter(verdict.outcome for verdict in verdicts)
    differing = [v.difference for v in verdicts if v.outcome == "differs" and v.difference]
    better = sum(difference < 0 for difference in differing)
    assert n.total() == sum(n[outcome] for outcome in get_args(Outcome))
    assert n["inconclusive"] == 0
    compared = [verdict for verdict in verdicts if verdict.outcome != "not comparable"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    sentence = (
        f"M-NAS prints {n_printed} numbers in its Table 1. Under the present version of the suite "
        f"we have run the rows of {len(verdicts)} of them so far: ours match {n['match']}, are "
        f"close to {n['close']} and differ from {n['differs']} ({better} of ours are better, "
        f"{len(differing) - better} worse); {n['not comparable']} cannot be compared. The paper "
        "states neither the queries nor the normalization of any of them."
    )
    assert all({"queries", "normalization"} <= set(verdict.unstated) for verdict in compared)
    assert sentence in readme
