import json
import math
from pathlib import Path

import numpy as np
import pytest
from result_factory import PROVENANCE, make_spec, write_run

from metabench.errors import UsageError
from metabench.planning.runspec import Choice, EpisodeProtocol, SourceChoice, Training
from metabench.render.text_table import seeds_text
from metabench.reports.build import build_report
from metabench.reports.tables import Report
from metabench.results.reading import read_runs
from metabench.stats import field_interval, seeds_interval

SCORES = [0.2, 0.4, 0.6, 0.4, 1.0, 0.0, 0.2, 0.8]  # bird and texture take turns
BIRD, TEXTURE = SCORES[::2], SCORES[1::2]


def built(folder: Path, **options: str) -> Report:
    return build_report(read_runs(folder), **options)


def only_table(folder: Path, **options: str):
    (table,) = built(folder, **options).tables
    return table


def only_row(folder: Path, **options: str):
    (row,) = only_table(folder, **options).rows
    return row


def caption_of(folder: Path, **options: str) -> str:
    return only_table(folder, **options).caption


def test_cells_are_the_intervals_of_the_sources_in_percent(tmp_path):
    write_run(tmp_path, make_spec(), SCORES)
    row = only_row(tmp_path)
    assert list(row.cells) == ["bird", "texture", "average"]
    for name, scores in (("bird", BIRD), ("texture", TEXTURE)):
        cell, interval = row.cells[name], field_interval(scores)
        assert cell.mean == pytest.approx(100 * interval.mean)
        assert cell.half_width == pytest.approx(100 * interval.half_width)
        assert (cell.n, cell.unit) == (4, "%")
    average, bird, texture = row.cells["average"], row.cells["bird"], row.cells["texture"]
    assert average.mean == pytest.approx((bird.mean + texture.mean) / 2)
    assert average.half_width == pytest.approx(math.hypot(bird.half_width, texture.half_width) / 2)
    assert average.n == 8


def test_errors_keep_their_unit(tmp_path):
    write_run(tmp_path, make_spec(metric="mse", sources=("sinusoid",)), [1.0, 2.0, 3.0, 4.0])
    cells = only_row(tmp_path).cells
    assert cells["sinusoid"].mean == 2.5
    assert cells["sinusoid"].unit == "mse"
    assert cells["average"] == cells["sinusoid"]


def test_seeds_share_a_row_and_are_averaged_per_episode(tmp_path):
    second = [1 - score for score in SCORES[::-1]]
    write_run(tmp_path, make_spec(seed=4), second, stamps=("smoke",))
    write_run(tmp_path, make_spec(seed=1), SCORES)
    row = only_row(tmp_path, interval="field")
    assert row.seeds == (1, 4)
    assert row.runs == (make_spec(seed=1).run_id, make_spec(seed=4).run_id)
    assert row.stamps == ("smoke",)
    expected = field_interval((np.array(BIRD) + np.array(second[::2])) / 2)
    assert row.cells["bird"].mean == pytest.approx(100 * expected.mean)
    assert row.cells["bird"].half_width == pytest.approx(100 * expected.half_width)
    assert row.cells["bird"].n == 4


def test_the_same_scores_under_five_seeds_do_not_narrow_the_interval(tmp_path):
    write_run(tmp_path / "one", make_spec(), SCORES)
    for seed in range(5):
        write_run(tmp_path / "five", make_spec(seed=seed), SCORES)
    one, five = (only_row(tmp_path / name).cells["average"] for name in ("one", "five"))
    assert five.half_width == pytest.approx(one.half_width)
    assert five.n == one.n


def test_interval_over_seeds_is_student_over_the_means_of_runs(tmp_path):
    for seed, shift in enumerate((0.0, 0.1, 0.3)):
        write_run(tmp_path, make_spec(seed=seed), [score / 2 + shift for score in SCORES])
    cells = only_row(tmp_path, interval="seeds").cells
    means = np.array([0.0, 0.1, 0.3])
    bird = seeds_interval(means + np.mean(BIRD) / 2)
    average = seeds_interval(means + np.mean(SCORES) / 2)
    assert cells["bird"].half_width == pytest.approx(100 * bird.half_width)
    assert cells["average"].mean == pytest.approx(100 * average.mean)
    assert cells["average"].half_width == pytest.approx(100 * average.half_width)
    assert cells["average"].n == 3


