"""What a run costs is measured in a few of its steps and episodes."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from metabench.planning.plan import PlannedRun, RunRequest, plan, plan_all, suite_of
from metabench.plugin.catalog import Catalog
from metabench.results.costs import Costs
from metabench.running import probe
from metabench.running.probe import UNTESTED, Resources, measure

CPU = Resources(device="cpu")


def planned(catalog: Catalog, learner: str, **others: object) -> PlannedRun:
    request = RunRequest(
        learners=(learner,),
        suite="toy-regression",
        budget="smoke",
        **others,  # type: ignore[arg-type]
    )
    (run,) = plan(request, catalog)
    return run


def test_steps_are_measured_at_several_places_of_the_training(catalog: Catalog) -> None:
    partly: list[Costs] = []
    costs = measure(planned(catalog, "maml"), catalog, CPU, seconds=0.1, so_far=partly.append)
    assert [(s.start, s.stop) for s in costs.stretches] == [*pairwise((0, 0.25, 0.5, 0.75, 1))]
    assert all(stretch.step_seconds > 0 and stretch.validates for stretch in costs.stretches)
    assert costs.val_seconds > 0
    assert costs.test_seconds > 0
    assert costs.checkpoint_bytes > 4 * 7801
    assert costs.episode_bytes > 100
    assert costs.load >= 1
    # What is known meanwhile is of the whole training, and says that it leaves out the meta-test.
    assert [len(one.stretches) for one in partly] == [1, 2, 3, 4, 4]
    for one in partly:
        assert (one.stretches[-1].stop, one.test_seconds, one.notes) == (1, 0, (UNTESTED,))


def test_the_end_of_the_training_is_measured_too(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_late(self: object, phase: object, first: int, stop: int, limit: float) -> float:
        return float(first)

    monkeypatch.setattr(probe._Training, "_at", as_late)
    run = planned(catalog, "maml", changes={"budget": {"meta_steps": 80}})
    costs = measure(run, catalog, CPU, seconds=0.01)
    assert [stretch.step_seconds for stretch in costs.stretches] == [0, 20, 40, (40 + 79) / 2]


def test_memory_is_the_least_where_fewer_tasks_or_episodes_were_computed_together(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(catalog, "support-mean")
    assert not measure(run, catalog, CPU, seconds=60).memory_is_least
    monkeypatch.setattr(probe, "_of_several", lambda of, most, limit: of(1))
    assert measure(run, catalog, CPU, seconds=60).memory_is_least


def test_a_search_that_trains_what_it_found_is_validated_only_then(catalog: Catalog) -> None:
    costs = measure(planned(catalog, "mnas-shared"), catalog, CPU, seconds=0.1)
    assert [stretch.validates for stretch in costs.stretches] == [False, False, True, True]


def test_a_learner_that_does_not_train_has_only_a_meta_test(catalog: Catalog) -> None:
    costs = measure(planned(catalog, "support-mean"), catalog, CPU, seconds=0.1)
    assert costs.stretches == ()
    assert costs.test_seconds > 0


def test_missing_data_is_replaced_by_its_look_alike(catalog: Catalog, data_root: Path) -> None:
    changes = {"space": {"filters": 2}, "budget": {"meta_batch": 1}, "protocol": {"ways": 2}}
    request = RunRequest(learners=("protonet",), suite="omniglot", budget="smoke", changes=changes)
    suites = {"omniglot": suite_of("omniglot", catalog)}
    (run,) = plan_all([request], catalog, suites=suites, without_data=True)
    assert run.lacks
    costs = measure(run, catalog, CPU, seconds=0.1)
    assert costs.stretches
    assert not data_root.exists()


@pytest.mark.slow
def test_the_price_of_a_training_is_the_time_that_it_takes(
    catalog: Catalog, tmp_path: Path
) -> None:
    from metabench.running.executors import Job, run_job

    run = planned(catalog, "maml", changes={"budget": {"meta_steps": 150}})
    price = measure(run, catalog, CPU, seconds=2.0).seconds(run.spec)
    began = time.process_time()
    job = Job(run, tmp_path, "cpu", 1)
    assert run_job(job, catalog, emit=lambda event: None, stopped=lambda: False).status == "done"
    assert price == pytest.approx(time.process_time() - began, rel=0.5)
