import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from result_factory import make_spec, write_run

from metabench.render.page.dot_plot import dot_plots, standalone_svg
from metabench.reports.build import build_report
from metabench.reports.tables import Table
from metabench.results.metrics import FORMER
from metabench.results.reading import read_runs


@pytest.fixture
def table(tmp_path) -> Table:
    """Accuracies, of two budgets that are not compared with each other."""
    for i, learner in enumerate(("maml", "mnas", "reptile")):
        for budget in ("lite", "paper"):
            scores = [(k % 5 + i) / 8 for k in range(80)]
            spec = make_spec(learner, budget=budget, episodes=40)
            write_run(tmp_path, spec, scores, transductive=False)
    (table,) = build_report(read_runs(tmp_path)).tables
    assert isinstance(table, Table)
    return table


def test_rows_are_ranked_among_those_that_can_be_compared(table):
    first, second = dot_plots(table)
    assert (first.letter, second.letter) == ("A", "B")
    assert [dot.name for dot in first.dots] == ["reptile", "mnas", "maml"]
    assert [dot.cell.mean for dot in first.dots] == sorted(
        (dot.cell.mean for dot in first.dots), reverse=True
    )


def test_an_error_is_ranked_the_other_way_and_has_a_log_scale(table):
    row = table.rows[0]
    cell = replace(row.cells["average"], half_width=0.01, unit="mse")
    means = {"a": 0.02, "b": 90.0, "c": 1.0}
    rows = tuple(
        replace(row, learner=name, conditions="", cells={"average": replace(cell, mean=mean)})
        for name, mean in means.items()
    )
    (plot,) = dot_plots(replace(table, metric=FORMER["mse"], rows=rows))
    assert [dot.name for dot in plot.dots] == ["a", "c", "b"]
    assert plot.log
    assert {"0.1", "1", "10"} <= {said for _, said in plot.ticks}


def test_positions_are_on_the_plot_and_in_order(table):
    for plot in dot_plots(table):
        for dot in plot.dots:
            assert 0 <= dot.low <= dot.mean <= dot.high <= 100
        assert [at for at, _ in plot.ticks] == sorted(at for at, _ in plot.ticks)
        assert len(plot.ticks) >= 2


def test_a_number_without_an_interval_is_a_dot(table):
    row = table.rows[0]
    cells = {"average": replace(row.cells["average"], half_width=math.nan)}
    (plot,) = dot_plots(replace(table, rows=(replace(row, cells=cells, conditions=""),)))
    (dot,) = plot.dots
    assert dot.low == dot.mean == dot.high


def test_names_say_what_tells_rows_of_a_learner_apart(table):
    one, other = (replace(table.rows[0], conditions="") for _ in range(2))
    shared = ("order=first", "steps=5")
    rows = (
        replace(one, facts=shared),
        replace(other, facts=("order=second", "steps=5")),
        replace(one, learner="mnas", facts=("steps=5",)),
    )
    (plot,) = dot_plots(replace(table, rows=rows))
    assert sorted(dot.name for dot in plot.dots) == [
        "maml (order=first)",
        "maml (order=second)",
        "mnas",
    ]
    assert plot.heading == "budget lite, steps=5"
    (plot,) = dot_plots(replace(table, rows=(one, replace(other, network="wide"))))
    assert {dot.name for dot in plot.dots} == {f"maml, {one.network}", "maml, wide"}


def test_rows_with_one_letter_have_one_version_of_the_suite(table):
    rows = [replace(table.rows[0], conditions="A", facts=()) for _ in range(2)]
    told = replace(rows[0], facts=("suite version 1",))
    (plot,) = dot_plots(replace(table, rows=(told, rows[1])))
    assert plot.heading == "budget lite, suite version 1"


def test_the_file_has_every_row(table):
    root = ElementTree.fromstring(standalone_svg(table))
    name = "{http://www.w3.org/2000/svg}"
    texts = [one.text for one in root.iter(f"{name}text")]
    assert all(texts.count(row.learner) == 2 for row in table.rows)
    assert len([*root.iter(f"{name}circle")]) == len(table.rows)