def test_a_row_of_several_seeds_has_the_interval_over_seeds(tmp_path):
    for seed, shift in enumerate((0.0, 0.1, 0.3)):
        write_run(tmp_path, make_spec(seed=seed), [score / 2 + shift for score in SCORES])
    row = only_row(tmp_path)
    assert row == only_row(tmp_path, interval="seeds")
    assert row.over_seeds
    assert {cell.over for cell in row.cells.values()} == {"seeds"}
    caption = caption_of(tmp_path)
    assert "t(0.975, n-1) std/sqrt(n), ddof 1, over the means of single runs" in caption
    assert "§" not in caption
    assert "A row with one seed has no interval" not in caption


def test_a_row_of_one_seed_has_the_interval_over_episodes(tmp_path):
    write_run(tmp_path, make_spec(), SCORES)
    row = only_row(tmp_path)
    assert row == only_row(tmp_path, interval="field")
    assert not row.over_seeds
    assert "Each row is a single run; its interval does not cover other seeds" in caption_of(
        tmp_path
    )


def test_rows_of_one_seed_and_of_several_are_told_apart(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, make_spec("maml", seed=seed), [score / (1 + seed) for score in SCORES])
    write_run(tmp_path, make_spec("reptile"), SCORES)
    table = only_table(tmp_path)
    assert [row.over_seeds for row in table.rows] == [True, False]
    assert [seeds_text(row, table.rows) for row in table.rows] == ["0, 1", "0 §"]
    said = "Rows marked § are single runs: their interval is mean ± 1.96 std/sqrt(n), ddof 0"
    assert said in table.caption
    alike = only_table(tmp_path, interval="field")
    assert [seeds_text(row, alike.rows) for row in alike.rows] == ["0, 1", "0"]


def test_runs_with_equal_scores_have_no_interval_over_seeds(tmp_path):
    """A predictor without training: seeds change nothing, and ± 0 would say that it is known."""
    for seed, by in enumerate((0.0, 0.1)):
        write_run(tmp_path, make_spec("gaussian-process", seed=seed), SCORES)
        write_run(tmp_path, make_spec("maml", seed=seed), [score / 2 + by for score in SCORES])
    table = only_table(tmp_path)
    assert [row.over_seeds for row in table.rows] == [False, True]
    assert table.rows[0].cells["bird"].half_width > 0
    assert "Rows marked § are single runs, or runs with equal scores" in table.caption


def test_without_scipy_intervals_are_over_episodes_and_the_caption_says_so(tmp_path, monkeypatch):
    def no_scipy(what: str) -> None:
        raise UsageError(f"{what} needs scipy, which is not installed.")

    for seed in (0, 1):
        write_run(tmp_path, make_spec(seed=seed), [score / (1 + seed) for score in SCORES])
    assert only_row(tmp_path).over_seeds
    monkeypatch.setattr("metabench.stats.distributions.scipy_special", no_scipy)
    row = only_row(tmp_path)
    assert not row.over_seeds
    assert row == only_row(tmp_path, interval="field")
    assert "Intervals over seeds need scipy, which is not installed" in caption_of(tmp_path)
    assert "need scipy" not in caption_of(tmp_path, interval="field")
    with pytest.raises(UsageError, match="scipy"):
        only_row(tmp_path, interval="seeds")


def test_cells_have_the_median_over_episodes(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, make_spec(seed=seed), [score / (1 + seed) for score in SCORES])
    cells = only_row(tmp_path).cells
    means = [0.75 * score for score in SCORES]
    assert cells["bird"].median == pytest.approx(100 * np.median(means[::2]))
    assert cells["texture"].median == pytest.approx(100 * np.median(means[1::2]))
    assert cells["average"].median is None


def test_one_seed_has_no_interval_over_seeds(tmp_path):
    write_run(tmp_path, make_spec(), SCORES)
    cells = only_row(tmp_path, interval="seeds").cells
    assert math.isnan(cells["bird"].half_width)
    assert math.isnan(cells["average"].half_width)


