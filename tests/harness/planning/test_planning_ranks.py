"""Runs whose meta-steps cannot be shared are refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from metabench.errors import UsageError
from metabench.planning.plan import RunRequest, plan
from metabench.planning.ranks import check_ranks
from metabench.plugin.catalog import Catalog


def check(catalog: Catalog, learner: str, suite: str, ranks: int, **given: Any) -> None:
    request = RunRequest(
        learners=(learner,), suite=suite, budget="smoke", data="synthetic", **given
    )
    check_ranks(plan(request, catalog), catalog, ranks)


@pytest.mark.parametrize(
    ("learner", "suite"),
    [("maml", "toy-regression"), ("protonet", "omniglot"), ("nearest-centroid", "omniglot")],
)
def test_what_can_be_shared_is_not_refused(learner: str, suite: str, catalog: Catalog) -> None:
    """A learner that does not train has no meta-steps to share."""
    check(catalog, learner, suite, 2)


def test_a_learner_that_does_not_split_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="leo makes its meta-steps in one") as caught:
        check(catalog, "leo", "omniglot", 2)
    assert "protonet" in caught.value.hint
    check(catalog, "leo", "omniglot", 1)


def test_more_processes_than_tasks_are_refused(catalog: Catalog) -> None:
    changes = {"budget": {"meta_batch": 3}}
    check(catalog, "maml", "toy-regression", 3, changes=changes)
    with pytest.raises(UsageError, match="has 3 tasks, too few for --ranks 4") as caught:
        check(catalog, "maml", "toy-regression", 4, changes=changes)
    assert caught.value.hint == "Use --ranks 3 or fewer."


def test_a_network_with_a_state_is_refused(catalog: Catalog) -> None:
    changes = {"space": {"norm": "running"}}
    with pytest.raises(UsageError, match="trains on the tasks of a meta-step together"):
        check(catalog, "protonet", "omniglot", 2, changes=changes)
