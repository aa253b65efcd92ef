"""The price of planned runs: what is left, what is not known, what is missing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from metabench.planning.plan import PlannedRun, RunRequest, plan, plan_all, suite_of
from metabench.planning.training_identity import training_id
from metabench.plugin.catalog import Catalog
from metabench.results.costs import Costs, KnownCosts, Stretch
from metabench.results.price import (
    Price,
    kind_of,
    known_costs,
    priced,
    states_in,
    trained_by_others,
)
from metabench.running.executors import Job, run_job

COSTS = Costs(stretches=(Stretch(start=0, stop=1, step_seconds=1),), test_seconds=0)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder R beside the tests, as of the README's first command, has runs that are done."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs(catalog: Catalog) -> list[PlannedRun]:
    """Two seeds of a predictor that does not train."""
    request = RunRequest(
        learners=("support-mean",), suite="toy-regression", budget="smoke", seeds=(0, 1), limit=2
    )
    return plan(request, catalog)


def make(run: PlannedRun, out: Path, catalog: Catalog) -> None:
    outcome = run_job(
        Job(run, out, "cpu", 1), catalog, emit=lambda event: None, stopped=lambda: False
    )
    assert outcome.status == "done", outcome.text


def test_a_finished_run_costs_nothing_and_tells_what_the_others_cost(
    runs: list[PlannedRun], catalog: Catalog, tmp_path: Path
) -> None:
    assert states_in(tmp_path, runs) == [None, None]
    make(runs[0], tmp_path, catalog)
    known = KnownCosts(device="cpu", engine="eager", threads=1)
    costs = known_costs(runs, tmp_path, known=known)
    price = priced(runs, costs, out=tmp_path, device="cpu", jobs=1, why={})
    assert [run.done for run in price.runs] == [True, False]
    assert [run.costs is not None and run.costs.origin for run in price.runs] == ["records"] * 2
    for other in (("cpu", "compiled", 1), ("cpu", "eager", 2), ("cuda", "eager", 1)):
        device, engine, threads = other
        known = KnownCosts(device=device, engine=engine, threads=threads)
        assert known_costs(runs, tmp_path, known=known) == {}
    assert price.runs[0].seconds == 0
    assert price.seconds == price.runs[1].seconds > 0
    assert price.disk_bytes > 100


def test_a_finished_run_is_found_without_its_data(
    runs: list[PlannedRun], catalog: Catalog, tmp_path: Path
) -> None:
    make(runs[0], tmp_path, catalog)
    unknown = [
        replace(run, spec=run.spec.model_copy(update={"data_fingerprint": ""}), lacks=("no data",))
        for run in runs
    ]
    states = states_in(tmp_path, unknown)
    assert [state and state.state for state in states] == ["done", None]
    assert kind_of(unknown[0]) == kind_of(runs[0]) == kind_of(runs[1])


def of_steps(catalog: Catalog, *learners: str) -> list[PlannedRun]:
    request = RunRequest(learners=learners, suite="toy-regression", budget="smoke")
    return plan(request, catalog)


def test_several_runs_at_a_time_take_as_long_as_the_longest_at_least(catalog: Catalog) -> None:
    runs = of_steps(catalog, "maml", "reptile", "mnas-shared")
    costs = {kind_of(run): COSTS for run in runs}
    for jobs, seconds in ((1, 2000), (2, 1000), (5, 1000)):
        price = priced(runs, costs, out=Path("R"), device="cpu", jobs=jobs, why={})
        assert price.seconds == seconds


def test_what_is_not_known_is_counted_and_not_guessed(catalog: Catalog) -> None:
    runs = of_steps(catalog, "maml", "reptile")
    why = {kind_of(runs[1]): "too slow"}
    price = priced(runs, {kind_of(runs[0]): COSTS}, out=Path("R"), device="cpu", jobs=1, why=why)
    assert (price.n_unknown, price.seconds, price.runs[1].why) == (1, 500, "too slow")
    nothing = priced(runs, {}, out=Path("R"), device="cpu", jobs=1, why={})
    assert (nothing.n_unknown, nothing.seconds, nothing.memory_mib) == (2, None, None)
    assert Price((), Path("R"), "cpu").seconds == 0


def test_runs_are_planned_without_their_data(catalog: Catalog, data_root: Path) -> None:
    suites = {"miniimagenet": suite_of("miniimagenet", catalog)}
    request = RunRequest(learners=("maml", "reptile"), suite="miniimagenet", budget="smoke")
    runs = plan_all([request], catalog, suites=suites, without_data=True)
    price = priced(runs, {}, out=data_root, device="cpu", jobs=1, why={})
    ((sentence, n),) = price.lacking.items()
    assert n == 2
    assert str(data_root) in sentence
    assert "metabench data import miniimagenet" in sentence
    assert {run.spec.data_fingerprint for run in runs} == {""}


def test_a_training_is_paid_once(catalog: Catalog) -> None:
    changes = {"protocol": {"selection": "last"}}
    request = RunRequest(
        learners=("maml",), suite="toy-regression", budget="smoke", changes=changes
    )
    runs = [*plan(request, catalog), *plan(replace(request, limit=2), catalog)]
    ids = partial(training_id, catalog=catalog)
    trained = trained_by_others(runs, Path("nowhere"), ids)
    assert trained == {runs[1].spec.run_id}
    costs = {kind_of(run): COSTS for run in runs}
    price = priced(runs, costs, out=Path("R"), device="cpu", jobs=1, why={}, trained=trained)
    assert [run.seconds for run in price.runs] == [500, 0]