def test_bootstrap_keeps_the_mean_and_is_deterministic(tmp_path):
    write_run(tmp_path, make_spec(), SCORES)
    row = only_row(tmp_path, interval="bootstrap")
    assert row == only_row(tmp_path, interval="bootstrap")
    assert row.cells["bird"].mean == only_row(tmp_path).cells["bird"].mean
    assert row.cells["bird"].half_width != only_row(tmp_path).cells["bird"].half_width


def test_seeds_are_compared_on_the_episodes_they_share(tmp_path):
    write_run(tmp_path, make_spec(seed=0), SCORES)
    write_run(tmp_path, make_spec(seed=1), SCORES[:6])
    report = built(tmp_path)
    (row,) = report.tables[0].rows
    assert row.cells["bird"].n == 3
    assert row.cells["bird"].mean == pytest.approx(100 * np.mean(BIRD[:3]))
    assert "maml on multidataset@5w1s, budget lite: 2 episodes" in report.problems[-1]


@pytest.mark.parametrize("interval", ["field", "seeds"])
def test_a_single_source_has_no_column_of_averages_and_its_caption_no_word_on_them(
    tmp_path, interval
):
    write_run(tmp_path / "one", make_spec(sources=("bird",)), SCORES[:4])
    write_run(tmp_path / "two", make_spec(), SCORES)
    one, two = (
        build_report(read_runs(tmp_path / name), interval=interval).tables[0]
        for name in ("one", "two")
    )
    assert (one.columns, two.columns) == (("bird",), ("bird", "texture", "average"))
    assert "average" not in one.caption
    assert "The average is the plain mean" in two.caption


def test_a_source_without_episodes_has_no_cell_and_no_average(tmp_path):
    run = write_run(tmp_path, make_spec(), SCORES)
    lines = (run / "episodes.jsonl").read_text().splitlines(keepends=True)
    (run / "episodes.jsonl").write_text("".join(lines[::2]))
    assert list(only_row(tmp_path).cells) == ["bird"]


def test_columns_follow_the_suite_not_the_alphabet(tmp_path):
    write_run(tmp_path, make_spec(sources=("texture", "bird", "aircraft")))
    assert only_table(tmp_path).columns == ("texture", "bird", "aircraft", "average")


def test_one_table_per_suite_and_setting_in_order(tmp_path):
    for suite, setting in (("b", "5w5s"), ("a", "5w1s"), ("b", "5w1s")):
        write_run(tmp_path, make_spec(suite=suite, setting=setting))
    found = [(table.suite, table.setting) for table in built(tmp_path).tables]
    assert found == [("a", "5w1s"), ("b", "5w1s"), ("b", "5w5s")]


def test_rows_are_sorted_by_learner_then_budget(tmp_path):
    for learner, budget in (("reptile", "lite"), ("maml", "paper"), ("maml", "lite")):
        write_run(tmp_path, make_spec(learner, budget=budget))
    found = [(row.learner, row.budget) for row in only_table(tmp_path).rows]
    assert found == [("maml", "lite"), ("maml", "paper"), ("reptile", "lite")]


def test_rows_of_one_learner_are_in_the_order_of_their_numbers(tmp_path):
    for steps in (1, 10, 2):
        write_run(tmp_path, make_spec(params={"inner_steps": steps}))
    found = [row.variant for row in only_table(tmp_path).rows]
    assert found == ["inner_steps=1", "inner_steps=2", "inner_steps=10"]


def test_rows_that_would_look_the_same_say_what_differs(tmp_path):
    for inner_lr in (0.1, 0.01):
        write_run(tmp_path, make_spec(params={"inner_lr": inner_lr, "steps": 5}))
    write_run(tmp_path, make_spec("reptile"))
    found = [(row.learner, row.variant) for row in only_table(tmp_path).rows]
    assert found == [("maml", "inner_lr=0.01"), ("maml", "inner_lr=0.1"), ("reptile", "")]


def test_a_row_says_what_its_command_sets_of_the_learner_also_where_it_stands_alone(tmp_path):
    command = "metabench run --learner maml --set learner.inner_lr=0.5 --set space.width=8"
    provenance = PROVENANCE.model_copy(update={"command": command})
    spec = make_spec(params={"inner_lr": 0.5, "steps": 5})
    write_run(tmp_path, spec, provenance=provenance)
    assert [row.variant for row in only_table(tmp_path).rows] == ["inner_lr=0.5"]


