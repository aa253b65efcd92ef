"""Settings of training and meta-validation where they change nothing of a run."""

from __future__ import annotations

import pytest

from metabench.errors import UsageError
from metabench.planning.compatibility import episode_shapes, training_phases
from metabench.planning.grid import grid_of
from metabench.planning.plan import PlannedRun
from metabench.plugin.catalog import Catalog, load_catalog

VALUES = {
    "protocol.train_shots": "3",
    "protocol.train_queries": "7",
    "protocol.val_episodes": "11",
    "protocol.val_shots": "3",
    "protocol.val_queries": "3",
    "budget.val_every": "2",
}


def planned(catalog: Catalog, learner: str, *sets: str) -> PlannedRun:
    (run,) = grid_of(
        learners=(learner,), suites=("omniglot",), sets=sets, budget="smoke", data="synthetic"
    ).plan(catalog)
    return run


def said(run: PlannedRun, name: str) -> bool:
    return any(f"{name} changes nothing" in note for note in run.notes)


def drawn(run: PlannedRun, catalog: Catalog) -> list[object]:
    """The examples of a meta-step, by phase."""
    shape = episode_shapes(run.spec, catalog)["meta-train"]
    phases = training_phases(run.spec, catalog)
    return [(p.examples, p.share, p.tasks, p.tasks != 0 and (p.shape or shape)) for p in phases]


def test_each_setting_acts_on_each_built_in_learner_or_is_said_to_change_nothing() -> None:
    catalog, seen = load_catalog(), 0
    for name, learner in catalog.learners.items():
        if "classification" not in learner.kinds or learner.one_task:
            continue
        try:
            usual = planned(catalog, name)
        except UsageError:
            continue  # it does not fit the suite
        seen += 1
        run = planned(catalog, name, *(f"{one}={value}" for one, value in VALUES.items()))
        for one in VALUES:
            if not learner.trains or not one.startswith("protocol.train"):
                assert said(run, one), (name, one)
        for one in ("protocol.train_shots", "protocol.train_queries"):
            alone = planned(catalog, name, f"{one}={VALUES[one]}")
            acts = learner.trains and drawn(alone, catalog) != drawn(usual, catalog)
            assert said(alone, one) != acts, (name, one)
        assert not usual.notes or not any("changes nothing" in note for note in usual.notes)
    assert seen > 25


@pytest.mark.parametrize("name", ["maml", "nearest-centroid"])
def test_what_selects_weights_acts_where_there_are_some(catalog: Catalog, name: str) -> None:
    values = [f"{one}={value}" for one, value in VALUES.items() if "val_" in one]
    run = planned(catalog, name, "protocol.selection=meta-val", *values)
    idle = name == "nearest-centroid"
    assert all(said(run, one) == idle for one in VALUES if "val_" in one)
    assert said(run, "protocol.selection") == idle
