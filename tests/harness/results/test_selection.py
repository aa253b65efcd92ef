"""Runs are selected by name; what does not exist is said, with what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_factory import make_spec, write_run

from metabench.errors import UsageError
from metabench.results.reading import Results, read_runs
from metabench.results.selection import ALL, Selection, absent, select


@pytest.fixture
def results(tmp_path: Path) -> Results:
    for seed in (0, 1):
        write_run(tmp_path, make_spec("maml", seed=seed))
        write_run(tmp_path, make_spec("reptile", seed=seed, budget="smoke"))
    write_run(tmp_path, make_spec("maml", suite="omniglot", setting="20w1s"))
    return read_runs(tmp_path)


def named(results: Results) -> set[tuple[str, str, str, int]]:
    specs = [run.record.spec for run in results.runs]
    return {(spec.suite, spec.learner.name, spec.budget, spec.seed) for spec in specs}


def test_nothing_is_left_out_where_nothing_is_selected(results: Results) -> None:
    assert select(results, ALL) is results
    assert not ALL
    assert len(results.runs) == 5


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (Selection(learners=("reptile",)), 2),
        (Selection(learners=("reptile", "maml")), 5),
        (Selection(suites=("omniglot",)), 1),
        (Selection(settings=("20w1s",)), 1),
        (Selection(budgets=("lite",)), 3),
        (Selection(seeds=(1,)), 2),
        (Selection(learners=("maml",), seeds=(0,), suites=("multidataset",)), 1),
    ],
)
def test_runs_that_have_all_that_is_wanted_are_kept(
    results: Results, selection: Selection, kept: int
) -> None:
    found = select(results, selection)
    assert len(found.runs) == kept
    assert all(selection.keeps(run) for run in found.runs)
    assert named(found) <= named(results)
    assert found.problems == results.problems


def test_an_unknown_name_is_an_error_that_suggests_a_near_one(results: Results) -> None:
    with pytest.raises(UsageError, match="learner 'malm' of the finished runs") as error:
        select(results, Selection(learners=("malm",)))
    assert error.value.hint == "Did you mean maml?"
    with pytest.raises(UsageError, match="Unknown seed '7'") as error:
        select(results, Selection(seeds=(7,)))
    assert error.value.hint == "Known: 0, 1."


def test_a_selection_of_nothing_says_what_there_is(results: Results) -> None:
    selection = Selection(learners=("reptile",), suites=("omniglot",))
    with pytest.raises(UsageError, match="has learner reptile, suite omniglot") as error:
        select(results, selection)
    assert "omniglot @ 20w1s (learner maml; budget lite; seed 0)" in error.value.hint
    assert "multidataset @ 5w1s (learner maml, reptile" in error.value.hint


def test_a_name_without_a_run_in_the_selection_is_said(results: Results) -> None:
    selection = Selection(learners=("maml", "reptile"), suites=("omniglot",))
    found = select(results, selection)
    assert len(found.runs) == 1
    (said,) = absent(found.runs, selection)
    assert said == "Learner reptile has no run here with suite omniglot."
    settings = Selection(learners=("reptile",), settings=("5w1s", "20w1s"), seeds=(0, 1))
    (said,) = absent(select(results, settings).runs, settings)
    assert said == "Setting 20w1s has no run here with learner reptile, seed 0 or 1."
    assert not [*absent(results.runs, ALL)]
