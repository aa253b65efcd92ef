"""Lengths of training that built-in learners bring for suites of others."""

from __future__ import annotations

import pytest

from metabench.planning.plan import RunRequest, resolve, suite_of
from metabench.planning.suite_defaults import doubts_about
from metabench.plugin.catalog import load_catalog


@pytest.mark.parametrize(
    ("learner", "suite", "setting", "length"),
    [
        ("leo", "miniimagenet", "5w1s", (200_000, 12)),
        ("leo", "tieredimagenet", "5w5s", (200_000, 12)),
        ("tadam", "miniimagenet", "5w1s", (30_000, 5)),
        ("tadam", "miniimagenet", "5w5s", (30_000, 2)),
        ("tadam", "miniimagenet", "5w5s-130k", (30_000, 2)),
        ("tadam", "fc100", "5w10s", (30_000, 1)),
    ],
)
def test_the_budget_paper_has_the_length_of_the_learners_paper(
    learner: str, suite: str, setting: str, length: tuple[int, int]
) -> None:
    catalog = load_catalog()
    spec, file = catalog.learner(learner), suite_of(suite, catalog)
    assert not doubts_about(spec, catalog)
    found = {}
    for budget in ("paper", "lite"):
        request = RunRequest(learners=(learner,), suite=suite, budget=budget)
        run = resolve(request, file, spec, catalog, setting=setting, seed=0)
        found[budget] = (run.training.meta_steps, run.training.meta_batch)
    assert found["paper"] == length
    usual = file.budget("lite")  # of all learners
    assert found["lite"] == (usual.meta_steps, usual.meta_batch)
