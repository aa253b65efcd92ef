from pathlib import Path

import pytest
from result_factory import make_spec, write_run

from metabench.report import build_report
from metabench.results import read_runs
from metabench.runspec import EpisodeProtocol

EASY_AND_HARD = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.2, 0.4]  # bird and texture take turns


def standings(folder: Path, column: str = "bird") -> dict[str, str]:
    (table,) = build_report(read_runs(folder)).tables
    return {row.learner: row.cells[column].standing for row in table.rows}


def test_a_constant_difference_separates_what_overlapping_intervals_do_not(tmp_path):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    write_run(tmp_path, make_spec("b"), [score - 0.02 for score in EASY_AND_HARD])
    assert standings(tmp_path) == {"a": "best", "b": ""}


def test_a_difference_of_changing_sign_does_not_separate(tmp_path):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    shifts = [0.1, 0.1, -0.12, -0.12, 0.1, 0.1, -0.12, -0.12]
    scores = [score + shift for score, shift in zip(EASY_AND_HARD, shifts, strict=True)]
    write_run(tmp_path, make_spec("b"), scores)
    assert standings(tmp_path) == {"a": "best", "b": "not separable"}
    assert standings(tmp_path, "average") == {"a": "best", "b": "not separable"}


def test_an_average_separates_where_no_source_does(tmp_path):
    # Per source 0.05 ± 0.0588, of the average 0.05 ± 0.0416.
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    behind = [0.11, 0.11, -0.01, -0.01] * 2
    scores = [score - less for score, less in zip(EASY_AND_HARD, behind, strict=True)]
    write_run(tmp_path, make_spec("b"), scores)
    for source in ("bird", "texture"):
        assert standings(tmp_path, source) == {"a": "best", "b": "not separable"}
    assert standings(tmp_path, "average") == {"a": "best", "b": ""}


def test_lower_errors_are_better(tmp_path):
    for learner, shift in (("a", 0.0), ("b", 0.5)):
        spec = make_spec(learner, metric="mse")
        write_run(tmp_path, spec, [score + shift for score in EASY_AND_HARD])
    assert standings(tmp_path) == {"a": "best", "b": ""}


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": EpisodeProtocol(ways=5, shots=1, queries=1, episodes=4, steps_at_test=10)},
        {"suite_version": 2},
        {"data": "synthetic"},
        {"data_fingerprint": "fedcba9876543210"},
    ],
)
def test_other_conditions_are_not_paired(tmp_path, changes):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    mixed = [score - 0.1 * (-1) ** i for i, score in enumerate(EASY_AND_HARD[::-1])]
    write_run(tmp_path, make_spec("b", **changes), mixed)
    assert set(standings(tmp_path).values()) == {"best", ""}


def test_rows_that_share_no_episode_are_not_paired(tmp_path):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    run = write_run(tmp_path, make_spec("b"), EASY_AND_HARD[::-1])
    lines = (run / "episodes.jsonl").read_text().replace('"key":"', '"key":"other')
    (run / "episodes.jsonl").write_text(lines)
    assert "not separable" not in standings(tmp_path).values()


def test_a_source_that_only_one_row_has_has_no_best(tmp_path):
    run = write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    lines = (run / "episodes.jsonl").read_text().splitlines(keepends=True)
    (run / "episodes.jsonl").write_text("".join(lines[::2]))
    write_run(tmp_path, make_spec("b"), EASY_AND_HARD)
    (table,) = build_report(read_runs(tmp_path)).tables
    assert [row.cells["texture"].standing for row in table.rows if "texture" in row.cells] == [""]
