"""Several configurations are measured in processes of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metabench.planning.plan import PlannedRun, RunRequest, plan, plan_all, suite_of
from metabench.plugin.catalog import Catalog
from metabench.results.costs import Costs
from metabench.running import probing
from metabench.running.estimate import size_of
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


def test_what_a_plugin_and_its_programs_print_is_no_answer(
    catalog: Catalog, tmp_path: Path
) -> None:
    plugin = tmp_path / "talks.py"
    plugin.write_text('import os\nos.system("echo compiler found")\nprint("ready", flush=True)\n')
    request = RunRequest(learners=("support-mean",), suite="toy-regression", budget="smoke")
    (run,) = plan(request, catalog)
    other = run.spec.learner.model_copy(update={"name": "nobody"})
    bad = replace(run, spec=run.spec.model_copy(update={"learner": other}))
    found: dict[int, Costs | str] = {}
    on = Resources(device="cpu")
    probe_all([bad], on, plugin_files=[plugin], tell=found.__setitem__, seconds=60)
    assert "nobody" in str(found[0])


def test_without_time_nothing_is_measured(catalog: Catalog) -> None:
    request = RunRequest(learners=("support-mean",), suite="toy-regression", budget="smoke")
    found: dict[int, Costs | str] = {}
    probe_all(plan(request, catalog), Resources(device="cpu"), tell=found.__setitem__)
    assert found == {}


@pytest.mark.parametrize(
    ("most", "sizes", "seconds"),
    [(0, [84, 28], None), (28, [84, 28, 42], 9), (42, [84, 28, 42], 1)],
)
def test_what_takes_too_long_is_estimated_within_a_bound(
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    sizes: list[int],
    seconds: float | None,
) -> None:
    """Images of at most so many pixels can be measured, where all take a second."""
    suites = {"miniimagenet": suite_of("miniimagenet", catalog)}
    request = RunRequest(learners=("metanas",), suite="miniimagenet", data="synthetic")
    (run,) = plan_all([request], catalog, suites=suites, without_data=True)
    asked = probing._Request((run,), Resources(device="cpu"), ())
    calls: list[tuple[object, float]] = []

    def slow(planned: PlannedRun, asked: object, *, within: float) -> dict[str, object]:
        size = size_of(planned) or 0
        calls.append((size, within))
        costs = Costs(test_seconds=1).model_dump(mode="json")
        return {"costs": costs} if size <= most else probing.GIVEN_UP

    monkeypatch.setattr(probing, "_measured", slow)
    found = probing._measured_or_estimated(run, asked)
    assert [size for size, _ in calls] == sizes
    assert [within for _, within in calls[1:]] == [probing.ESTIMATE_SECONDS] * (len(sizes) - 1)
    if seconds is None:
        assert found == probing.GIVEN_UP
    else:
        assert Costs.model_validate(found["costs"]).test_seconds == pytest.approx(seconds)
