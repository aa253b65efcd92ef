"""What is measured for a price, and when it is measured again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import metabench
from metabench.api import pricing
from metabench.results.costs import Costs
from metabench.running import probing


@pytest.fixture
def price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """Ask for a price on a machine of some load; the loads that its costs were measured at."""
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path / "cache"))

    def ask(*, quiet: bool, load: float) -> list[float]:
        def measured(runs: Sequence[object], *_: object, tell: Any, **__: object) -> None:
            for index in range(len(runs)):
                tell(index, Costs(test_seconds=1.0, load=load))

        monkeypatch.setattr(probing, "probe_all", measured)
        monkeypatch.setattr(pricing, "_quiet", lambda: quiet)
        words: dict[str, Any] = {"budget": "smoke", "device": "cpu", "out": tmp_path / "R"}
        view = metabench.price("maml", "toy-regression", **words)
        return [run.costs.load for run in view.price.runs if run.costs]

    return ask


def test_what_was_measured_on_a_busy_machine_is_measured_again_on_a_quiet_one(
    price: Callable[..., list[float]],
) -> None:
    assert price(quiet=False, load=3.0) == [3.0]
    assert price(quiet=False, load=2.0) == [3.0]
    assert price(quiet=True, load=4.0) == [3.0]  # the better of both is kept
    assert price(quiet=True, load=1.0) == [1.0]
    assert price(quiet=True, load=1.1) == [1.0]


def test_a_machine_is_quiet_that_has_an_idle_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for load, quiet in ((0.2, True), (3.0, True), (3.5, False)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert pricing._quiet() is quiet
