"""Plans of tests of trained weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.errors import UsageError
from metabench.planning.evaluating import TrainedWeights, WeightsTest, plan_test
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog


@pytest.mark.parametrize("learner", ["maml", "reptile", "protonet"])
def test_examples_of_another_shape_are_refused_before_anything_runs(
    catalog: Catalog, learner: str
) -> None:
    request = RunRequest(learners=(learner,), suite="omniglot", budget="smoke", data="synthetic")
    (made,) = plan(request, catalog)
    weights = TrainedWeights(path=Path("weights"), spec=made.spec, digest="0")
    said = r"shape \(1, 28, 28\), but those of cifar-fs@5w1s have shape \(3, 32, 32\)"
    with pytest.raises(UsageError, match=said):
        plan_test(weights, WeightsTest(suite="cifar-fs", setting="5w1s"), catalog)
    assert plan_test(weights, WeightsTest(), catalog).spec.sources == made.spec.sources
