"""The column of the meta-validation score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from result_factory import arranged, make_spec, write_run

from metabench.errors import UsageError
from metabench.plugin.catalog import Catalog
from metabench.render import Format, render
from metabench.render.short_legends import short_legend
from metabench.reports.tables import Report, Row
from metabench.reports.validation import validation_score
from metabench.results.reading import read_runs

SCORES = {100: 0.25, 200: 0.75, 300: 0.5}
"""By meta-step, of seed 0; those of seed 1 are lower by 0.1."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two learners with two seeds each, of which one learner was validated."""
    for learner in ("maml", "support-mean"):
        for seed in (0, 1):
            validated = learner == "maml"
            run = write_run(
                tmp_path,
                make_spec(learner, seed=seed, episodes=40),
                [(i + seed) % 5 / 4 for i in range(80)],
                selected_step=200 if validated else 0,
            )
            points = [{"step": s, "val_score": v - 0.1 * seed} for s, v in SCORES.items()]
            lines = points if validated else []
            (run / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    return tmp_path


def report_of(folder: Path, catalog: Catalog, *columns: str, **options: str | None) -> Report:
    built = arranged(folder, catalog, *columns, **options)
    assert isinstance(built, Report)
    return built


def test_it_is_the_score_of_the_weights_that_were_tested(folder: Path, catalog: Catalog) -> None:
    (table,) = report_of(folder, catalog, "average", "val").tables
    assert table.columns == ("average", "val")
    cells = {row.learner: row.cells.get("val") for row in table.rows}
    assert cells["support-mean"] is None
    cell = cells["maml"]
    assert cell is not None
    assert cell.mean == pytest.approx(70.0)  # of 75 and 65
    assert cell.half_width == pytest.approx(12.7062 * 5.0, rel=1e-4)  # t(0.975, 1) std/sqrt(2)
    assert (cell.n, cell.over, cell.unit) == (2, "seeds", "%")
    assert "Column val is the score of the tested weights on meta-validation" in table.caption
    assert "val is the score on meta-validation" in table.warnings


def test_it_stands_in_every_format_and_can_be_sorted_by(folder: Path, catalog: Catalog) -> None:
    built = report_of(folder, catalog, "val", sort="val")
    for format in Format:
        if format is not Format.html:
            assert "70.00" in render(built, format) or '"mean": 70.0' in render(built, format)
    rows: tuple[Row, ...] = built.tables[0].rows  # type: ignore[assignment]
    assert [row.learner for row in rows] == ["maml", "support-mean"]


@pytest.mark.parametrize(
    ("columns", "n"),
    [
        (("average", "val"), "n = 4 episodes per source, not seeds."),
        (("val",), "n = 1 seed."),
    ],
)
def test_the_legend_says_what_the_shown_columns_are_over(
    tmp_path: Path, catalog: Catalog, columns: tuple[str, ...], n: str
) -> None:
    write_run(tmp_path, make_spec(), val_score=0.5, selected_step=7)
    (table,) = report_of(tmp_path, catalog, *columns).tables
    assert short_legend(table)[0].endswith(n)


def test_it_is_there_only_if_asked_for(folder: Path, catalog: Catalog) -> None:
    (table,) = report_of(folder, catalog).tables
    assert table.columns == ("bird", "texture", "average")
    assert "val" not in table.rows[0].cells


def test_without_any_score_there_is_no_such_column(tmp_path: Path, catalog: Catalog) -> None:
    run = write_run(tmp_path, make_spec(episodes=40), [0.5] * 80, selected_step=7)
    (run / "metrics.jsonl").write_text('{"step": 5, "val_score": 0.5}\n')
    (found,) = read_runs(tmp_path).runs
    assert validation_score(found) is None  # meta-step 7 was tested, and 5 was scored
    with pytest.raises(UsageError, match="Unknown column 'val'"):
        report_of(tmp_path, catalog, "val")


@pytest.mark.parametrize("format", [Format.table, Format.md, Format.tex])
def test_it_does_not_change_what_the_other_intervals_are_said_to_be_over(
    tmp_path: Path, catalog: Catalog, format: Format
) -> None:
    for learner, score in (("maml", 0.5), ("support-mean", None)):
        spec = make_spec(learner, sources=("bird",), episodes=40)
        write_run(tmp_path, spec, [i % 5 / 4 for i in range(40)], val_score=score)
    text = render(report_of(tmp_path, catalog, "bird", "val"), format)
    assert "50.00" in text
    for untrue in ("§", r"\S{}", "~interval over", "test episodes per source"):
        assert untrue not in text
