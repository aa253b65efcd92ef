"""The price of planned runs: time, memory and disk, what is done already, and what data is missing.

What nobody has measured is not guessed: it is counted as not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path

from metabench.planning.plan import PlannedRun
from metabench.planning.runspec import RunSpec
from metabench.results.costs import Costs, KnownCosts, costs_of_records
from metabench.results.episode_files import NotCountedError
from metabench.results.reading import read_record
from metabench.results.run_state import RunState, read_run_state
from metabench.results.schema import RunRecord
from metabench.results.store import RunStore


@dataclass(frozen=True, slots=True)
class PricedRun:
    """A planned run with its price.

    Attributes:
        planned: the run.
        state: how far it is in the results folder; None where it has not begun.
        costs: what its parts cost; None where that is not known.
        why: the costs are not known, in words; may be empty.
    """

    planned: PlannedRun
    state: RunState | None
    costs: Costs | None
    why: str = ""

    @property
    def done(self) -> bool:
        """Whether it need not be made."""
        return self.state is not None and self.state.state == "done"

    @property
    def seconds(self) -> float | None:
        """Seconds of computing that are left, on an idle machine; None where they are not known."""
        if self.done:
            return 0.0
        if self.costs is None:
            return None
        steps, episodes = (0, 0) if self.state is None else (self.state.steps, self.state.episodes)
        return self.costs.seconds(self.planned.spec, steps=steps, episodes=episodes)


@dataclass(frozen=True, slots=True)
class Price:
    """What planned runs cost.

    Attributes:
        runs: in the order of the plan.
        out: the results folder that they are written to.
        device: on which they are made.
        jobs: how many are made at a time.
    """

    runs: tuple[PricedRun, ...]
    out: Path
    device: str
    jobs: int = 1

    @property
    def left(self) -> tuple[PricedRun, ...]:
        """The runs that are not done."""
        return tuple(run for run in self.runs if not run.done)

    @property
    def n_unknown(self) -> int:
        """Runs whose time is not known."""
        return sum(run.seconds is None for run in self.left)

    @property
    def seconds(self) -> float | None:
        """Until the runs whose time is known are done, on an idle machine; None if none is."""
        known = [run.seconds for run in self.left if run.seconds is not None]
        if not known:
            return None if self.left else 0.0
        return max(*known, fsum(known) / self.jobs) if len(known) > 1 else known[0]

    @property
    def load(self) -> float:
        """How many times longer the machine takes at present, where other programs use it."""
        loads = [run.costs.load for run in self.left if run.costs and run.costs.origin == "probe"]
        return fsum(loads) / len(loads) if loads else 1.0

    @property
    def memory_mib(self) -> float | None:
        """Peak of all runs that are made at a time; None where none is known."""
        peaks = [run.costs.memory_mib for run in self.left if run.costs and run.costs.memory_mib]
        return fsum(sorted(peaks, reverse=True)[: self.jobs]) if peaks else None

    @property
    def disk_bytes(self) -> float:
        """Bytes that the runs will write, of those that are known."""
        return fsum(run.costs.disk_bytes(run.planned.spec) for run in self.left if run.costs)

    @property
    def lacking(self) -> dict[str, int]:
        """The data that is missing and how to get it, with the number of runs that need it."""
        return lacking(run.planned for run in self.left)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know, each once."""
        said = [note for run in self.left for note in (run.costs.notes if run.costs else ())]
        return tuple(dict.fromkeys(said))


def lacking(runs: Iterable[PlannedRun]) -> dict[str, int]:
    """The data that runs lack and how to get it, with the number of runs that need it."""
    return dict(Counter(sentence for run in runs for sentence in run.lacks))


def states_in(out: Path, runs: Iterable[PlannedRun]) -> list[RunState | None]:
    """How far each run is in a results folder; None where it has not begun.

    A run whose data is missing is found by everything else that its record says.
    """
    return [_state(folder) if (folder := _folder(out, run)) else None for run in runs]


def _folder(out: Path, run: PlannedRun) -> Path | None:
    own = RunStore.of(run.spec, out).folder
    if not run.lacks:
        return own if (own / "run.json").exists() else None
    for folder, record in _records(own.parent):
        if _without_data(record.spec) == _without_data(run.spec):
            return folder
    return None


def _records(folder: Path) -> Iterator[tuple[Path, RunRecord]]:
    """The records of the runs of a learner; what cannot be read is passed over."""
    for path in sorted(folder.glob("*/run.json")):
        try:
            yield path.parent, read_record(path.parent)
        except (NotCountedError, OSError):
            continue


def _without_data(spec: RunSpec) -> RunSpec:
    return spec.model_copy(update={"data_fingerprint": ""})


def _state(folder: Path) -> RunState | None:
    try:
        return read_run_state(folder)
    except (NotCountedError, OSError):
        return None


def known_costs(runs: Sequence[PlannedRun], out: Path, *, known: KnownCosts) -> dict[str, Costs]:
    """The costs that need no measurement, by :func:`kind_of`.

    Finished runs of the same configuration that this machine timed are better than a measurement,
    whatever their seed.

    Args:
        runs: those that are planned.
        out: the results folder.
        known: costs that were measured before.
    """
    found: dict[str, Costs] = {}
    done: dict[Path, list[tuple[Path, RunRecord]]] = {}
    for run in runs:
        kind = kind_of(run)
        if kind in found:
            continue
        home = RunStore.of(run.spec, out).folder.parent
        if home not in done:
            done[home] = [one for one in _records(home) if known.tells(one[1])]
        alike = dict(one for one in done[home] if _kind(one[1].spec) == kind)
        costs = costs_of_records(alike, device=known.device) or known.get(run.spec)
        if costs is not None:
            found[kind] = costs
    return found


def kind_of(run: PlannedRun) -> str:
    """What runs have in common that take the same time: all but seed and data."""
    return _kind(run.spec)


def _kind(spec: RunSpec) -> str:
    return _without_data(spec).config_id


def priced(
    runs: Sequence[PlannedRun],
    costs: Mapping[str, Costs],
    *,
    out: Path,
    device: str,
    jobs: int,
    why: Mapping[str, str],
) -> Price:
    """The price of runs.

    Args:
        runs: those that are planned.
        costs: by :func:`kind_of`.
        out: the results folder.
        device: on which they are made.
        jobs: how many are made at a time.
        why: costs are not known, by :func:`kind_of`.
    """
    return Price(
        tuple(
            PricedRun(run, state, costs.get(kind_of(run)), why.get(kind_of(run), ""))
            for run, state in zip(runs, states_in(out, runs), strict=True)
        ),
        out,
        device,
        jobs,
    )
