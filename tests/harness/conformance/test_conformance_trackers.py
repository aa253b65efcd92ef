"""Checks of a tracker: a sound one passes, broken ones fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metabench import conformance
from metabench.errors import UsageError
from metabench.plugin.contracts.tracker import CurvePoint, RunEnd, RunFacts
from metabench.plugin.specs import TrackerSpec
from metabench.values import Frozen


class Params(Frozen):
    """None."""


class Sound:
    """Keeps nothing but the keys that it gave."""

    def __init__(self, params: Params, out: Path) -> None:
        self.known: set[str] = set()

    def open(self, run: RunFacts, *, key: str) -> Any:
        own = self.key_of(run)
        resumed = key in self.known
        self.known.add(own)
        return Run(own, resumed=resumed)

    def key_of(self, run: RunFacts) -> str:
        return run.run_id


class Run:
    def __init__(self, key: str, *, resumed: bool) -> None:
        self.key, self.resumed = key, resumed

    def log(self, points: Sequence[CurvePoint]) -> None:
        assert points

    def end(self, end: RunEnd) -> None:
        assert end.status


class OneKey(Sound):
    def key_of(self, run: RunFacts) -> str:
        return "the same"


class NoKey(Sound):
    def key_of(self, run: RunFacts) -> str:
        return " "


class Forgetful(Sound):
    def open(self, run: RunFacts, *, key: str) -> Any:
        return Run(run.run_id, resumed=False)


class Credulous(Sound):
    def open(self, run: RunFacts, *, key: str) -> Any:
        return Run(key or run.run_id, resumed=bool(key))


class Fails(Sound):
    def open(self, run: RunFacts, *, key: str) -> Any:
        raise TypeError("a value is None")


class NoRun(Sound):
    def open(self, run: RunFacts, *, key: str) -> Any:
        return run.run_id


def absent(params: Params, out: Path) -> Any:
    raise UsageError("It needs the package pond.", hint="pip install pond")


def outcomes(factory: Any) -> dict[str, conformance.Outcome]:
    spec = TrackerSpec(name="mine", version=1, summary="Mine.", params=Params, factory=factory)
    return {check.name: conformance.run_check(check) for check in conformance.checks(spec)}


def test_a_sound_tracker_passes() -> None:
    found = outcomes(Sound)
    assert {outcome.status for outcome in found.values()} == {"ok"}, found


@pytest.mark.parametrize(
    ("factory", "check", "said"),
    [
        (OneKey, "two runs at a time are kept apart", "two runs have the key 'the same'"),
        (NoKey, "it takes a run from its beginning to its end", "the key of a run is ' '"),
        (Forgetful, "a run that goes on has its key", "would get its points twice"),
        (Credulous, "a key that it does not know begins the run anew", "never gave it"),
        (Fails, "it takes a run from its beginning to its end", "TypeError: a value is None"),
        (NoRun, "it takes a run from its beginning to its end", "which is no TrackedRun"),
    ],
)
def test_a_broken_one_fails(factory: Any, check: str, said: str) -> None:
    found = outcomes(factory)[check]
    assert found.status == "FAILED"
    assert said in found.reason


def test_a_missing_package_is_a_reason_to_skip() -> None:
    found = outcomes(absent)
    skipped = [outcome for outcome in found.values() if outcome.status == "skipped"]
    assert len(skipped) == 5
    assert {one.reason for one in skipped} == {"It needs the package pond. pip install pond"}
