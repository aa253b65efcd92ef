from pathlib import Path

import numpy as np
import pytest
from result_factory import make_spec, write_run

from metabench.errors import UsageError
from metabench.planning.runspec import EpisodeProtocol, Training
from metabench.render import Format, render
from metabench.render.page.differences import find_differences
from metabench.reports.build import build_report
from metabench.results.comparability import comparable_groups, mismatch
from metabench.results.configurations import configurations
from metabench.results.reading import read_runs

EASY_AND_HARD = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.2, 0.4]  # bird and texture take turns


def marks_of(folder: Path, column: str = "bird") -> dict[str, str]:
    (table,) = build_report(read_runs(folder)).tables
    return {row.learner: row.cells[column].mark for row in table.rows}


def letters(folder: Path) -> dict[str, str]:
    (table,) = build_report(read_runs(folder)).tables
    return {row.learner: row.conditions for row in table.rows}


def set_by_user(run: Path) -> None:
    """As if the user had set the length of training."""
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(
        text.replace("metabench run", "metabench run --set budget.meta_steps=20")
    )


def no_scipy(what: str) -> None:
    raise UsageError(f"{what} needs scipy, which is not installed.")


def test_a_constant_difference_separates_what_overlapping_intervals_do_not(tmp_path):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    write_run(tmp_path, make_spec("b"), [score - 0.02 for score in EASY_AND_HARD])
    assert marks_of(tmp_path) == {"a": "best", "b": "worse"}


def test_a_difference_of_changing_sign_does_not_separate(tmp_path):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    shifts = [0.1, 0.1, -0.12, -0.12, 0.1, 0.1, -0.12, -0.12]
    scores = [score + shift for score, shift in zip(EASY_AND_HARD, shifts, strict=True)]
    write_run(tmp_path, make_spec("b"), scores)
    assert marks_of(tmp_path) == {"a": "best", "b": "tied"}
    assert marks_of(tmp_path, "average") == {"a": "best", "b": "tied"}


def test_an_average_separates_where_no_source_does(tmp_path):
    # Per source 0.05 ± 0.0588, of the average 0.05 ± 0.0416.
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    behind = [0.11, 0.11, -0.01, -0.01] * 2
    scores = [score - less for score, less in zip(EASY_AND_HARD, behind, strict=True)]
    write_run(tmp_path, make_spec("b"), scores)
    for source in ("bird", "texture"):
        assert marks_of(tmp_path, source) == {"a": "best", "b": "tied"}
    assert marks_of(tmp_path, "average") == {"a": "best", "b": "worse"}


def test_lower_errors_are_better(tmp_path):
    for learner, shift in (("a", 0.0), ("b", 0.5)):
        spec = make_spec(learner, metric="mse")
        write_run(tmp_path, spec, [score + shift for score in EASY_AND_HARD])
    assert marks_of(tmp_path) == {"a": "best", "b": "worse"}


def test_seeds_that_disagree_do_not_separate_what_episodes_would(tmp_path):
    """One seed of b is as good as a: 0.2 on average is no difference between learners."""
    for learner, shifts in (("a", (0.0, 0.0)), ("b", (0.0, -0.4))):
        for seed, shift in enumerate(shifts):
            scores = [score + shift for score in EASY_AND_HARD]
            write_run(tmp_path, make_spec(learner, seed=seed), scores)
    assert marks_of(tmp_path) == {"a": "best", "b": "tied"}


def test_two_seeds_against_more_are_not_compared_and_the_rest_has_a_best(tmp_path):
    rng = np.random.default_rng(1)
    for learner, n, shift in (("a", 2, 0.3), ("b", 3, 0.2), ("c", 3, 0.1)):
        for seed in range(n):
            scores = [score / 2 + shift + rng.normal(scale=0.01) for score in EASY_AND_HARD]
            write_run(tmp_path, make_spec(learner, seed=seed), scores)
    assert marks_of(tmp_path) == {"a": "not compared", "b": "best", "c": "worse"}
    text = render(build_report(read_runs(tmp_path)), Format.md)
    assert "or because with 2 and 3 seeds, each side needs at least 3." in text


