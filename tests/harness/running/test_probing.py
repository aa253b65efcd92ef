"""Several configurations are measured in processes of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.results.costs import Costs
from metabench.running.probe import Resources
from metabench.running.probing import probe_all


@pytest.mark.slow
def test_one_that_cannot_be_measured_does_not_stop_the_others(catalog: Catalog) -> None:
    request = RunRequest(learners=("support-mean",), suite="toy-regression", budget="smoke")
    (good,) = plan(request, catalog)
    other = good.spec.learner.model_copy(update={"name": "nobody"})
    bad = replace(good, spec=good.spec.model_copy(update={"learner": other}))
    found: dict[int, Costs | str] = {}
    probe_all([bad, good], Resources(device="cpu"), tell=found.__setitem__, seconds=60)
    assert isinstance(found[0], str)
    assert "nobody" in found[0]
    assert isinstance(found[1], Costs)
    assert found[1].memory_mib


def test_without_time_nothing_is_measured(catalog: Catalog) -> None:
    request = RunRequest(learners=("support-mean",), suite="toy-regression", budget="smoke")
    found: dict[int, Costs | str] = {}
    probe_all(plan(request, catalog), Resources(device="cpu"), tell=found.__setitem__)
    assert found == {}
