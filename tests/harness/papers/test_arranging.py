"""Columns are left out and rows sorted by what a user names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from result_factory import (
    GOLDEN,
    arranged,
    golden_paper_report,
    golden_report,
    in_full,
    make_spec,
    write_run,
)

from metabench.errors import UsageError
from metabench.papers.arranging import _FACTS, _FORMER, Arrangement, arrange, say_selected
from metabench.papers.reference_files import load_reference
from metabench.papers.report import build_paper_report
from metabench.papers.table import PaperTable
from metabench.planning.suite import TABLE_COLUMNS
from metabench.plugin.catalog import Catalog
from metabench.render import Format, render
from metabench.results.metrics import AVERAGE, VAL
from metabench.results.reading import read_runs
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


def written(
    folder: Path, catalog: Catalog, *columns: str, sort: str | None = None
) -> dict[str, str]:
    """The tables of a folder with some columns, in every format, and briefly for the terminal."""
    built = arranged(folder, catalog, *columns, sort=sort)
    formats = (format for format in Format if format is not Format.html)
    return {f"{format}": in_full(built, format) for format in formats} | {  # type: ignore[arg-type]
        "short": render(built, Format.table)
    }


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_captions_speak_of_no_column_that_is_hidden(
    tmp_path: Path, catalog: Catalog, n_seeds: int
) -> None:
    for learner in ("maml", "reptile"):
        for seed in range(n_seeds):
            spec = make_spec(learner, seed=seed, episodes=40)
            # Three episodes of each source make up most of its mean.
            scores = [(1.0 - 0.1 * seed) * (i % 40 < 3) for i in range(80)]
            write_run(tmp_path, spec, scores, val_score=0.5, selected_step=7)
    names = {"bird", "texture", AVERAGE, VAL}
    for columns in (("bird",), ("texture", "bird"), (AVERAGE,), (VAL,), (VAL, "bird")):
        for sort in (None, VAL):
            for format, text in written(tmp_path, catalog, *columns, sort=sort).items():
                said = {name for name in names if re.search(rf"\b{name}\b", text)}
                # An average is also of sources whose means few episodes sway.
                parts = {"bird", "texture"} if AVERAGE in columns else set()
                assert said <= {*columns, *parts}, (columns, sort, format)
    assert "3 episodes contribute" in written(tmp_path, catalog, "bird")["md"]


def test_a_table_of_meta_validation_alone_says_nothing_of_meta_test(
    tmp_path: Path, catalog: Catalog
) -> None:
    for learner, n_seeds in (("maml", 2), ("reptile", 1)):
        for seed in range(n_seeds):
            scores = [(i + seed) % 5 / 4 for i in range(80)]
            spec = make_spec(learner, seed=seed, episodes=40)
            write_run(tmp_path, spec, scores, val_score=0.5 + seed / 10, selected_step=7)
    both = written(tmp_path, catalog, VAL, AVERAGE)
    alone = written(tmp_path, catalog, VAL)
    assert "§" in both["md"]
    for format, text in alone.items():
        for words in ("§", "query sets of", "where n counts episodes", "test episodes"):
            assert words not in text, (format, words)
    unbroken = {
        name: found["tex"].replace(r"\allowbreak{}", "")
        for name, found in {"alone": alone, "both": both}.items()
    }
    assert "interval over seeds, on meta-validation." in unbroken["alone"]
    assert "val: on meta-validation, interval over seeds." in unbroken["both"]


def test_a_papers_caption_speaks_of_no_column_that_is_hidden(catalog: Catalog) -> None:
    reference = load_reference(GOLDEN / "references" / "example-table-1.yaml")
    runs = read_runs(GOLDEN / "records")
    first, *others = [column.heading for column in reference.columns]
    for names in ((first,), (reference.columns[0].name,)):
        built = build_paper_report(runs, reference, catalog=catalog, columns=names)
        (table,) = arrange(built, Arrangement(columns=names)).tables
        assert isinstance(table, PaperTable)
        told = [*table.facts, *table.remarks, *table.reasons]
        # A verdict of match or close names columns of its row that differ, shown or not.
        told = [text.partition(" Other columns of this row differ")[0] for text in told]
        assert [text for text in told for other in others if other in text] == []
        shown = {cell.row.runs for cell in table.cells if cell.row}
        assert {row.runs for line in table.rows for row in line.ours} == shown


def test_a_source_has_no_name_of_another_column_or_of_what_rows_are_sorted_by() -> None:
    assert {*TABLE_COLUMNS} == {AVERAGE, VAL, *_FACTS, *_FORMER}
