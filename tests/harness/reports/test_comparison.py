"""Comparisons of two sides, and how sides are found, on synthetic records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_factory import make_spec, write_run
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import DataError, UsageError
from metabench.planning.runspec import Choice
from metabench.render.comparison_text import comparison_json, comparison_text
from metabench.render.layout import Screen
from metabench.reports.comparison import Comparison, compare, compare_pairs
from metabench.reports.comparison_sides import Sides, Wanted, find_sides
from metabench.results.comparability import difference_in_words
from metabench.results.evaluations import evaluated_configurations
from metabench.results.paired_scores import weights_of
from metabench.results.reading import read_runs

N = 40
FULL = Screen(full_caption=True)


RECORDED = ("stamps", "steps_at_test", "transductive", "normalization")


def add(out: Path, learner: str, *, gain: float = 0.0, **changes: Any) -> Path:
    """Scores that rise with the index; ``gain`` adds to every second episode of a source."""
    record = {k: changes.pop(k) for k in RECORDED if k in changes}
    spec = make_spec(learner, episodes=N, **changes)
    scores = [0.005 * i + (gain if i % 4 < 2 else 0.0) for i in range(2 * N)]
    return write_run(out, spec, scores, **record)


def compared(out: Path, **options: Any) -> Comparison:
    by_name = {c.spec.learner.name: c for c in evaluated_configurations(read_runs(out).runs)}
    return compare(by_name["mnas"], by_name["maml"], **options)


def test_differences_by_hand(tmp_path: Path) -> None:
    add(tmp_path, "mnas", gain=0.1, stamps=("lite",))
    add(tmp_path, "maml")
    found = compared(tmp_path, difference=2.0)
    bird, texture, average = found.columns
    assert [c.column for c in found.columns] == ["bird", "texture", "average"]
    # Half of the differences are 10 points, half are none: mean 5, std 5.
    assert bird.difference.mean == pytest.approx(5.0)
    assert bird.difference.standard_error == pytest.approx(5 / N**0.5)
    assert average.difference.standard_error == pytest.approx(5 / (2 * N) ** 0.5)
    assert (bird.right, texture.right) == (pytest.approx(19.5), pytest.approx(20.0))
    assert average.left == pytest.approx(24.75)
    assert bird.effect == pytest.approx(5 / (5 * (N / (N - 1)) ** 0.5))
    assert average.effect is None
    assert bird.signed_rank is not None
    assert (bird.signed_rank.n, bird.signed_rank.n_equal) == (N // 2, N // 2)
    assert bird.p == pytest.approx(2 * bird.signed_rank.p)  # Holm over two sources
    assert average.needed is not None
    # 7.848879 (5/2)^2 episodes: each source as often as the other.
    assert (average.needed.n, average.needed.unit) == (50, "episodes")
    assert (found.unit, found.stamps) == ("%", ("lite",))
    assert found.left == "mnas on multidataset@5w1s, budget lite, seed 0"
    assert len(found.extremes) == 5  # of 40 that differ


def test_two_seeds_against_more_are_refused_and_the_hint_says_what_to_run(tmp_path: Path) -> None:
    for seed in range(3):
        add(tmp_path, "mnas", gain=0.1, seed=seed)
    for seed in range(2):
        add(tmp_path, "maml", seed=seed)
    with pytest.raises(UsageError, match="with 3 and 2 seeds, each side needs at least 3") as found:
        compared(tmp_path)
    assert found.value.hint == "Run one more seed of maml on multidataset@5w1s, budget lite."
    add(tmp_path, "maml", seed=2)
    assert compared(tmp_path).columns[0].difference.n_seeds == (3, 3)


def test_the_episodes_that_differ_most(tmp_path: Path) -> None:
    folder = add(tmp_path, "mnas")
    add(tmp_path, "maml")
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    values = [json.loads(line) for line in lines]
    values[7]["score"] += 0.5
    values[4]["score"] -= 0.25
    (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(v)}\n" for v in values))
    extremes = compared(tmp_path).extremes
    assert [(e.key, e.source) for e in extremes] == [
        (values[7]["key"], "texture"),
        (values[4]["key"], "bird"),
    ]
    assert extremes[0].difference == pytest.approx(50.0)
    assert extremes[1].difference == pytest.approx(-25.0)


def test_several_seeds_add_the_bootstrap_and_ask_for_seeds(tmp_path: Path) -> None:
    for seed in range(3):
        add(tmp_path, "mnas", gain=0.1 + 0.02 * seed, seed=seed)
        add(tmp_path, "maml", gain=0.02 * seed, seed=seed)
    found = compared(tmp_path, difference=5.0)
    average = found.columns[-1]
    assert average.difference.speaks_of_learners
    assert average.bootstrap is not None
    assert average.bootstrap.low < average.difference.mean < average.bootstrap.high
    assert average.needed is not None
    assert average.needed.unit == "seeds on each side"
    assert found.notes == ()
    text = comparison_text([found], (), FULL)
    assert "with few seeds it is too narrow" in " ".join(text.split())


def test_every_column_has_its_own_degrees_of_freedom(tmp_path: Path) -> None:
    for seed, (left, right) in enumerate(((0.0, 0.1), (0.1, 0.1), (0.05, 0.3))):
        add(tmp_path, "mnas", gain=left, seed=seed)
        folder = add(tmp_path, "maml", gain=right, seed=seed)
        lines = (folder / "episodes.jsonl").read_text().splitlines()
        values = [json.loads(line) for line in lines]
        for value in values:
            value["score"] *= 0.5 if value["source"] == "bird" and seed else 1.0
        (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(v)}\n" for v in values))
    found = compared(tmp_path)
    degrees = [column.difference.degrees for column in found.columns]
    assert len({f"{one:.1f}" for one in degrees}) == 3
    text = comparison_text([found], (), FULL)
    rows = [
        line.split() for line in text.splitlines() if line.startswith(("bird", "texture", "av"))
    ]
    assert [row[6] for row in rows[:3]] == [f"{one:.1f}" for one in degrees]
    said = " ".join(text.split())
    words = (
        "Scores are in %, differences in percentage points; more is better. "
        "Interval of average: difference of the means over seeds"
    )
    assert words in said
    assert "df: the degrees of freedom of each interval." in said
    (values,) = json.loads(comparison_json([found], ()))["comparisons"]
    assert [column["degrees"] for column in values["columns"]] == degrees


def test_what_more_seeds_do_not_shrink_may_ask_for_episodes(tmp_path: Path) -> None:
    """Half of the episodes differ by 10 points, and seeds hardly matter: e is all there is."""
    for seed in range(3):
        add(tmp_path, "mnas", gain=0.1 + 0.002 * seed, seed=seed)
        add(tmp_path, "maml", gain=0.002 * seed, seed=seed)
    needed = compared(tmp_path, difference=1.0).columns[-1].needed
    assert needed is not None
    assert needed.episodes is not None
    assert needed.episodes.n_tested == 2 * N
    # Differences of 0 and 10 on every second episode of a source: std 5, over 2N episodes.
    assert needed.episodes.more_than == pytest.approx(7.848879 * 25 * N / (N - 1), abs=1)
    text = comparison_text([compared(tmp_path, difference=1.0)], ())
    assert "For average: no number of seeds is enough to detect a true difference of 1 with" in text
    (values,) = json.loads(comparison_json([compared(tmp_path, difference=1.0)], ()))["comparisons"]
    assert values["columns"][-1]["needed"]["episodes"]["n_tested"] == 2 * N


def test_one_seed_and_few_episodes_are_said(tmp_path: Path) -> None:
    for learner in ("mnas", "maml"):
        write_run(tmp_path, make_spec(learner, episodes=5))
    notes = " ".join(compared(tmp_path).notes)
    assert "these trained networks" in notes
    assert "With only 5 episodes per source" in notes


@pytest.mark.parametrize(("n", "few"), [(29, 29), (30, None)])
def test_thirty_episodes_of_a_source_are_enough(tmp_path: Path, n: int, few: int | None) -> None:
    for learner in ("mnas", "maml"):
        write_run(tmp_path, make_spec(learner, episodes=n))
    found = compared(tmp_path)
    assert found.too_few == few
    said = "With only 29 episodes per source, the intervals are too narrow."
    assert [note for note in found.notes if "episodes" in note] == ([said] if few else [])
    assert ("with few episodes the intervals are too narrow" in found.warnings) == bool(few)


def test_unequal_steps_at_test_are_said(tmp_path: Path) -> None:
    add(tmp_path, "maml")
    add(tmp_path, "mnas", gain=0.1, steps_at_test=50)
    assert "Inner steps at test differ: mnas 50, maml 5." in compared(tmp_path).notes


def test_equal_scores_have_no_effect(tmp_path: Path) -> None:
    for learner in ("mnas", "maml"):
        add(tmp_path, learner)
    found = compared(tmp_path)
    assert found.extremes == ()
    assert found.columns[0].p == 1.0
    assert "+0.00" in comparison_text([found], (), FULL)
    (values,) = json.loads(comparison_json([found], ()))["comparisons"]
    assert values["columns"][0]["effect"] is None


def test_one_episode_of_one_seed_says_nothing(tmp_path: Path) -> None:
    for learner in ("mnas", "maml"):
        write_run(tmp_path, make_spec(learner, episodes=1))
    with pytest.raises(DataError, match="share only one episode of a source"):
        compared(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": "paper"}, "budget lite or paper"),
        ({"data": "synthetic"}, "data real or synthetic"),
        ({"setting": "5w5s"}, "setting 5w1s or 5w5s"),
    ],
)
def test_mixed_conditions_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    add(tmp_path, "mnas")
    add(tmp_path, "maml", **changes)
    with pytest.raises(UsageError, match=f"not comparable: {said}"):
        compared(tmp_path)


def test_other_episodes_are_an_error_of_data(tmp_path: Path) -> None:
    add(tmp_path, "mnas")
    folder = add(tmp_path, "maml")
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    moved = [{**json.loads(line), "key": f"{i:016x}"} for i, line in enumerate(lines)]
    (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in moved))
    with pytest.raises(DataError, match="not tested on the same episodes"):
        compared(tmp_path)


def test_a_side_with_running_statistics_is_named(tmp_path: Path) -> None:
    add(tmp_path, "mnas", transductive=False, normalization="running")
    add(tmp_path, "maml", transductive=False, normalization="inductive")
    notes = compared(tmp_path).notes
    (said,) = [note for note in notes if "statistics" in note]
    assert said.startswith("Only predictions of mnas use running statistics")
    assert said.endswith("use running statistics, averages from meta-training.")


@pytest.mark.parametrize(
    ("normalization", "differs"), [(None, False), ("inductive", False), ("running", True)]
)
def test_an_older_record_that_names_no_statistics_is_not_unlike_one_that_does(
    tmp_path: Path, normalization: str | None, differs: bool
) -> None:
    add(tmp_path, "mnas", transductive=False, normalization=normalization)
    add(tmp_path, "maml", transductive=False, normalization="inductive")
    warned = ", ".join(compared(tmp_path).warnings)
    assert ("normalization" in warned) == differs


# Sides -----------------------------------------------------------------------------------------


def sides(first: object, second: object, folder: Path, **wanted: str) -> Sides:
    return find_sides(str(first), str(second), folder=folder, wanted=Wanted(**wanted))


def names(found: Sides) -> list[tuple[str, str]]:
    return [(a.spec.learner.name, b.spec.learner.name) for a, b in found.pairs]


def test_learners_of_one_folder(tmp_path: Path) -> None:
    for seed in (0, 1):
        add(tmp_path, "mnas", seed=seed)
        add(tmp_path, "maml", seed=seed)
    found = sides("mnas", "maml", tmp_path)
    assert names(found) == [("mnas", "maml")]
    assert [len(config.runs) for config in found.pairs[0]] == [2, 2]


def test_runs_by_folder_and_by_id(tmp_path: Path) -> None:
    folder = add(tmp_path, "mnas")
    other = add(tmp_path, "mnas", seed=1)
    assert names(sides(folder, other, tmp_path)) == [("mnas", "mnas")]
    found = sides(folder.name[:6], other.name, tmp_path)
    assert [config.spec.seed for config in found.pairs[0]] == [0, 1]


def test_a_learner_on_several_settings_is_paired_setting_by_setting(tmp_path: Path) -> None:
    for setting in ("5w1s", "5w5s"):
        add(tmp_path, "mnas", setting=setting)
        add(tmp_path, "maml", setting=setting)
    assert len(sides("mnas", "maml", tmp_path).pairs) == 2
    ((left, _),) = sides("mnas", "maml", tmp_path, setting="5w5s").pairs
    assert left.spec.setting == "5w5s"


def test_two_folders_are_compared_learner_by_learner(tmp_path: Path) -> None:
    for place, learners in (("a", ("maml", "mnas")), ("b", ("hsml", "maml"))):
        for learner in learners:
            add(tmp_path / place, learner)
    found = sides(tmp_path / "a", tmp_path / "b", tmp_path)
    assert names(found) == [("maml", "maml")]
    assert [label.split()[0] for label in found.alone] == ["mnas", "hsml"]


def test_a_protocol_without_counterpart_is_named(tmp_path: Path) -> None:
    add(tmp_path, "mnas")
    add(tmp_path, "maml")
    protocol = make_spec(episodes=N).protocol.model_copy(update={"normalization": "inductive"})
    add(tmp_path, "maml", protocol=protocol)
    found = sides("mnas", "maml", tmp_path)
    assert names(found) == [("mnas", "maml")]
    assert found.pairs[0][1].spec.protocol.normalization == "transductive"
    assert len(found.alone) == 1


def test_several_configurations_are_not_chosen_between(tmp_path: Path) -> None:
    add(tmp_path, "mnas")
    for rate in (0.01, 0.02):
        add(tmp_path, "maml", params={"inner_lr": rate})
    with pytest.raises(UsageError, match=r"has several configurations \(inner_lr 0.0") as caught:
        sides("mnas", "maml", tmp_path)
    rates = "'maml(inner_lr=0.01)' or 'maml(inner_lr=0.02)'"
    assert caught.value.hint == f"Name {rates} or the folder or the id of one run."


@pytest.mark.parametrize("name", ["maml(inner_lr=0.02)", "maml (inner_lr=0.02, name=conv4)"])
def test_a_configuration_is_named_as_the_table_names_it(tmp_path: Path, name: str) -> None:
    for rate in (0.01, 0.02):
        add(tmp_path, "maml", params={"inner_lr": rate})
    ((left, right),) = sides(name, "maml(inner_lr=0.01)", tmp_path).pairs
    rates = [config.spec.learner.params["inner_lr"] for config in (left, right)]
    assert rates == [0.02, 0.01]
    with pytest.raises(UsageError, match=r"No run of maml in .* matches maml\(inner_lr=0.5\)"):
        sides(name, "maml(inner_lr=0.5)", tmp_path)


def test_configurations_of_other_networks_are_named_by_them(tmp_path: Path) -> None:
    add(tmp_path, "mnas")
    for space in ("conv4", "mlp"):
        add(tmp_path, "maml", space=Choice(name=space, version=1))
    with pytest.raises(UsageError, match="several configurations") as caught:
        sides("mnas", "maml", tmp_path)
    assert "'maml(network=conv4)' or 'maml(network=mlp)'" in caught.value.hint
    for word in ("network", "space"):
        ((_, right),) = sides("mnas", f"maml({word}=mlp)", tmp_path).pairs
        assert right.spec.space is not None
        assert right.spec.space.name == "mlp"


def test_twins_of_a_folder_are_told_apart_by_folders_alone(tmp_path: Path) -> None:
    add(tmp_path / "a", "maml")
    for rate in (0.01, 0.02):
        add(tmp_path / "b", "maml", params={"inner_lr": rate})
    with pytest.raises(UsageError, match="several configurations") as caught:
        sides(tmp_path / "a", tmp_path / "b", tmp_path)
    assert caught.value.hint == "Name the folder of one run."


def test_twins_of_a_learner_that_the_other_folder_lacks_are_no_obstacle(tmp_path: Path) -> None:
    add(tmp_path / "a", "maml")
    add(tmp_path / "b", "maml", gain=0.1)
    for rate in (0.01, 0.02):
        add(tmp_path / "b", "hsml", params={"inner_lr": rate})
    found = sides(tmp_path / "a", tmp_path / "b", tmp_path)
    assert names(found) == [("maml", "maml")]
    assert len(found.alone) == 1  # both have one label


def test_a_folder_of_several_learners_is_not_called_one_learner(tmp_path: Path) -> None:
    add(tmp_path / "a", "maml")
    for learner in ("hsml", "mnas"):
        add(tmp_path / "b", learner)
    with pytest.raises(UsageError, match=r"^Several learners ran on .*: hsml, mnas\.$"):
        sides("maml", tmp_path / "b", tmp_path / "a")


def test_only_what_ran_where_both_sides_did_is_considered(tmp_path: Path) -> None:
    add(tmp_path, "protonet", suite="omniglot")
    add(tmp_path, "maml", suite="omniglot")
    add(tmp_path, "maml", suite="omniglot", budget="paper")
    for space in ("conv4", "mlp"):  # several configurations, but of a suite that protonet lacks
        add(tmp_path, "maml", space=Choice(name=space, version=1))
    found = sides("protonet", "maml", tmp_path)
    ((left, right),) = found.pairs
    assert (left.spec.learner.name, right.spec.learner.name) == ("protonet", "maml")
    assert (right.spec.suite, right.spec.budget) == ("omniglot", "lite")
    assert len(found.alone) == 2
    assert all(label.startswith("maml on ") for label in found.alone)
    add(tmp_path, "maml", suite="omniglot", space=Choice(name="mlp", version=1))
    with pytest.raises(UsageError, match=r"maml on omniglot.* has several configurations"):
        sides("protonet", "maml", tmp_path)


def test_runs_are_not_compared_with_themselves(tmp_path: Path) -> None:
    folder = add(tmp_path, "maml")
    add(tmp_path, "mnas")
    for name in ("maml", folder.name, folder):
        with pytest.raises(UsageError, match=f"^maml and {name} are the same runs"):
            sides("maml", name, tmp_path)
    with pytest.raises(UsageError, match="are the same runs"):
        sides(tmp_path, tmp_path, tmp_path)
    for rate in (0.01, 0.02):
        add(tmp_path, "hsml", params={"inner_lr": rate})
    with pytest.raises(UsageError, match="are the same runs"):
        sides("hsml", "hsml", tmp_path)
    result = CliRunner().invoke(app, ["compare", "maml", "maml", str(tmp_path)])
    assert result.exit_code == 2
    assert "maml and maml are the same runs." in result.stderr


def test_one_run_at_two_places_may_be_compared(tmp_path: Path) -> None:
    here, there = add(tmp_path / "a", "maml"), add(tmp_path / "b", "maml", gain=0.1)
    assert here.name == there.name
    assert names(sides(tmp_path / "a", tmp_path / "b", tmp_path)) == [("maml", "maml")]


def test_a_run_that_is_on_both_sides_beside_others_is_refused(tmp_path: Path) -> None:
    folder = add(tmp_path / "a", "maml")
    for seed in (0, 1):
        add(tmp_path / "b", "maml", seed=seed)
    ((left, right),) = sides(tmp_path / "a", tmp_path / "b", tmp_path).pairs
    with pytest.raises(UsageError, match=rf"1 run of maml .* is on both sides: {folder.name}\."):
        compare(left, right)


def test_few_episodes_decide_nothing(tmp_path: Path) -> None:
    for learner, score in (("mnas", 0.9), ("maml", 0.1)):
        scores = [score + 0.001 * i for i in range(4)]
        write_run(tmp_path, make_spec(learner, episodes=2), scores)
    found = compared(tmp_path)
    said = " ".join(comparison_text([found], ()).split())
    assert "? undecided: too few episodes (2 episodes per source): A - B on average is +80" in said
    assert "✓" not in said


def test_a_forgotten_side_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path / "mine", "maml")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["compare", "maml", "mine"])
    assert result.exit_code == 3
    assert "There is no folder results" in result.stderr
    assert "compare needs A and B, and mine was taken for B." in result.stderr
    with pytest.raises(DataError, match="There is no folder elsewhere") as caught:
        sides("maml", "mine", Path("elsewhere"))
    assert "taken for B" not in (caught.value.hint or "")


def test_a_learner_whose_record_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    add(tmp_path, "mnas")
    (add(tmp_path, "maml") / "run.json").write_text("{")
    result = CliRunner().invoke(app, ["compare", "mnas", "maml", str(tmp_path)])
    assert result.exit_code == 2
    assert "Unknown folder, run or learner" in result.stderr
    assert "run.json is not readable" in result.stderr
    (add(tmp_path / "b", "maml") / "episodes.jsonl").unlink()
    with pytest.raises(DataError, match=r"No finished run below .* matches") as caught:
        sides("mnas", tmp_path / "b", tmp_path)
    assert "episodes.jsonl cannot be read" in caught.value.hint


def test_a_row_is_found_by_its_name_in_the_table_also_beside_other_networks(tmp_path: Path) -> None:
    add(tmp_path, "maml")
    network = Choice(name="tnas", version=1)
    for order in ("first", "second"):
        params = {"order": order}
        write_run(
            tmp_path, make_spec("maml", episodes=N, space=network, params=params), backend="tnas"
        )
    (pair,) = sides("maml", "maml (order=first)", tmp_path).pairs
    assert pair[0].spec.space.name == "conv4"
    assert pair[1].spec.learner.params == {"order": "first"}
    found = compare(*pair)
    assert found.left != found.right
    assert "network=conv4" in found.left


def test_a_learner_is_all_its_runs_and_pairs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Rows of an earlier version have another name in the table, and were left out in silence."""
    for learner in ("mnas", "maml"):
        add(tmp_path, learner, budget="paper")
        for version in (1, 2):
            add(tmp_path, learner, gain=0.1 if learner == "mnas" else 0.0, suite_version=version)
    found = sides("mnas", "maml", tmp_path)
    assert found.alone == ()
    said = [comparison.left for comparison in compare_pairs(found.pairs)]
    place = "mnas on multidataset@5w1s, budget"
    assert sorted(said) == [
        f"{place} lite, suite version 1, seed 0",
        f"{place} lite, suite version 2, seed 0",
        f"{place} paper, seed 0",
    ]
    (one,) = sides("mnas (suite version 2)", "maml", tmp_path).pairs
    assert [config.spec.suite_version for config in one] == [2, 2]


