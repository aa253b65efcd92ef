"""Compact tables: what stands side by side, what is said once, and which rows have a note."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_factory import make_spec, write_run

from metabench.planning.runspec import Training
from metabench.render.as_tex import render
from metabench.render.compact import CompactTable, Line, compact_table, side_by_side
from metabench.render.print_names import PrintNames
from metabench.render.row_conditions import NOT_COMPARED
from metabench.reports.build import build_report
from metabench.reports.tables import Table
from metabench.results.reading import read_runs

NAMES = PrintNames(
    learners={"maml": "MAML", "protonet": "ProtoNet"},
    networks={"conv4": "Conv-4"},
    suites={"miniimagenet": "MiniImagenet", "omniglot": "Omniglot"},
)


def add(folder: Path, learner: str, suite: str = "omniglot", scores=(0.5, 0.25, 1, 0.5), **changes):
    """A run of one source; what a record says besides its spec has a name of its own."""
    record = {k: changes.pop(k) for k in ("n_params", "stamps", "backend") if k in changes}
    seeds = changes.pop("seeds", (0,))
    for seed in seeds:
        spec = make_spec(learner, suite=suite, sources=(suite,), seed=seed, **changes)
        write_run(folder, spec, [score - 0.01 * seed for score in scores], **record)


def tables_of(folder: Path) -> tuple[Table, ...]:
    return build_report(read_runs(folder)).tables


def compact(folder: Path, *, networks_shown: bool = False) -> CompactTable:
    (group,) = side_by_side(tables_of(folder))
    return compact_table(group, NAMES, networks_shown=networks_shown, comments=())


def line(table: CompactTable, name: str) -> Line:
    (found,) = (one for one in table.lines if one.left[0] == name)
    return found


def test_suites_and_settings_stand_side_by_side(tmp_path: Path) -> None:
    for learner in ("maml", "protonet"):
        for setting in ("5w1s", "5w5s"):
            add(tmp_path, learner, "miniimagenet", setting=setting)
        add(tmp_path, learner, "omniglot")
    table = compact(tmp_path)
    assert table.columns == (
        ("MiniImagenet", "5-way 1-shot"),
        ("MiniImagenet", "5-way 5-shot"),
        ("Omniglot", "5-way 1-shot"),
    )
    assert [one.left for one in table.lines] == [("MAML",), ("ProtoNet",)]
    assert table.caption.startswith("Accuracy (%) on MiniImagenet and Omniglot: mean ± 95 %")
    assert table.label == "tab:miniimagenet-omniglot"


def test_a_learner_that_one_suite_lacks_has_a_gap_there(tmp_path: Path) -> None:
    add(tmp_path, "maml", "omniglot")
    add(tmp_path, "protonet", "omniglot")
    add(tmp_path, "maml", "miniimagenet")
    table = compact(tmp_path)
    assert line(table, "ProtoNet").numbers[0] is None
    assert all(number is not None for number in line(table, "MAML").numbers)


def test_tables_of_other_learners_or_metrics_stay_apart(tmp_path: Path) -> None:
    for learner in ("a", "b"):
        add(tmp_path, learner, "omniglot")
    for learner in ("c", "d"):
        add(tmp_path, learner, "miniimagenet")
    for learner in ("a", "b"):
        add(tmp_path, learner, "sines", metric="mse")
    assert [len(group) for group in side_by_side(tables_of(tmp_path))] == [1, 1, 1]


def test_what_is_equal_is_said_once(tmp_path: Path) -> None:
    for learner in ("maml", "protonet", "reptile"):
        add(tmp_path, learner, stamps=("lite", "subset"), seeds=(0, 1))
    table = compact(tmp_path, networks_shown=True)
    assert table.left == ("Learner",)
    assert table.columns == (("Accuracy (%)",),)
    assert table.caption == (
        "Accuracy (%) on Omniglot, 5-way 1-shot: mean ± 95 % interval over 2 seeds, "
        "4 test episodes. Bold: best. Budget lite, stamps subset."
    )
    assert {one.note for one in table.lines} == {""}
    assert table.usual == ""


@pytest.mark.parametrize(
    ("changes", "note", "usual"),
    [
        ({"stamps": ("lite", "custom")}, "stamps custom", ""),
        (
            {"training": Training(meta_steps=30, meta_batch=4)},
            "30 meta-steps of 4 episodes",
            "10 meta-steps of 4 episodes",
        ),
        ({"training": Training(meta_steps=0, meta_batch=1)}, "not trained", "10 meta-steps of 4"),
        ({"seeds": (0, 1)}, "2 seeds; interval over seeds", ""),
    ],
)
def test_a_row_under_other_conditions_has_a_note(
    tmp_path: Path, changes: dict, note: str, usual: str
) -> None:
    add(tmp_path, "maml")
    add(tmp_path, "protonet")
    add(tmp_path, "reptile", **changes)
    table = compact(tmp_path)
    assert line(table, "reptile").note == note
    assert line(table, "MAML").note == line(table, "ProtoNet").note == ""
    assert usual in table.usual
    assert bool(usual) == bool(table.usual)


def test_where_no_condition_is_usual_every_row_has_a_note(tmp_path: Path) -> None:
    add(tmp_path, "maml", budget="lite")
    add(tmp_path, "protonet", budget="paper")
    table = compact(tmp_path)
    assert line(table, "MAML").note == f"budget lite; {NOT_COMPARED}"
    assert line(table, "ProtoNet").note == f"budget paper; {NOT_COMPARED}"
    assert "udget" not in table.caption


def test_a_condition_in_one_suite_alone_is_noted_on_its_numbers(tmp_path: Path) -> None:
    for learner in ("maml", "protonet", "reptile"):
        for suite in ("omniglot", "miniimagenet"):
            other = learner == "reptile" and suite == "omniglot"
            add(tmp_path, learner, suite, stamps=("lite", "custom") if other else ("lite",))
    reptile = line(compact(tmp_path), "reptile")
    assert reptile.note == ""
    assert [number.note for number in reptile.numbers if number] == ["", "stamps custom"]


def test_networks_have_columns_or_notes(tmp_path: Path) -> None:
    add(tmp_path, "maml", backend="conv4")
    add(tmp_path, "reptile", backend="conv4")
    add(tmp_path, "protonet", backend="conv4(filters=64)", n_params=100_000)
    shown, noted = (compact(tmp_path, networks_shown=shown) for shown in (True, False))
    assert shown.left == ("Learner", "Network", "Weights")
    assert line(shown, "ProtoNet").left == ("ProtoNet", "Conv-4 (filters=64)", "100,000")
    assert {one.note for one in shown.lines} == {""}
    assert line(noted, "ProtoNet").note == "Conv-4 (filters=64); 100,000 weights"
    assert noted.usual == "Conv-4; 32,901 weights"


def test_rows_that_are_compared_stand_in_blocks_each_with_a_best(tmp_path: Path) -> None:
    for budget in ("paper", "lite"):
        add(tmp_path, "maml", budget=budget)
        add(tmp_path, "protonet", budget=budget, scores=(0, 0, 0, 0.25))
    table = compact(tmp_path)
    assert [one.block for one in table.lines] == ["budget lite"] * 2 + ["budget paper"] * 2
    assert [one.numbers[0].mark for one in table.lines if one.numbers[0]].count("best") == 2
    assert "Bold: best of its block" in table.caption


def test_variants_of_a_learner_have_lines_and_names_of_their_own(tmp_path: Path) -> None:
    for suite in ("omniglot", "miniimagenet"):
        add(tmp_path, "maml", suite, params={"order": "first"})
        add(tmp_path, "maml", suite, params={"order": "second"})
    table = compact(tmp_path)
    assert [one.left[0] for one in table.lines] == ["MAML (order=first)", "MAML (order=second)"]
    assert all(len(one.numbers) == 2 and None not in one.numbers for one in table.lines)


def test_a_long_variant_becomes_a_note(tmp_path: Path) -> None:
    for steps in ("[1, 2, 3]", "[4, 5, 6, 7]"):
        add(tmp_path, "maml", params={"schedule_of_steps": steps})
    table = compact(tmp_path)
    assert {one.left[0] for one in table.lines} == {"MAML"}
    assert sorted(one.note for one in table.lines) == [
        "schedule_of_steps=[1, 2, 3]",
        "schedule_of_steps=[4, 5, 6, 7]",
    ]


def test_learners_with_one_title_keep_their_names(tmp_path: Path) -> None:
    add(tmp_path, "maml")
    add(tmp_path, "their-maml")
    names = PrintNames(learners={"maml": "MAML", "their-maml": "MAML"})
    table = compact_table(tables_of(tmp_path), names, networks_shown=False, comments=())
    assert [one.left[0] for one in table.lines] == ["maml", "their-maml"]


def test_marks_are_those_of_the_report(tmp_path: Path) -> None:
    add(tmp_path, "maml", scores=(1, 1, 1, 0.9))
    add(tmp_path, "protonet", scores=(1, 0.8, 1, 0.9))
    add(tmp_path, "reptile", scores=(0.1, 0.2, 0.1, 0.1))
    (table,) = tables_of(tmp_path)
    marks = {row.learner: row.cells["omniglot"].mark for row in table.rows}
    assert set(marks.values()) == {"best", "tied", "worse"}
    shown = compact(tmp_path)
    for row in table.rows:
        number = line(shown, NAMES.learner(row.learner)).numbers[0]
        assert number is not None
        assert number.mark == row.cells["omniglot"].mark


def test_the_network_of_each_suite_is_named_where_suites_differ(tmp_path: Path) -> None:
    for learner in ("maml", "protonet"):
        add(tmp_path, learner, "omniglot", backend="conv4")
        add(tmp_path, learner, "miniimagenet", backend="conv4(filters=32)")
    for networks_shown in (False, True):  # no table has a column, as no network varies in it
        table = compact(tmp_path, networks_shown=networks_shown)
        assert table.usual == "MiniImagenet: Conv-4 (filters=32); Omniglot: Conv-4"
        assert all(not one.note for one in table.lines)
    text = render(build_report(read_runs(tmp_path)), names=NAMES)  # though no row has a note
    assert "\nMiniImagenet: Conv-4 (filters=32); Omniglot: Conv-4." in text.replace(
        "\\allowbreak{}", ""
    )
    assert "Without a mark" not in text


def test_a_network_that_all_suites_share_is_not_named(tmp_path: Path) -> None:
    for learner in ("maml", "protonet"):
        for suite in ("omniglot", "miniimagenet"):
            add(tmp_path, learner, suite, backend="conv4")
    assert compact(tmp_path).usual == ""


def test_a_row_without_inner_steps_is_not_taken_for_one_with_the_usual_steps(
    tmp_path: Path,
) -> None:
    learners = {"maml": 5, "anil": 5, "mtnet": 5, "reptile": 5, "tnas": 50, "protonet": 0}
    for learner, steps in {**learners, "older": None}.items():
        write_run(tmp_path, make_spec(learner, sources=("omniglot",)), steps_at_test=steps)
    table = compact(tmp_path)
    assert table.usual == "5 inner steps at test"
    notes = {one.left[0]: one.note for one in table.lines}
    assert notes["MAML"] == ""
    assert notes["tnas"] == "50 inner steps at test"
    assert notes["ProtoNet"] == "no inner step at test"
    assert notes["older"] == "unrecorded inner steps at test"