def test_what_a_user_set_is_read_from_the_record_and_a_mapping_stays_whole(tmp_path):
    genotype = {"cell": [[0, 2, "skip"], [1, 2, "linear"]]}
    strategy = Choice(name="fixed", version=1, params={"genotype": genotype})
    provenance = PROVENANCE.model_copy(update={"changes": {"strategy": {"genotype": genotype}}})
    write_run(tmp_path, make_spec(strategy=strategy), provenance=provenance)
    (row,) = only_table(tmp_path).rows
    assert row.facts == ("genotype={cell: [[0, 2, skip], [1, 2, linear]]}",)


def test_a_quoted_value_in_the_command_of_an_older_record_is_read(tmp_path):
    command = (
        "metabench run --learner maml --set 'strategy.genotype={cell: [[0, 2, skip], [1,\n  2, "
        "linear]]}' --set 'budget.meta_steps=3'"
    )
    provenance = PROVENANCE.model_copy(update={"command": command})
    genotype = {"cell": [[0, 2, "skip"], [1, 2, "linear"]]}
    assert provenance.user_changes() == {
        "strategy": {"genotype": genotype},
        "budget": {"meta_steps": 3},
    }
    strategy = Choice(name="fixed", version=1, params={"genotype": genotype})
    write_run(tmp_path, make_spec(strategy=strategy), provenance=provenance)
    (row,) = only_table(tmp_path).rows
    assert row.facts == ("genotype={cell: [[0, 2, skip], [1, 2, linear]]}",)


@pytest.mark.parametrize("command", ["metabench run --set 'oops", "metabench run --set oops"])
def test_a_command_that_cannot_be_read_changes_nothing(command):
    assert PROVENANCE.model_copy(update={"command": command}).user_changes() == {}


def test_inner_steps_at_test_are_those_of_the_learners_and_unequal_ones_are_named(tmp_path):
    write_run(tmp_path, make_spec("maml"))
    assert "inner steps at test: 5. Tested" in caption_of(tmp_path)
    write_run(tmp_path, make_spec("reptile"), steps_at_test=50)
    caption = caption_of(tmp_path)
    assert "Inner steps at test differ: maml 5, reptile 50." in caption
    assert "inner steps at test:" not in caption
    for learner in ("mtnet", "bmaml"):
        write_run(tmp_path, make_spec(learner))
    assert "Inner steps at test differ: reptile 50, all others 5." in caption_of(tmp_path)


def test_networks_of_unequal_size_are_named(tmp_path):
    write_run(tmp_path, make_spec("maml"), n_params=7621)
    write_run(tmp_path, make_spec("reptile"), n_params=5100)
    assert "numbers of weights" not in caption_of(tmp_path)
    write_run(tmp_path, make_spec("mnas"), n_params=2581)
    said = (
        "The numbers of weights differ by up to 3.0 times: maml 7,621, mnas 2,581, reptile 5,100."
    )
    assert said in caption_of(tmp_path)


def test_an_older_record_names_the_steps_of_the_protocol_as_such(tmp_path):
    write_run(tmp_path, make_spec("maml"), steps_at_test=None)
    assert "inner steps at test: 5 (protocol)." in caption_of(tmp_path)


def test_a_parameter_that_all_sources_have_is_said_once_and_instead_of_the_digest(tmp_path):
    for variance in (2.0, 4.0):
        sources = tuple(
            SourceChoice(source=s, name=s, version=1, params={"x_variance": variance, "family": s})
            for s in ("sine", "line")
        )
        write_run(
            tmp_path,
            make_spec(metric="mse", sources=("sine", "line")).model_copy(
                update={"sources": sources, "data_fingerprint": f"{variance}"}
            ),
        )
    table = only_table(tmp_path)
    assert [row.variant for row in table.rows] == ["x_variance=2.0", "x_variance=4.0"]
    assert (
        "Rows differ in protocol or data (x_variance 2.0 or 4.0). Only rows that agree in these "
        "are compared." in table.caption
    )