def test_nothing_in_common(tmp_path: Path) -> None:
    for setting in ("5w1s", "5w5s"):
        add(tmp_path, "mnas", setting=setting)
    add(tmp_path, "maml", setting="20w1s")
    with pytest.raises(UsageError, match="no runs under the same conditions: setting 5w1s or 20"):
        sides("mnas", "maml", tmp_path)


def test_unknown_names_have_hints(tmp_path: Path) -> None:
    add(tmp_path, "maml")
    with pytest.raises(UsageError, match="Unknown folder, run or learner") as caught:
        sides("maml", "malm", tmp_path)
    assert caught.value.hint == "Did you mean maml?"
    with pytest.raises(DataError, match=r"No finished run below .* matches"):
        sides("maml", "maml", tmp_path, suite="omniglot")


def test_another_prediction_is_compared(tmp_path: Path) -> None:
    for learner, level in (("mnas", 0.9), ("maml", 0.1)):
        folder = add(tmp_path, learner)
        lines = (folder / "episodes.jsonl").read_text().splitlines()
        found = [{**json.loads(line), "variants": {"pruned": level}} for line in lines]
        (folder / "episodes.jsonl").write_text("".join(f"{json.dumps(v)}\n" for v in found))
    ((left, right),) = sides("mnas", "maml", tmp_path, evaluation="pruned").pairs
    found_columns = compare(left, right, evaluation="pruned").columns
    assert found_columns[0].difference.mean == pytest.approx(80.0)
    with pytest.raises(DataError, match=r"No finished run below .* matches"):
        sides("mnas", "maml", tmp_path, evaluation="absent")