def test_a_table_marks_what_its_page_calls_a_difference(tmp_path):
    """Seeds and episodes of any spread: both are the same interval."""
    rng = np.random.default_rng(0)
    for trial in range(12):
        out = tmp_path / str(trial)
        hard = rng.normal(size=60)
        for learner in "abc":
            level = rng.normal(scale=0.4)
            for seed in range(1 + trial % 3):
                scores = 5 + level + rng.normal(scale=0.2) + hard + rng.normal(size=60)
                spec = make_spec(learner, metric="mse", seed=seed, episodes=30)
                write_run(out, spec, scores.tolist())
        (found,) = find_differences(read_runs(out).runs)
        marked = marks_of(out, "average")
        for against in found.others:
            low, high = against.by_column["average"].interval()
            expected = "tied" if low <= 0 <= high else "worse"
            assert marked[against.row.learner] == expected


def test_without_scipy_rows_of_several_seeds_have_no_marks_and_the_caption_says_why(
    tmp_path, monkeypatch
):
    for learner in "ab":
        for seed in (0, 1):
            write_run(tmp_path, make_spec(learner, seed=seed), EASY_AND_HARD)
    assert marks_of(tmp_path) == {"a": "best", "b": "best"}
    monkeypatch.setattr("metabench.stats.distributions.scipy_special", no_scipy)
    assert marks_of(tmp_path) == {"a": "", "b": ""}
    (table,) = build_report(read_runs(tmp_path)).tables
    assert (
        "Rows with several seeds are not compared, because scipy is not installed" in table.caption
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": "smoke"},
        {"protocol": EpisodeProtocol(ways=5, shots=1, queries=1, episodes=4, steps_at_test=10)},
        {"suite_version": 2},
        {"metric_version": 2},
        {"data": "synthetic"},
        {"data_fingerprint": "fedcba9876543210"},
    ],
)
def test_nothing_is_the_best_across_conditions(tmp_path, changes):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    mixed = [score - 0.1 * (-1) ** i for i, score in enumerate(EASY_AND_HARD[::-1])]
    write_run(tmp_path, make_spec("b", **changes), mixed)
    assert marks_of(tmp_path) == {"a": "not compared", "b": "not compared"}


def test_one_row_under_other_conditions_is_not_compared_and_the_rest_needs_no_letters(tmp_path):
    for learner, by in (("a", 0.0), ("b", 0.02)):
        write_run(tmp_path, make_spec(learner), [score - by for score in EASY_AND_HARD])
    write_run(tmp_path, make_spec("c", budget="paper"), [1.0] * 8)
    assert marks_of(tmp_path) == {"a": "best", "b": "worse", "c": "not compared"}
    assert set(letters(tmp_path).values()) == {""}


def test_each_group_of_equal_conditions_has_a_letter_and_a_best(tmp_path):
    for budget, learners in (("lite", "ab"), ("paper", "cd")):
        for by, learner in enumerate(learners):
            scores = [score - 0.02 * by for score in EASY_AND_HARD]
            write_run(tmp_path, make_spec(learner, budget=budget), scores)
    write_run(tmp_path, make_spec("e", data="synthetic"), EASY_AND_HARD)
    assert marks_of(tmp_path) == {
        "a": "best",
        "b": "worse",
        "c": "best",
        "d": "worse",
        "e": "not compared",
    }
    assert letters(tmp_path) == {"a": "A", "b": "A", "c": "B", "d": "B", "e": ""}
    (table,) = build_report(read_runs(tmp_path)).tables
    said = (
        "Rows with the same letter ran under the same conditions: [A] budget lite; "
        "[B] budget paper."
    )
    assert said in table.caption


def test_a_length_of_training_that_a_user_set_is_compared_with_its_like_only(tmp_path):
    longer = {"training": Training(meta_steps=20, meta_batch=4)}
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    write_run(tmp_path, make_spec("b", **longer), EASY_AND_HARD)  # the suite says so
    assert marks_of(tmp_path) == {"a": "best", "b": "best"}
    set_by_user(write_run(tmp_path, make_spec("c", **longer), EASY_AND_HARD))
    assert marks_of(tmp_path) == {"a": "best", "b": "best", "c": "not compared"}
    set_by_user(write_run(tmp_path, make_spec("d", **longer), EASY_AND_HARD))
    assert letters(tmp_path) == {"a": "A", "b": "A", "c": "B", "d": "B"}
    configs = configurations(read_runs(tmp_path).runs)
    groups = comparable_groups(configs)
    assert sorted(map(len, groups)) == [2, 2]
    assert not any(
        mismatch(configs[i], configs[j]) for group in groups for i in group for j in group
    )
    a, c = (next(one for one in configs if one.spec.learner.name == name) for name in "ac")
    assert mismatch(a, c) == "meta_steps 10 or 20"
    assert mismatch(c, a) == "meta_steps 20 or 10"


