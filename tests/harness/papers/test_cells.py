"""Which runs fill the cells of a paper's table, and what cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.papers.cells import Wanted, plan_table
from metabench.papers.reference import Reference
from metabench.papers.reference_files import find_reference
from metabench.papers.report import has_params
from metabench.plugin.catalog import Catalog


def table(catalog: Catalog, key: str = "m-nas/table-1") -> Reference:
    return find_reference(catalog, key)


@pytest.fixture(autouse=True)
def _no_data(data_root: Path) -> None:
    """Tables of images are planned without their data."""


def test_every_row_is_planned_at_the_budget_of_the_table(catalog: Catalog) -> None:
    plan = plan_table(table(catalog), catalog, Wanted(seeds=(0, 1)))
    learners = [row.learner for row in plan.reference.rows]
    assert [run.spec.learner.name for run in plan.runs] == [x for x in learners for _ in (0, 1)]
    assert {run.spec.budget for run in plan.runs} == {"paper"}
    assert {run.stamps for run in plan.runs} == {()}
    assert plan.left_out == ()


def test_rows_are_named_as_printed_or_by_learner(catalog: Catalog) -> None:
    wanted = Wanted(rows=("m-nas", "HSML-notree"), budget="smoke")
    plan = plan_table(table(catalog), catalog, wanted)
    assert [run.spec.learner.name for run in plan.runs] == ["hsml-notree", "mnas"]
    assert {run.stamps for run in plan.runs} == {("smoke",)}


@pytest.mark.parametrize(
    ("wanted", "said", "hint"),
    [
        (Wanted(rows=("mnaz",)), "Unknown row 'mnaz' of m-nas/table-1.", "mnas"),
        (Wanted(settings=("10-shoot",)), "Unknown setting '10-shoot'", "Did you mean 10-shot?"),
        (Wanted(budget="smok"), "Unknown budget 'smok'", "Did you mean smoke?"),
    ],
)
def test_unknown_names_get_the_nearest(
    catalog: Catalog, wanted: Wanted, said: str, hint: str
) -> None:
    with pytest.raises(UsageError) as error:
        plan_table(table(catalog), catalog, wanted)
    assert said in error.value.message
    assert hint in error.value.hint


def test_a_system_without_a_learner_is_named(catalog: Catalog) -> None:
    key, left = "protonet/table-1", "Matching networks, fine-tuned"
    plan = plan_table(table(catalog, key), catalog, Wanted(settings=("5w1s",)))
    assert f"{left}: metabench has no such learner." in plan.left_out
    assert "protonet" in {run.spec.learner.name for run in plan.runs}
    with pytest.raises(UsageError, match=f"{left}: metabench has no such learner"):
        plan_table(table(catalog, key), catalog, Wanted(rows=(left,)))


def test_every_row_of_anil_has_a_learner(catalog: Catalog) -> None:
    plan = plan_table(table(catalog, "anil/table-4"), catalog, Wanted(settings=("5w1s",)))
    assert [run.spec.learner.name for run in plan.runs] == ["maml", "anil", "nil"]
    assert not plan.left_out


def test_a_row_is_run_on_the_network_that_it_asks_for(catalog: Catalog) -> None:
    """A list among its parameters is one value, and no sweep."""
    wanted = Wanted(rows=("R2D2", "Prototypical Networks"), settings=("5w1s",))
    plan = plan_table(table(catalog, "metaoptnet/table-1-miniimagenet"), catalog, wanted)
    asked = {row.learner: row.network_params for row in plan.reference.rows}
    assert [run.spec.learner.name for run in plan.runs] == ["protonet", "r2d2"]
    for run in plan.runs:
        assert run.spec.space is not None
        assert has_params(run.spec.space, asked[run.spec.learner.name])


def test_a_learner_that_is_not_installed_is_named(catalog: Catalog) -> None:
    values = table(catalog).model_dump(mode="json")
    values["metric"] = "mse"
    values["rows"][0]["learner"] = "nobody"
    plan = plan_table(Reference.model_validate(values), catalog, Wanted())
    assert plan.left_out == ("MAML: the learner nobody is not installed.",)
    assert len(plan.runs) == 7


def test_a_dash_of_the_paper_is_not_run(catalog: Catalog) -> None:
    plan = plan_table(table(catalog, "metanas/table-2"), catalog, Wanted(rows=("TADAM", "MAML")))
    places = {(run.spec.learner.name, run.spec.suite) for run in plan.runs}
    assert ("maml", "omniglot") in places
    assert ("tadam", "omniglot") not in places
    assert ("tadam", "miniimagenet") in places


def test_a_row_brings_its_parameters_network_and_normalization(catalog: Catalog) -> None:
    of_optnet = plan_table(table(catalog, "metanas/table-2"), catalog, Wanted(rows=("MetaOptNet",)))
    for run in of_optnet.runs:
        assert run.spec.space is not None
        assert run.spec.space.name == "resnet12"
        assert run.spec.learner.params["label_smoothing"] == 0
    wanted = Wanted(rows=("reptile",), settings=("5w1s",))
    one, other = plan_table(table(catalog, "reptile/table-1"), catalog, wanted).runs
    assert one.spec.protocol.normalization == "inductive"
    assert other.spec.protocol.normalization == "transductive"