# Words -----------------------------------------------------------------------------------------


def test_text_and_json_agree(tmp_path: Path) -> None:
    add(tmp_path, "mnas", gain=0.1)
    add(tmp_path, "maml")
    found = compared(tmp_path, difference=2.0)
    text = comparison_text([found], ["hsml on x@y"], FULL)
    assert "A: mnas on multidataset@5w1s, budget lite, seed 0\nB: maml" in text
    assert "bird     24.50  19.50  +5.00  [+3.45, +6.55]" in text
    said = " ".join(text.split())
    assert " df " not in text  # one seed each
    assert (
        "Scores are in %, differences in percentage points; more is better. "
        "Interval: mean paired difference ± z std/sqrt(n)"
    ) in said
    words = "50 episodes are enough to detect a true difference of 2 with probability 0.8"
    assert f"For average: {words}" in said
    short = comparison_text([found], ())
    assert f"For average: {words}" in " ".join(short.split())
    assert "✓ A is better: A - B on average is +5.00 points [" in short
    assert "With one seed this holds for these networks, not the learners" in short
    assert text.endswith("\nRuns without a counterpart on the other side: hsml on x@y.\n")
    values = json.loads(comparison_json([found], ["hsml on x@y"]))
    column = values["comparisons"][0]["columns"][0]
    assert column["difference"] == pytest.approx(5.0)
    assert column["low"] == pytest.approx(3.45, abs=0.005)
    assert values["without_counterpart"] == ["hsml on x@y"]
    assert values["comparisons"][0]["extremes"][0]["difference"] == pytest.approx(10.0)