def test_n_params_is_the_mean_where_networks_differ(tmp_path):
    write_run(tmp_path, make_spec(seed=0), n_params=100)
    write_run(tmp_path, make_spec(seed=1), n_params=201)
    write_run(tmp_path, make_spec("reptile"), n_params=None)
    assert [row.n_params for row in only_table(tmp_path).rows] == [150, None]
    assert (
        "The number of weights is a mean over the networks of the seeds: maml 100 to 201."
        in caption_of(tmp_path)
    )


def test_the_sizes_of_the_networks_of_tasks_and_of_seeds_are_told_apart(tmp_path):
    for learner in ("maml", "mnas"):
        for seed in (0, 1):
            folder = write_run(tmp_path, make_spec(learner, seed=seed), n_params=100 * (seed + 1))
            if learner == "mnas":
                path = folder / "episodes.jsonl"
                lines = [json.loads(line) for line in path.read_text().splitlines()]
                lines = [{**line, "n_params": 10 + line["index"]} for line in lines]
                path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    caption = caption_of(tmp_path)
    assert "a mean over the networks of the seeds: maml 100 to 200." in caption
    assert "a mean over the networks of the tasks: mnas 10 to 17." in caption


def test_rows_of_one_learner_at_two_budgets_are_told_apart_where_their_conditions_differ(tmp_path):
    for budget, steps in (("lite", 5), ("paper", 10)):
        write_run(tmp_path, make_spec(budget=budget), steps_at_test=steps)
        write_run(tmp_path, make_spec("reptile", budget=budget), steps_at_test=7)
    said = "Inner steps at test differ: maml at budget lite 5, maml at budget paper 10, reptile 7."
    assert said in caption_of(tmp_path)


def test_a_row_is_not_called_by_a_name_that_could_mean_all_rows_of_its_learner(tmp_path):
    rows = (("conv4", "first", 5), ("conv4", "second", 6), ("mlp", "first", 7))
    for network, order, steps in rows:
        spec = make_spec(space=Choice(name=network, version=1), params={"order": order})
        write_run(tmp_path, spec, steps_at_test=steps, skipped_steps=steps)
    caption = caption_of(tmp_path)
    said = "Inner steps at test differ: maml (order=first) 5, maml (order=second) 6, maml on mlp 7."
    assert said in caption
    assert "maml (order=second) 6 of 10, maml on mlp 7 of 10." in caption


def test_skipped_steps_are_a_share_of_the_runs_that_count_them(tmp_path):
    for seed, skipped in enumerate((3, None, 2)):
        write_run(tmp_path, make_spec(seed=seed), skipped_steps=skipped)
    assert "maml 5 of 20." in caption_of(tmp_path)


def test_scores_below_zero_have_no_share_in_a_mean(tmp_path):
    facts = {"r2": {"name": "r2", "title": "R squared", "better": "larger"}}
    spec = make_spec(metric="r2", sources=("near",), episodes=40)
    write_run(tmp_path, spec, [0.9, -0.8] * 20, metrics=facts)
    assert "contribute more than" not in caption_of(tmp_path)


def test_runs_that_are_not_done_make_no_row(tmp_path):
    write_run(tmp_path, make_spec(seed=0), SCORES)
    write_run(tmp_path, make_spec(seed=1), SCORES, status="failed", error="diverged")
    report = built(tmp_path)
    assert report.tables[0].rows[0].seeds == (0,)
    assert "diverged" in report.problems[0]


def test_the_order_of_folders_does_not_matter(tmp_path):
    for place, seeds in (("up", (0, 1, 2)), ("down", (2, 1, 0))):
        for i, seed in enumerate(seeds):
            write_run(tmp_path / place / str(i), make_spec(seed=seed), [seed / 4] * 8)
    assert built(tmp_path / "up") == built(tmp_path / "down")


def test_provenance_does_not_reach_the_report(tmp_path):
    write_run(tmp_path / "here", make_spec(), SCORES)
    elsewhere = PROVENANCE.model_copy(update={"device": "cuda", "started": "2031-01-01T00:00:00Z"})
    write_run(tmp_path / "there", make_spec(), SCORES, provenance=elsewhere, train_seconds=3.0)
    assert built(tmp_path / "here") == built(tmp_path / "there")