def test_what_is_not_trained_is_compared_with_every_length_of_training(tmp_path):
    floor = make_spec("floor", training=Training(meta_steps=0, meta_batch=4))
    write_run(tmp_path, floor, [score - 0.04 for score in EASY_AND_HARD])
    longer = {"training": Training(meta_steps=20, meta_batch=4)}
    for by, learner in enumerate("ab"):
        scores = [score - 0.02 * by for score in EASY_AND_HARD]
        set_by_user(write_run(tmp_path, make_spec(learner, **longer), scores))
    assert marks_of(tmp_path) == {"a": "best", "b": "worse", "floor": "worse"}
    write_run(tmp_path, make_spec("usual"), EASY_AND_HARD)
    write_run(tmp_path, make_spec("z"), EASY_AND_HARD)
    assert letters(tmp_path) == {"a": "A", "b": "A", "floor": "B", "usual": "B", "z": "B"}
    (table,) = build_report(read_runs(tmp_path)).tables
    assert "[B] the training length of the budget." in table.caption
    configs = {one.spec.learner.name: one for one in configurations(read_runs(tmp_path).runs)}
    assert mismatch(configs["floor"], configs["usual"]) == ""
    assert mismatch(configs["floor"], configs["a"]) == ""
    assert mismatch(configs["usual"], configs["a"]) != ""


def test_rows_that_share_no_episode_are_not_compared(tmp_path):
    write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    run = write_run(tmp_path, make_spec("b"), [1.0] * 8)
    lines = (run / "episodes.jsonl").read_text().replace('"key":"', '"key":"other')
    (run / "episodes.jsonl").write_text(lines)
    assert marks_of(tmp_path) == {"a": "not compared", "b": "not compared"}
    write_run(tmp_path, make_spec("c"), [score - 0.02 for score in EASY_AND_HARD])
    assert marks_of(tmp_path) == {"a": "best", "b": "not compared", "c": "worse"}


def test_one_shared_episode_of_one_seed_says_nothing(tmp_path):
    spec = {"metric": "mse", "sources": ("sine",), "episodes": 1}
    for learner, score in (("a", 0.1), ("b", 0.9)):
        write_run(tmp_path, make_spec(learner, **spec), [score])
    assert marks_of(tmp_path, "sine") == {"a": "not compared", "b": "not compared"}


def test_a_source_that_only_one_row_has_has_no_best(tmp_path):
    run = write_run(tmp_path, make_spec("a"), EASY_AND_HARD)
    lines = (run / "episodes.jsonl").read_text().splitlines(keepends=True)
    (run / "episodes.jsonl").write_text("".join(lines[::2]))
    write_run(tmp_path, make_spec("b"), EASY_AND_HARD)
    (table,) = build_report(read_runs(tmp_path)).tables
    assert [row.cells["texture"].mark for row in table.rows if "texture" in row.cells] == [""]


def test_marks_by_adjusted_p_values_agree_with_the_differences_of_a_page(tmp_path):
    rng = np.random.default_rng(5)
    base = rng.normal(0.5, 0.1, size=80)
    for learner, behind in {"a": 0.0, "b": 0.004, "c": 0.02, "d": 0.021, "e": 0.1}.items():
        scores = base - behind + rng.normal(0, 0.08, size=80)
        write_run(tmp_path, make_spec(learner, episodes=40), scores.tolist())
    results = read_runs(tmp_path)
    (plain,), (table,) = (
        build_report(results, adjusted=adjusted).tables for adjusted in (False, True)
    )
    (found,) = find_differences(results.runs)
    cells = {row.learner: row.cells for row in table.rows}
    assert {cell.family_mark for row in plain.rows for cell in row.cells.values()} == {""}
    seen = set()
    for against in found.others:
        for column in found.columns:
            if cells[found.best.learner][column].mark != "best":
                continue
            mark = cells[against.row.learner][column].family_mark
            assert mark == ("worse" if against.p_by_column[column] < 0.05 else "tied")
            seen.add((mark, cells[against.row.learner][column].mark))
    assert ("tied", "worse") in seen  # the rules differ here
    assert ("worse", "worse") in seen
    assert not {("worse", "tied")} & seen