@pytest.mark.parametrize("size", ["0", "nan", "-1", "-inf"])
def test_a_difference_that_nothing_shows_is_refused(tmp_path: Path, size: str) -> None:
    add(tmp_path, "mnas", gain=0.1)
    add(tmp_path, "maml")
    words = ["compare", "mnas", "maml", str(tmp_path), "--difference", size]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert f"--difference {size} is not above 0." in result.stderr


def test_weights_of_a_column() -> None:
    assert weights_of("average", ("a", "b", "c", "d")) == dict.fromkeys("abcd", 0.25)
    assert weights_of("b", ("a", "b")) == {"b": 1.0}


def test_differences_in_words_name_three_and_count_the_rest() -> None:
    first = dict.fromkeys("abcde", "1")
    assert difference_in_words(first, first) == ""
    assert difference_in_words(first, first | {"b": "2"}) == "b 1 or 2"
    text = difference_in_words(first, {})
    assert text == "a 1 or absent, b 1 or absent, c 1 or absent and 2 more"


def test_the_source_is_named_of_which_no_episode_is_shared(tmp_path: Path) -> None:
    add(tmp_path, "maml")
    path = add(tmp_path, "mnas") / "episodes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::2]))
    with pytest.raises(DataError, match=r"not tested on the same episodes of texture\.$"):
        compared(tmp_path)