class TestCaption:
    def test_names_metric_formula_unit_protocol_and_budget(self, tmp_path):
        write_run(tmp_path, make_spec())
        caption = caption_of(tmp_path)
        assert caption.startswith("Accuracy in % on the query sets of meta-test episodes")
        for part in (
            "mean ± 1.96 std/sqrt(n), ddof 0, where n counts episodes",
            "sqrt(sum of squared half-widths)/(number of sources)",
            "Episodes per source: 4.",
            "5-way 1-shot, queries per class: 1, inner steps at test: 5.",
            "Tested weights: those of the last meta-step.",
            "Normalization: transductive; predictions use the statistics of the query set.",
            "Budget: lite.",
            "Each row is a single run; its interval does not cover other seeds.",
        ):
            assert part in caption
        for part in ("paired", "Stamps", "Stamped", "several seeds"):
            assert part not in caption

    def test_says_that_several_weights_are_tested_together(self, tmp_path):
        write_run(tmp_path, make_spec(training=Training(meta_steps=10, meta_batch=4, ensemble=5)))
        said = "Tested weights: the 5 with the best meta-validation scores, together."
        assert said in caption_of(tmp_path)

    @pytest.mark.parametrize(
        ("interval", "words"),
        [
            ("field", "Scores of several seeds are averaged per episode"),
            (
                "bootstrap",
                "percentile bootstrap interval (2,000 resamples), where n counts episodes",
            ),
            ("seeds", "mean ± t(0.975, n-1) std/sqrt(n), ddof 1, over the means of single runs"),
        ],
    )
    def test_names_the_interval(self, tmp_path, interval, words):
        for seed in (0, 1):
            write_run(tmp_path, make_spec(seed=seed))
        assert words in caption_of(tmp_path, interval=interval)

    def test_of_a_regression(self, tmp_path):
        write_run(tmp_path, make_spec(metric="mse"), transductive=False)
        caption = caption_of(tmp_path)
        assert caption.startswith("Mean squared error (mse)")
        assert "Support points: 10, query points: 10, inner steps at test: 5" in caption
        assert (
            "The protocol allows transductive normalization, but no prediction here uses the "
            "statistics of the query set." in caption
        )

    def test_ordinary_classification_has_no_shots(self, tmp_path):
        protocol = EpisodeProtocol(ways=10, shots=1, queries=10, steps_at_test=0, episodes=4)
        write_run(tmp_path, make_spec("one-shot", protocol=protocol))
        caption = caption_of(tmp_path)
        said = "10 classes, support images per class: 1, query images per class: 10, inner steps"
        assert said in caption
        assert "-shot" not in caption

    @pytest.mark.parametrize(
        ("modes", "using", "said"),
        [
            (["inductive"], [], "Normalization: inductive; no prediction uses the statistics"),
            (
                ["transductive", "inductive"],
                ["a"],
                "The protocol of some rows allows transductive normalization, but only predictions "
                "of a use the statistics",
            ),
        ],
    )
    def test_says_what_is_true_of_normalization(self, tmp_path, modes, using, said):
        for learner, mode in zip("ab", modes, strict=False):
            protocol = EpisodeProtocol(ways=5, shots=1, queries=1, episodes=4, normalization=mode)
            spec = make_spec(learner, protocol=protocol)
            write_run(tmp_path, spec, transductive=learner in using)
        assert f"{said} of the query set." in caption_of(tmp_path)

    @pytest.mark.parametrize(
        ("running", "said"),
        [
            ("ab", "Normalization: running; predictions use averages from meta-training."),
            (
                "b",
                "only predictions of a use the statistics of the query set. Predictions of b use "
                "running statistics, averages from meta-training.",
            ),
        ],
    )
    def test_names_running_statistics(self, tmp_path, running, said):
        for learner in "ab":
            used = "running" if learner in running else "transductive"
            write_run(
                tmp_path,
                make_spec(learner),
                transductive=used == "transductive",
                normalization=used,
            )
        assert said in caption_of(tmp_path)

    def test_says_that_rows_are_paired(self, tmp_path):
        for learner in ("maml", "reptile"):
            write_run(tmp_path, make_spec(learner))
        assert "All rows are tested on the same episodes" in caption_of(tmp_path)

    def test_says_that_episodes_differ(self, tmp_path):
        write_run(tmp_path, make_spec("maml"))
        write_run(tmp_path, make_spec("reptile"), SCORES[:6])
        caption = caption_of(tmp_path)
        assert (
            "Not all rows are tested on the same episodes. Two rows are compared on the episodes "
            "that they share." in caption
        )
        assert "Episodes per source: 3 or 4." in caption

    def test_says_that_protocols_differ(self, tmp_path):
        write_run(tmp_path, make_spec("maml"))
        other = EpisodeProtocol(ways=5, shots=1, queries=15, episodes=4, steps_at_test=10)
        write_run(tmp_path, make_spec("reptile", protocol=other, suite_version=2))
        assert (
            "Rows differ in protocol or data (queries 1 or 15; steps at test 5 or 10; "
            "suite version 1 or 2). Only rows that agree in these are compared."
        ) in caption_of(tmp_path)

    def test_says_that_data_differ(self, tmp_path):
        write_run(tmp_path, make_spec("maml"))
        write_run(tmp_path, make_spec("reptile", data="synthetic"))
        assert "data real or synthetic" in caption_of(tmp_path)

    def test_says_that_budgets_differ(self, tmp_path):
        for budget in ("lite", "paper"):
            write_run(tmp_path, make_spec(budget=budget))
        said = "Rows differ in budget (lite, paper). Only rows with the same budget are compared."
        assert said in caption_of(tmp_path)

    def test_says_who_trained_for_longer(self, tmp_path):
        longer = Training(meta_steps=140_000, meta_batch=25)
        for learner in ("hsml", "maml", "mtnet"):
            write_run(tmp_path, make_spec(learner))
        assert "Training lengths" not in caption_of(tmp_path)
        write_run(tmp_path, make_spec("mnas-shared", training=longer))
        assert (
            "Training lengths differ (meta-steps x episodes per step): mnas-shared 140,000 x 25, "
            "all others 10 x 4."
        ) in caption_of(tmp_path)

    def test_budgets_train_differently_without_a_word_and_learners_of_one_do_not(self, tmp_path):
        longer = {"training": Training(meta_steps=20, meta_batch=4), "budget": "paper"}
        write_run(tmp_path, make_spec("maml"))
        write_run(tmp_path, make_spec("maml", **longer))
        assert "Training lengths" not in caption_of(tmp_path)
        write_run(tmp_path, make_spec("reptile", budget="paper"))
        said = "(meta-steps x episodes per step): at budget paper maml 20 x 4, reptile 10 x 4."
        assert said in caption_of(tmp_path)

    def test_a_learner_with_two_lengths_is_named_with_both(self, tmp_path):
        for steps in (10, 20):
            write_run(tmp_path, make_spec(training=Training(meta_steps=steps, meta_batch=4)))
        assert "maml (meta_steps=10) 10 x 4, maml (meta_steps=20) 20 x 4." in caption_of(tmp_path)

    def test_names_means_that_three_episodes_carry_and_their_medians(self, tmp_path):
        """400 + 200 + 0.5 of 1,099; three of the other row's four make 19 %."""
        shape = {"metric": "mse", "sources": ("sine",), "episodes": 1000}
        tame = [1.0] * 1000
        write_run(tmp_path, make_spec("maml", **shape), tame)
        assert "In some means" not in caption_of(tmp_path)
        wild = [400.0, *[0.5] * 499, 200.0, *[0.5] * 499]
        write_run(tmp_path, make_spec("bmaml", **shape), wild)
        write_run(tmp_path, make_spec("hsml", **shape), [80.0] * 4 + [1.0] * 996)
        assert (
            "In some means, 3 episodes contribute more than 20 %: bmaml, sine "
            "(55 % from 3 of 1,000 episodes; median 0.500, mean 1.099)."
        ) in caption_of(tmp_path)

    def test_rows_with_the_same_learner_are_named_apart(self, tmp_path):
        shape = {"metric": "mse", "sources": ("sine",), "episodes": 40}
        for name in ("mlp", "tnas"):
            spec = make_spec("bmaml", **shape, space=Choice(name=name, version=1))
            write_run(tmp_path, spec, [100.0 * (name == "mlp"), *[1.0] * 39])
        said = "20 %: bmaml on mlp, sine (73 % from 3 of 40 episodes; median 1.000, mean 3.475)."
        assert said in caption_of(tmp_path)

    def test_three_of_few_episodes_carry_nothing_worth_a_word(self, tmp_path):
        write_run(tmp_path, make_spec(), [1.0, 1.0, *[0.0] * 6])
        assert "In some means" not in caption_of(tmp_path)

    def test_names_every_stamp(self, tmp_path):
        write_run(tmp_path, make_spec("maml"), stamps=("smoke", "synthetic"))
        write_run(tmp_path, make_spec("reptile"), stamps=("subset",))
        assert "Stamps: smoke, synthetic, subset. Stamped rows are not comparable" in caption_of(
            tmp_path
        )

    def test_names_who_uses_the_query_statistics(self, tmp_path):
        write_run(tmp_path, make_spec("maml"))
        write_run(tmp_path, make_spec("proto"), transductive=False)
        assert "but only predictions of maml use the statistics" in caption_of(tmp_path)


