"""How far all runs of a folder are, and how long they will take.

What is not known is not said: a run whose speed nobody has measured has no time left, and runs that
are still to begin are known only where a command has written its plan down.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median

from metabench.errors import DataError
from metabench.results.cache import settled, stamp
from metabench.results.episode_files import NotCountedError
from metabench.results.folders import look_below
from metabench.results.plans import PlanEntry, read_plans
from metabench.results.run_state import MEASURED, RunState, read_run_state
from metabench.results.state import STATES, WRITTEN, State

_FILES = (*WRITTEN, ".lock")
_LEAST_WATCHED = 5.0
"""Seconds from which a run that is looked at again and again has a speed."""


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """How long a command that is at work still needs.

    Attributes:
        seconds: of the runs whose speed is known; None where it is known of none.
        n_unknown: runs that come on top of it.
    """

    seconds: float | None
    n_unknown: int = 0


@dataclass(frozen=True)
class Overview:
    """The runs of a folder.

    Attributes:
        root: the folder.
        runs: by suite, setting, budget, learner and seed.
        problems: what could not be read, one sentence each, with the path.
        at: when they were read, in seconds since 1970.
    """

    root: Path
    runs: tuple[RunState, ...]
    problems: tuple[str, ...] = ()
    at: float = 0.0

    def of_state(self, state: State) -> list[RunState]:
        """The runs in a state."""
        return [run for run in self.runs if run.state == state]

    @property
    def counts(self) -> dict[State, int]:
        """How many runs there are in each state that occurs."""
        found = {state: len(self.of_state(state)) for state in STATES}
        return {state: n for state, n in found.items() if n}

    @property
    def under_way(self) -> bool:
        """Whether a run is running, or a command is at work that is going to make one."""
        return any(run.state == "running" or run.awaited for run in self.runs)

    @property
    def need_attention(self) -> bool:
        """Whether a run failed, was interrupted and is not awaited, or cannot be read."""
        return bool(self.problems) or any(
            run.state == "failed" or (run.state == "interrupted" and not run.awaited)
            for run in self.runs
        )

    @property
    def share(self) -> float:
        """The share done of all known runs, in [0, 1]."""
        return sum(run.share for run in self.runs) / len(self.runs) if self.runs else 0.0

    def speed(self, run: RunState, phase: str) -> float | None:
        """Steps or episodes per second of a run, or the median of runs of its kind; None: unknown.

        Args:
            run: whose speed.
            phase: ``meta-train`` (steps) or ``meta-test`` (episodes).
        """
        return run.speeds.get(phase) or self._speeds.get((*run.kind, phase))

    @cached_property
    def _speeds(self) -> Mapping[tuple[str, ...], float]:
        found: dict[tuple[str, ...], list[float]] = {}
        for run in self.runs:
            for phase, speed in run.speeds.items():
                found.setdefault((*run.kind, phase), []).append(speed)
        return {key: median(speeds) for key, speeds in found.items()}

    def seconds_left(self, run: RunState) -> float | None:
        """Seconds of work that a run still needs; None where its speed is not known.

        The meta-test of a run that trains is left out where no run of its kind has timed one.
        """
        if run.ended:
            return 0.0
        train, test = run.meta_steps - run.steps, run.n_episodes - run.episodes
        training, testing = (self.speed(run, phase) for phase in ("meta-train", "meta-test"))
        if (train and not training) or (not train and test and not testing):
            return None
        seconds = train / training if training else 0.0
        seconds += test / testing if testing else 0.0
        since = self.at - run.written if run.state == "running" else 0.0
        return max(0.0, seconds - max(0.0, since))

    @property
    def time_left(self) -> TimeLeft:
        """Until all runs that are running or awaited are done, with as many at a time as now."""
        running = [self.seconds_left(run) for run in self.runs if run.state == "running"]
        awaited = [self.seconds_left(run) for run in self.runs if run.awaited]
        known = [seconds for seconds in (*running, *awaited) if seconds is not None]
        n_unknown = len(running) + len(awaited) - len(known)
        if not known:
            return TimeLeft(None, n_unknown)
        return TimeLeft(max(*known, sum(known) / max(1, len(running))), n_unknown)


class _Watched:
    """The speed of a run that is looked at again and again."""

    def __init__(self) -> None:
        self._points: list[tuple[str, int, float]] = []

    def update(self, run: RunState) -> RunState:
        """The run with its speed since it was first looked at, or in the last minute."""
        done = run.steps if run.phase == "meta-train" else run.episodes
        if self._points and self._points[-1][0] != run.phase:
            self._points.clear()
        if not self._points or self._points[-1][1] != done:
            self._points.append((run.phase, done, run.written))
        while len(self._points) > 2 and run.written - self._points[1][2] > MEASURED:
            self._points.pop(0)
        (_, first, start), (_, last, end) = self._points[0], self._points[-1]
        if last <= first or end - start < _LEAST_WATCHED:
            return run
        speed = (last - first) / (end - start)
        return replace(run, speeds={**run.speeds, run.phase: speed})


class OverviewReader:
    """Reads a folder again and again; what has not changed is not read twice.

    Args:
        root: the results folder, or the folder of one run.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[Path, tuple[object, RunState]] = {}
        self._watched: dict[Path, _Watched] = {}

    def __call__(self) -> Overview:
        """The runs as they are now.

        Raises:
            DataError: when there is no run, no plan of one, and every folder can be read.
        """
        root = self._root
        below = look_below(root)
        runs, problems = [], [*below.problems]
        known: dict[Path, tuple[object, RunState]] = {}
        for folder in below.holding("run.json", "episodes.jsonl"):
            try:
                known[folder] = self._read(folder)
                runs.append(known[folder][1])
            except FileNotFoundError:  # somebody removes the folder
                continue
            except NotCountedError as problem:
                problems.append(f"{folder}: {problem}.")
            except OSError as error:
                problems.append(f"{folder}: {error.strerror or error}.")
        self._known = known
        runs = _with_plans(runs, read_plans(below))
        if not runs and not problems:
            raise DataError(
                f"There is no run below {root}.",
                hint=f"Start one: metabench run --learner maml --suite toy-regression --out {root}",
            )
        ordered = sorted(runs, key=lambda run: (*run.kind, run.seed, run.run_id))
        return Overview(root, tuple(ordered), tuple(problems), time.time())

    def _read(self, folder: Path) -> tuple[object, RunState]:
        now = [_stamp(folder / name) for name in _FILES]
        before = self._known.get(folder)
        # Whether a run is running is not written in a file.
        if before is not None and before[0] == now and before[1].state != "running":
            return before
        run = read_run_state(folder)
        if run.state == "running":
            run = self._watched.setdefault(folder, _Watched()).update(run)
        return now if settled(now) else None, run


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        return stamp(path.stat())
    except FileNotFoundError:
        return None


def _with_plans(
    runs: Iterable[RunState], plans: Iterable[tuple[PlanEntry, bool, Path]]
) -> list[RunState]:
    """Add the runs of plans that have not begun, and mark what a command is going to make."""
    found = {run.folder: run for run in runs}
    of_id: dict[str, list[Path]] = {}
    for folder, run in found.items():
        of_id.setdefault(run.run_id, []).append(folder)
    planned: dict[tuple[Path, str], RunState] = {}
    for entry, at_work, out in plans:
        begun = [folder for folder in of_id.get(entry.run_id, ()) if out in folder.parents]
        for folder in begun:
            if at_work and found[folder].state == "interrupted":
                found[folder] = replace(found[folder], awaited=True)
        earlier = planned.get((out, entry.run_id))
        if not begun and (earlier is None or not earlier.awaited):
            planned[out, entry.run_id] = RunState(
                folder=out, state="planned", awaited=at_work, **entry.model_dump()
            )
    return [*found.values(), *planned.values()]
