"""What takes too long to measure is estimated from smaller images."""

from __future__ import annotations

import pytest

from metabench.planning.plan import PlannedRun, RunRequest, plan, plan_all, suite_of
from metabench.plugin.catalog import Catalog
from metabench.results.costs import Costs, Stretch
from metabench.running.estimate import ESTIMATED, estimated, size_of, smaller
from metabench.running.probe import UNTESTED, Resources, measure


def of_images(catalog: Catalog, **asked: str) -> PlannedRun:
    request = RunRequest(learners=("maml",), suite="miniimagenet", data="synthetic", **asked)
    suites = {"miniimagenet": suite_of("miniimagenet", catalog)}
    (run,) = plan_all([request], catalog, suites=suites, without_data=True)
    return run


def costs(*steps: float, test: float = 0.0, notes: tuple[str, ...] = ()) -> Costs:
    n = len(steps)
    stretches = tuple(
        Stretch(start=i / n, stop=(i + 1) / n, step_seconds=step) for i, step in enumerate(steps)
    )
    return Costs(stretches=stretches, test_seconds=test, memory_mib=5, notes=notes)


def test_smaller_images_are_those_of_two_sizes_below_its_own(catalog: Catalog) -> None:
    run = of_images(catalog)
    assert size_of(run) == 84
    small = smaller(run)
    assert [size_of(one) for one in small.values()] == [28, 42] == [*small]
    assert [*smaller(small[42])] == [28]
    assert smaller(small[28]) == {}
    (other,) = plan(RunRequest(learners=("maml",), suite="toy-regression"), catalog)
    assert smaller(other) == {}


def test_time_lies_on_a_line_over_the_number_of_pixels() -> None:
    """Two seconds and a millisecond for each pixel, at all places alike."""
    at = {size: costs(*[2 + size**2 / 1000] * 3, test=size**2 / 1000) for size in (28, 42, 84)}
    found = estimated({size: at[size] for size in (42, 28)}, 84)
    wanted = [one.step_seconds for one in at[84].stretches]
    assert [one.step_seconds for one in found.stretches] == pytest.approx(wanted)
    assert found.test_seconds == pytest.approx(at[84].test_seconds)
    assert (found.memory_mib, found.notes) == (None, (ESTIMATED,))


def test_what_one_size_lacks_is_as_the_number_of_pixels() -> None:
    one = estimated({28: costs(2, test=1)}, 84)
    assert (one.stretches[0].step_seconds, one.test_seconds) == pytest.approx((18, 9))
    cut = estimated({28: costs(1), 42: costs(2, 3, test=1)}, 84)
    assert cut.stretches[1].step_seconds == pytest.approx(12)
    assert cut.test_seconds == pytest.approx(4)
    untested = estimated({28: costs(1, test=1), 42: costs(2, notes=(UNTESTED,))}, 84)
    assert untested.notes == (UNTESTED, ESTIMATED)


def test_a_size_that_was_measured_faster_than_a_smaller_one_takes_no_negative_time() -> None:
    noisy = estimated({28: costs(3, test=2), 42: costs(2, test=1)}, 84)
    assert (noisy.stretches[0].step_seconds, noisy.test_seconds) == (2, 1)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_an_estimate_is_near_what_is_measured(catalog: Catalog) -> None:
    """Within a factor of 1.5 on an idle machine; the bound leaves room for a busy one."""
    run, cpu = of_images(catalog, budget="smoke"), Resources(device="cpu")
    at = {size: measure(one, catalog, cpu) for size, one in smaller(run).items()}
    ratio = estimated(at, 84).train_seconds(run.spec) / measure(run, catalog, cpu).train_seconds(
        run.spec
    )
    assert 0.5 < ratio < 2