def test_suites_whose_sources_changed_do_not_share_columns(tmp_path):
    write_run(tmp_path, make_spec(sources=("bird",)))
    write_run(tmp_path, make_spec(sources=("bird", "fungi"), suite_version=2))
    columns = {table.columns for table in built(tmp_path).tables}
    assert columns == {("bird",), ("bird", "fungi", "average")}


def test_another_prediction_of_the_same_adaptation_has_a_table_of_its_own(tmp_path):
    run = write_run(tmp_path, make_spec(), SCORES)
    lines = [json.loads(line) for line in (run / "episodes.jsonl").read_text().splitlines()]
    pruned = [{**line, "variants": {"pruned": line["score"] / 2}} for line in lines]
    (run / "episodes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in pruned))
    headline, other = built(tmp_path).tables
    assert (headline.setting, headline.evaluation) == ("5w1s", "")
    assert (other.setting, other.evaluation) == ("5w1s", "pruned")
    assert other.caption.startswith(
        "Prediction pruned: what the learner calls so, a second answer to the same queries"
    )
    means = [table.rows[0].cells["average"].mean for table in (headline, other)]
    assert means[1] == pytest.approx(means[0] / 2)


@pytest.mark.parametrize(("n_episodes", "unsure"), [(29, True), (30, False)])
def test_marks_from_few_episodes_are_unsure(tmp_path: Path, n_episodes: int, unsure: bool) -> None:
    for learner in ("maml", "reptile"):
        write_run(tmp_path, make_spec(learner, episodes=n_episodes))
    (table,) = build_report(read_runs(tmp_path)).tables
    assert ("marks from fewer than 30 episodes are unsure" in table.warnings) is unsure
    said = "With fewer than 30 episodes per source marks are unsure, as of maml, reptile."
    assert (said in table.caption) is unsure


def test_a_whole_test_set_of_several_seeds_is_enough(tmp_path: Path) -> None:
    for learner in ("maml", "reptile"):
        for seed in (0, 1):
            write_run(tmp_path, make_spec(learner, episodes=1, seed=seed))
    (table,) = build_report(read_runs(tmp_path)).tables
    assert not any("unsure" in said for said in table.warnings)


def test_a_version_stands_for_what_follows_from_it_in_the_name_of_a_row(tmp_path: Path) -> None:
    for version, selection in ((1, "last"), (2, "meta-val")):
        spec = make_spec("maml", suite_version=version)
        protocol = spec.protocol.model_copy(update={"selection": selection})
        write_run(tmp_path, spec.model_copy(update={"protocol": protocol}))
    (table,) = build_report(read_runs(tmp_path)).tables
    assert [row.name for row in table.rows] == [
        "maml (suite version 1)",
        "maml (suite version 2)",
    ]


def test_a_learner_of_which_one_row_records_its_conditions_is_told_apart(tmp_path):
    stated = {"inner_optimizer": "SGD"}
    write_run(tmp_path, make_spec(budget="lite"), conditions=stated)
    write_run(tmp_path, make_spec(budget="paper"))
    caption = caption_of(tmp_path)
    assert "Training conditions of maml at budget lite: inner optimizer: SGD." in caption
    assert "Training conditions not recorded: maml at budget paper." in caption
