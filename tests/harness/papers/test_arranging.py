"""Columns are left out and rows sorted by what a user names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from result_factory import golden_paper_report, golden_report

from metabench.errors import UsageError
from metabench.papers.arranging import Arrangement, arrange, say_selected
from metabench.papers.table import PaperTable
from metabench.results.selection import ALL, Selection


def test_only_the_wanted_columns_are_shown_in_their_order() -> None:
    report = arrange(golden_report(), Arrangement(columns=("average", "bird")))
    (table,) = report.tables
    assert tuple(table.columns) == ("average", "bird")
    assert table.rows == golden_report().tables[0].rows


def test_a_column_that_no_table_has_is_an_error() -> None:
    with pytest.raises(UsageError, match="Unknown column 'brid'") as error:
        arrange(golden_report(), Arrangement(columns=("brid",)))
    assert error.value.hint == "Did you mean bird?"
    with pytest.raises(UsageError, match="Unknown column 'speed'") as error:
        arrange(golden_report(), Arrangement(sort="speed"))
    assert "network, sinusoid, texture, weights" in error.value.hint
    with pytest.raises(UsageError, match="Unknown column 'nonsense'") as error:
        arrange(golden_report(), Arrangement(columns=("nonsense",)))
    assert error.value.hint.startswith("Known: average, bird, budget, learner,")


def test_what_a_table_says_of_each_row_may_stand_beside_columns_of_scores() -> None:
    for report in (golden_report(), golden_paper_report()):
        heading = next(iter(report.tables[0].columns))
        only = arrange(report, Arrangement(columns=(heading,)))
        assert arrange(report, Arrangement(columns=("params", heading))) == only
    with pytest.raises(UsageError, match="None of the columns params, budget has scores") as error:
        arrange(golden_report(), Arrangement(columns=("params", "budget")))
    assert "average, bird, sinusoid, texture" in error.value.hint


@pytest.mark.parametrize(("column", "better"), [("bird", "larger"), ("sinusoid", "smaller")])
def test_the_best_row_is_the_first(column: str, better: str) -> None:
    report = arrange(golden_report(), Arrangement(columns=(column,), sort=column))
    (table,) = report.tables
    assert table.metric.better == better
    means = [row.cells[column].mean for row in table.rows]
    assert len(set(means)) == 2
    assert means == sorted(means, reverse=better == "larger")


@pytest.mark.parametrize("fact", ["learner", "network", "weights", "params", "budget"])
def test_rows_are_sorted_by_what_they_are(fact: str) -> None:
    whole = golden_report()
    sorted_ = arrange(whole, Arrangement(sort=fact))
    for table, before in zip(sorted_.tables, whole.tables, strict=True):
        values = [
            getattr(row, "n_params" if fact in ("weights", "params") else fact)
            for row in table.rows
        ]
        assert values == sorted(values)
        assert len(table.rows) == len(before.rows)


def test_rows_whose_number_of_weights_is_not_known_come_last() -> None:
    whole = golden_report()
    (table, *_) = whole.tables
    sizes = (None, 300, 20)
    rows = tuple(replace(table.rows[0], n_params=size) for size in sizes)
    sorted_ = arrange(
        replace(whole, tables=(replace(table, rows=rows),)), Arrangement(sort="weights")
    )
    assert [row.n_params for row in sorted_.tables[0].rows] == [20, 300, None]


def test_a_papers_table_is_arranged_by_names_and_by_headings() -> None:
    whole = golden_paper_report()
    (table,) = whole.tables
    (first, *_), (heading, *_) = table.columns.keys(), table.columns.values()
    for name in (first, heading):
        (found,) = arrange(whole, Arrangement(columns=(name,), sort=name)).tables
        assert isinstance(found, PaperTable)
        assert dict(found.columns) == {first: heading}
        means = [row.cells[first].ours for row in found.rows]
        assert [cell is None for cell in means] == [False, False, True]
        assert means[0].mean < means[1].mean  # type: ignore[union-attr]
    (by_learner,) = arrange(whole, Arrangement(sort="learner")).tables
    assert [row.method for row in by_learner.rows] == ["MAML [7]", "reptile", "HSML"]


def test_what_was_selected_is_said() -> None:
    assert say_selected(golden_report(), ALL) == golden_report()
    for table in say_selected(golden_report(), Selection(seeds=(0, 1))).tables:
        assert table.caption.startswith("Only runs with seed 0 or 1 are shown. ")
        assert table.selected == "Only runs with seed 0 or 1 are shown."
    (paper,) = say_selected(golden_paper_report(), Selection(learners=("maml",))).tables
    assert all(row.ours for row in paper.rows)
