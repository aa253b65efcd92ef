"""Checks of a tracker: made-up runs are passed on to it, in a folder that is thrown away."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from tempfile import mkdtemp

from metabench.conformance.base import Check, Skip, require
from metabench.errors import UsageError
from metabench.plugin.contracts.tracker import (
    CurvePoint,
    LookingTracker,
    RunEnd,
    RunFacts,
    RunScore,
    TrackedRun,
    Tracker,
)
from metabench.plugin.specs import TrackerSpec, resolve
from metabench.values import digest

POINTS = (
    CurvePoint(10, {"meta-train/loss": 2.5, "meta-train/query_loss": 1e30}),
    CurvePoint(20, {"meta-train/loss": 1.5}),
    CurvePoint(20, {"meta-val/val_score": -0.25}),
)
"""Of a run that was stopped at meta-step 20; the last two came one after the other."""
LATER = (CurvePoint(30, {"meta-train/loss": 0.0}),)
"""Of the same run when it goes on."""


def tracker_checks(spec: TrackerSpec) -> Iterator[Check]:
    """Yield the checks of a tracker, which is made with its ``trial`` parameters."""
    trial = _Trial(spec)
    bodies: dict[str, Callable[[Tracker, Path], None]] = {
        "it takes a run from its beginning to its end": _whole,
        "it takes a run that failed, and one without any point": _failed,
        "a run that goes on has its key": _resumed,
        "a key that it does not know begins the run anew": _unknown_key,
        "two runs at a time are kept apart": _two,
    }
    for number, (name, body) in enumerate(bodies.items()):
        yield Check(name, partial(trial, body, f"check-{number}"))


class _Trial:
    """A tracker that is made for the first check, and its results folder."""

    def __init__(self, spec: TrackerSpec) -> None:
        self._spec = spec

    @cached_property
    def _out(self) -> Path:
        folder = Path(mkdtemp()).resolve()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @cached_property
    def _tracker(self) -> Tracker:
        params = self._spec.params_model().model_validate(self._spec.trial)
        try:
            made: Tracker = resolve(self._spec.factory)(params, self._out)
        except UsageError as missing:
            raise Skip(missing.in_full) from missing
        return made

    def __call__(self, body: Callable[[Tracker, Path], None], setting: str) -> None:
        body(self._tracker, self._out / f"toy-regression@{setting}")


def _run(folder: Path, seed: int = 0) -> RunFacts:
    """A run with a parameter of every type, and texts that want care."""
    setting = folder.name.partition("@")[2]
    run_id = digest([setting, seed])
    folder = folder / "maml" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    return RunFacts(
        run_id=run_id,
        label=f"maml {setting} inner_lr=0.1 seed {seed}",
        suite="toy-regression",
        setting=setting,
        budget="smoke",
        learner="maml",
        seed=seed,
        folder=folder,
        parameters={
            "learner": "maml",
            "learner.inner_lr": 0.1,
            "learner.first_order": False,
            "network.filters": 32,
            "source.sine.cell": "[[0, 1, 'skip'], " + "[1, 2, 'conv'], " * 100 + "]",
            "protocol.train_shots": None,
        },
        stamps=("smoke", "limit"),
        made_with={"command": "metabench run --learner maml", "device": "cpu", "git": ""},
    )


def _done(*, half_width: float | None = 0.25) -> RunEnd:
    score = RunScore(metric="mse", source="sine", mean=1.5, half_width=half_width, n=4)
    other = RunScore(
        metric="nll", source="average", mean=0.5, half_width=None, n=1, evaluation="extrapolation"
    )
    return RunEnd(status="done", step=30, scores=(score, other))


def _opened(tracker: Tracker, run: RunFacts, *, key: str) -> TrackedRun:
    tracked = tracker.open(run, key=key)
    require(isinstance(tracked, TrackedRun), f"open() returns {tracked!r}, which is no TrackedRun.")
    require(
        isinstance(tracked.key, str) and tracked.key.strip(),
        f"the key of a run is {tracked.key!r}; it must be a text that is not empty.",
    )
    if not key:
        require(not tracked.resumed, "a run without a key is resumed, but it is new.")
    return tracked


def _whole(tracker: Tracker, folder: Path) -> None:
    tracked = _opened(tracker, _run(folder), key="")
    tracked.log(POINTS)
    tracked.log(LATER)
    tracked.end(_done())


def _failed(tracker: Tracker, folder: Path) -> None:
    end = RunEnd(status="failed", step=0, text="loss is nan at meta-step 1; 'why' | who knows?")
    _opened(tracker, _run(folder), key="").end(end)


def _resumed(tracker: Tracker, folder: Path) -> None:
    run = _run(folder)
    first = _opened(tracker, run, key="")
    first.log(POINTS)
    first.end(RunEnd(status="interrupted", step=20))
    second = _opened(tracker, run, key=first.key)
    require(
        second.key == first.key,
        f"the key of a run that goes on is {second.key!r}; it was {first.key!r}.",
    )
    require(second.resumed, "a run that goes on is not resumed, so it would get its points twice.")
    second.log(LATER)
    second.end(_done())
    third = _opened(tracker, run, key=first.key)  # it got further scores
    require(third.resumed, "a finished run that gets further scores is not resumed.")
    third.end(_done(half_width=None))
    require(
        not isinstance(tracker, LookingTracker) or tracker.has(run, key=first.key),
        "has() denies a run that ended, so it would be sent again each time.",
    )


def _unknown_key(tracker: Tracker, folder: Path) -> None:
    require(
        not isinstance(tracker, LookingTracker) or not tracker.has(_run(folder), key="no-such-key"),
        "has() knows a run under a key that the tracker never gave it.",
    )
    tracked = _opened(tracker, _run(folder), key="no-such-key")
    require(not tracked.resumed, "a run is resumed under a key that the tracker never gave it.")
    tracked.log(POINTS)
    tracked.end(_done())


def _two(tracker: Tracker, folder: Path) -> None:
    one, other = (_opened(tracker, _run(folder, seed), key="") for seed in (0, 1))
    require(one.key != other.key, f"two runs have the key {one.key!r}.")
    for tracked in (one, other):
        tracked.log(POINTS)
    for tracked in (other, one):
        tracked.end(_done())
