"""In what a run departs from its suite, and what a paper's table makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from result_factory import PROVENANCE, write_run

from metabench.errors import UsageError
from metabench.papers.deviations import Deviations
from metabench.papers.reference import Reference
from metabench.papers.reference_files import find_reference
from metabench.papers.report import build_paper_report
from metabench.papers.table import PaperRow, PaperTable
from metabench.planning.overrides import parse_changes
from metabench.planning.plan import PlannedRun, RunRequest, plan
from metabench.planning.runspec import RunSpec
from metabench.plugin.catalog import Catalog
from metabench.reports.build import build_report
from metabench.results.configurations import Configuration, configurations
from metabench.results.reading import read_runs

LEARNERS = ("maml", "reptile", "mtnet", "bmaml", "mumomaml", "hsml", "mnas", "mnas-nm")


def cell(catalog: Catalog, learner: str = "maml", *sets: str, **asked: Any) -> PlannedRun:
    values = {"suite": "toy-regression", "budget": "paper", "changes": parse_changes(sets), **asked}
    return plan(RunRequest(learners=(learner,), **values), catalog)[0]


def run_of(cell: PlannedRun, folder: Path, spec: RunSpec | None = None) -> Configuration:
    """A run of the cell with made-up scores, as a report reads it."""
    spec = (spec or cell.spec).model_copy(
        update={"protocol": cell.spec.protocol.model_copy(update={"episodes": 4})}
    )
    provenance = PROVENANCE.model_copy(update={"command": cell.command, "changes": cell.changes})
    scores = [0.5 + 0.1 * (i % 3) for i in range(4 * len(spec.sources))]
    write_run(folder, spec, scores, provenance=provenance, stamps=cell.stamps)
    return configurations(read_runs(folder).runs)[-1]


def names(found: Configuration, catalog: Catalog) -> list[str]:
    return [deviation.name for deviation in Deviations(catalog).of(found)]


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("budget", ["smoke", "paper"])
def test_what_a_suite_gives_is_no_departure(catalog, tmp_path, learner, budget):
    found = run_of(cell(catalog, learner, budget=budget), tmp_path)
    assert Deviations(catalog).of(found) == ()


def test_each_parameter_that_the_user_set_is_one(catalog, tmp_path):
    sets = ("learner.order=first", "learner.inner_lr=0.5", "learner.inner_steps=5")
    found = Deviations(catalog).of(run_of(cell(catalog, "maml", *sets), tmp_path))
    assert [deviation.label for deviation in found] == ["inner_lr=0.5", "order=first"]
    assert found[1].reason == "learner.order=first, but the suite has second"


@pytest.mark.parametrize(
    ("learner", "sets", "asked", "expected"),
    [
        ("maml", ["space.norm=batch"], {}, ["network.norm"]),
        ("mnas", [], {"strategy": "gumbel"}, ["strategy"]),
        ("maml", [], {"space": "toy-cell", "strategy": "darts"}, ["network", "strategy"]),
        ("maml", ["budget.meta_steps=3"], {}, []),  # stamped custom
    ],
)
def test_network_and_strategy_count_too(catalog, tmp_path, learner, sets, asked, expected):
    found = run_of(cell(catalog, learner, *sets, **asked), tmp_path)
    assert names(found, catalog) == expected


def test_an_option_that_is_left_out_while_off_is_one_where_it_is_on(catalog, tmp_path):
    request = RunRequest(
        learners=("protonet",), suite="omniglot", budget="smoke", data="synthetic",
        changes=parse_changes(["network.norm=running"]),
    )  # fmt: skip
    (made,) = plan(request, catalog)
    (norm,) = Deviations(catalog).of(run_of(made, tmp_path))
    assert (norm.name, norm.label) == ("network.norm", "norm=running")
    assert norm.reason == "network.norm=running, but the suite has batch"


def test_a_reason_says_network_where_a_record_says_space(catalog, tmp_path):
    made = cell(catalog, "maml", "space.norm=batch")
    (norm,) = Deviations(catalog).of(run_of(made, tmp_path / "a"))
    assert norm.reason == "network.norm=batch, but the suite has none"
    asked = {"space": "toy-cell", "strategy": "darts"}
    made = cell(catalog, "maml", **asked)
    other, strategy = Deviations(catalog).of(run_of(made, tmp_path / "b"))
    assert strategy.reason == "strategy=darts, but the suite has none"
    assert (other.label, other.reason) == (
        "network=toy-cell",
        "network=toy-cell, but the suite has mlp",
    )


def test_a_quoted_value_counts_as_set_by_the_user(catalog, tmp_path):
    genotype = "{cell: [[0, 2, skip], [1, 2, linear]]}"
    asked = {"space": "toy-cell", "strategy": "fixed"}
    made = cell(catalog, "maml", f"strategy.genotype={genotype}", **asked)
    found = run_of(made, tmp_path)
    assert found.changes["strategy"].keys() == {"genotype"}
    (row,) = build_report(read_runs(tmp_path)).tables[0].rows
    assert row.facts == (f"genotype={genotype}",)
    assert "does not set it" not in " ".join(d.reason for d in Deviations(catalog).of(found))


def test_a_strategy_that_the_suite_does_not_give_is_one_and_its_default_is_called_so(
    catalog, tmp_path
):
    asked = {"space": "toy-cell", "strategy": "fixed"}
    made = cell(
        catalog, "maml", "strategy.genotype={cell: [[0, 2, skip], [1, 2, linear]]}", **asked
    )
    reasons = [d.reason for d in Deviations(catalog).of(run_of(made, tmp_path))]
    assert "strategy=fixed, but the suite has none" in reasons
    assert reasons[-1].endswith("[1, 2, linear]]}, but the default is first")


def changed(spec: RunSpec, **params: Any) -> RunSpec:
    learner = spec.learner
    new = learner.model_copy(update={"params": {**learner.params, **params}})
    return spec.model_copy(update={"learner": new})


def test_a_default_that_changed_since_is_said_to_be_no_choice_of_the_user(catalog, tmp_path):
    made = cell(catalog)
    (found,) = Deviations(catalog).of(run_of(made, tmp_path, changed(made.spec, inner_lr=0.5)))
    assert found.reason == (
        "learner.inner_lr=0.5, which the run's command does not set; the suite now has 0.001"
    )


def test_a_parameter_that_is_gone_is_one_and_a_new_one_is_not(catalog, tmp_path):
    made = cell(catalog)
    (found,) = Deviations(catalog).of(run_of(made, tmp_path / "a", changed(made.spec, warmth=3)))
    assert found.reason == "learner.warmth=3, but maml no longer has this parameter"
    params = {name: v for name, v in made.spec.learner.params.items() if name != "order"}
    older = made.spec.learner.model_copy(update={"params": params})
    spec = made.spec.model_copy(update={"learner": older})
    assert names(run_of(made, tmp_path / "b", spec), catalog) == []


def test_another_version_of_suite_or_plugin_is_one(catalog, tmp_path):
    made = cell(catalog)
    learner = made.spec.learner.model_copy(update={"version": 7})
    spec = made.spec.model_copy(update={"suite_version": 9, "learner": learner})
    found = Deviations(catalog).of(run_of(made, tmp_path, spec))
    assert [deviation.reason for deviation in found] == [
        "our runs used suite toy-regression version 9, but version "
        f"{made.spec.suite_version} is installed",
        f"our runs used maml version 7, but version {made.spec.learner.version} is installed",
    ]


@pytest.mark.parametrize("gone", ["suites", "learners"])
def test_what_is_not_installed_any_more_is_an_error(catalog, tmp_path, gone):
    found = run_of(cell(catalog), tmp_path)
    with pytest.raises(UsageError, match="Unknown"):
        Deviations(replace(catalog, **{gone: {}})).of(found)


def paper_row(folder: Path, catalog: Catalog, reference: Reference | None = None) -> PaperRow:
    reference = reference or find_reference(catalog, "m-nas/table-1")
    (table,) = build_paper_report(read_runs(folder), reference, catalog=catalog).tables
    assert isinstance(table, PaperTable)
    return next(row for row in table.rows if row.ours)


def verdict_of(row: PaperRow) -> tuple[str, str]:
    verdict = row.cells["average"].verdict
    assert verdict is not None
    return verdict.outcome, verdict.reason.partition(" With deviations from the sources")[0]


def test_a_variant_is_named_in_the_papers_row_and_not_judged(catalog, tmp_path):
    run_of(cell(catalog, "maml", "learner.order=first", "learner.inner_lr=0.5"), tmp_path)
    row = paper_row(tmp_path, catalog)
    assert row.method == "MAML"
    assert row.ours[0].variant == "inner_lr=0.5, order=first"
    assert verdict_of(row) == (
        "not comparable",
        "learner.inner_lr=0.5, but the suite has 0.001; "
        "learner.order=first, but the suite has second.",
    )


def test_beside_a_twin_nothing_is_named_twice(catalog, tmp_path):
    run_of(cell(catalog, "maml", "learner.order=first", "learner.inner_lr=0.5"), tmp_path)
    run_of(cell(catalog, "maml", "learner.order=first"), tmp_path)
    reference = find_reference(catalog, "m-nas/table-1")
    (table,) = build_paper_report(read_runs(tmp_path), reference, catalog=catalog).tables
    assert isinstance(table, PaperTable)
    variants = sorted(ours.variant for row in table.rows for ours in row.ours)
    assert variants == ["inner_lr=0.001, order=first", "inner_lr=0.5, order=first"]


def test_what_the_row_asks_for_is_no_obstacle(catalog, tmp_path):
    run_of(cell(catalog, "maml", "learner.order=first"), tmp_path)
    reference = find_reference(catalog, "m-nas/table-1")
    first = reference.rows[0].model_copy(update={"learner_params": {"order": "first"}})
    asking = reference.model_copy(update={"rows": (first, *reference.rows[1:])})
    row = paper_row(tmp_path, catalog, asking)
    assert row.ours[0].variant == "order=first"  # said, and not held against it
    assert verdict_of(row)[0] != "not comparable"


def test_without_the_suite_there_is_no_verdict(catalog, tmp_path):
    run_of(cell(catalog), tmp_path)
    row = paper_row(tmp_path, replace(catalog, suites={}))
    outcome, reason = verdict_of(row)
    assert outcome == "not comparable"
    assert (
        "our parameters cannot be compared with those of the suite (Unknown suite 'toy-regression')"
        in reason
    )


def test_a_variant_stays_one_through_an_evaluation(catalog, tmp_path):
    found = run_of(cell(catalog, "maml", "learner.order=first"), tmp_path)
    seen = replace(found, runs=(replace(found.runs[0], evaluation="extrapolation"),))
    assert names(seen, catalog) == ["learner.order"]


def test_a_long_value_is_shortened(catalog, tmp_path):
    made = cell(catalog)
    (found,) = Deviations(catalog).of(run_of(made, tmp_path, changed(made.spec, order="x" * 99)))
    assert found.label == f"order={'x' * 37}..."
