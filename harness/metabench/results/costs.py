"""What a run costs: the costs of its parts, measured, times how many of each it has.

The parts cost the same in a short and in a long run of a configuration. So what was measured for
one budget holds for others with the same network, learner and tasks.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from math import fsum
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from metabench.planning.runspec import RunSpec
from metabench.results.cache import Cache, cache_root
from metabench.results.foreign import finite, json_lines
from metabench.results.run_state import MAX_TIMINGS
from metabench.results.schema import RunRecord
from metabench.values import Frozen, canonical_json, digest

Origin = Literal["probe", "records"]

_KIND = "costs"
_NOT_COSTLY = {
    "protocol": {"episodes", "val_episodes", "episode_seed"},
    "training": {"meta_steps", "val_every", "ensemble"},
}
"""Fields of a run that say how many parts it has, and not what one costs."""


BUSY = 1.2
"""From which a machine is said to be busy: so many times longer than it computes."""


class Stretch(Frozen):
    """A stretch of meta-training whose steps cost the same.

    A search may change its shape: it prunes, or decodes an architecture and trains that.
    """

    start: float = Field(ge=0, le=1, description="Where it begins, as a share of all meta-steps.")
    stop: float = Field(ge=0, le=1, description="Where it ends.")
    step_seconds: float = Field(ge=0, description="Of a meta-step.")
    validates: bool = Field(default=True, description="Whether weights are validated meanwhile.")


class Costs(Frozen):
    """What the parts of a run cost on one machine and device."""

    origin: Origin = "probe"
    stretches: tuple[Stretch, ...] = Field(default=(), description="Of meta-training, in order.")
    val_seconds: float = Field(default=0.0, ge=0, description="Of a meta-validation episode.")
    test_seconds: float = Field(
        ge=0, description="Of a meta-test episode, with the further evaluations of the suite."
    )
    setup_seconds: float = Field(default=0.0, ge=0, description="Of loading data and networks.")
    memory_mib: float | None = Field(default=None, description="Peak of the process or the GPU.")
    memory_is_least: bool = Field(
        default=False, description="Whether fewer tasks were measured than a meta-step has."
    )
    checkpoint_bytes: float = Field(default=0.0, ge=0, description="Of one checkpoint.")
    episode_bytes: float = Field(default=0.0, ge=0, description="Written for a test episode.")
    load: float = Field(
        default=1.0,
        ge=1,
        description="Wall time over CPU time while it was measured; 1 on an idle machine.",
    )
    notes: tuple[str, ...] = Field(
        default=(), description="What the reader of the price should know."
    )

    @property
    def busy(self) -> bool:
        """Whether other programs used the machine while it was measured."""
        return self.origin == "probe" and self.load >= BUSY

    def train_seconds(self, spec: RunSpec, *, done: int = 0) -> float:
        """Seconds of meta-training and its validations.

        Args:
            spec: of the run.
            done: meta-steps that an earlier start has made.
        """
        total, protocol = spec.training.meta_steps, spec.protocol
        every = spec.training.validates_every if protocol.selection == "meta-val" else 0
        a_validation = self.val_seconds * protocol.val_episodes * len(spec.sources)
        parts = []
        for stretch in self.stretches:
            first, last = round(stretch.start * total), round(stretch.stop * total)
            first = min(max(first, done), last)
            parts.append((last - first) * stretch.step_seconds)
            if every and stretch.validates:
                parts.append((last // every - first // every) * a_validation)
        return fsum(parts)

    def seconds(self, spec: RunSpec, *, steps: int = 0, episodes: int = 0) -> float:
        """Seconds of computing that a run still needs on an idle machine.

        Args:
            spec: of the run.
            steps: meta-steps that are done.
            episodes: meta-test episodes that are done.
        """
        left = max(0, spec.protocol.episodes * len(spec.sources) - episodes)
        members = spec.training.ensemble or 1
        testing = left * self.test_seconds * members
        return self.setup_seconds + self.train_seconds(spec, done=steps) + testing

    def disk_bytes(self, spec: RunSpec) -> float:
        """Bytes that the folder of a run takes."""
        best = spec.training.ensemble or 1 if spec.protocol.selection == "meta-val" else 0
        checkpoints = self.checkpoint_bytes * (1 + best) if spec.training.meta_steps else 0
        return checkpoints + self.episode_bytes * spec.protocol.episodes * len(spec.sources)


@cache
def machine() -> str:
    """A digest that tells this machine from others; it holds no name that can be read."""
    return digest([platform.node(), platform.machine(), _processor(), os.cpu_count()])


def _processor() -> str:
    """The processor in words, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())


def costly(spec: RunSpec) -> dict[str, Any]:
    """What decides the costs of the parts of a run: all but its lengths, its seed and its data."""
    values: dict[str, Any] = spec.model_dump(mode="json")
    for name in ("seed", "budget", "data", "data_fingerprint", "sources", "start"):
        values.pop(name, None)
    for scope, names in _NOT_COSTLY.items():
        values[scope] = {k: v for k, v in values[scope].items() if k not in names}
    sizes = [source.model_dump(mode="json", exclude={"files"}) for source in spec.sources]
    return {**values, "sources": sizes}


class KnownCosts:
    """The costs that were measured on this machine, kept for the next command.

    Args:
        device: on which runs are made.
        engine: that makes their meta-steps.
        threads: CPU threads of a run.
        cache: where they are kept; the user's by default.
    """

    def __init__(
        self, *, device: str, engine: str, threads: int, cache: Cache | None = None
    ) -> None:
        self.device = device
        self._engine = engine
        self._threads = threads
        self._cache = Cache(cache_root()) if cache is None else cache

    def get(self, spec: RunSpec) -> Costs | None:
        """What was measured for runs like this one; None if nothing was."""
        content = self._cache.get(_KIND, self._key(spec))
        if content is None:
            return None
        try:
            return Costs.model_validate_json(content)
        except ValidationError:
            return None

    def put(self, spec: RunSpec, costs: Costs) -> None:
        """Keep what was measured."""
        self._cache.put(_KIND, self._key(spec), costs.model_dump_json().encode())

    def tells(self, record: RunRecord) -> bool:
        """Whether a finished run was made in the way that is asked about."""
        made_with = record.provenance
        # What is captured or compiled takes another time than the learner's own steps.
        eager = {*made_with.engine} <= {"eager"}
        return (
            record.status == "done"
            and made_with.device_id == self.device
            and made_with.threads == self._threads
            and (self._engine == "auto" or eager == (self._engine == "eager"))
        )

    def _key(self, spec: RunSpec) -> str:
        about = [machine(), self.device, self._engine, self._threads]
        return canonical_json([about, costly(spec)])


def costs_of_records(runs: Mapping[Path, RunRecord], *, device: str) -> Costs | None:
    """The costs of finished runs of one configuration, as this machine timed them.

    Args:
        runs: their records by folder.
        device: what is asked about; on a CPU, only the time in which it computed counts.

    Returns:
        None where this machine timed none of them.
    """
    spent: dict[str, list[tuple[float, float]]] = {}
    timed: dict[Path, RunRecord] = {}
    for folder, record in runs.items():
        notes = [*_notes(folder, device=device)]
        if record.spec.training.meta_steps and not any(note[0] == "meta-train" for note in notes):
            continue  # it took the training of another run
        for phase, count, seconds in notes:
            spent.setdefault(phase, []).append((count, seconds))
            timed[folder] = record
    if "meta-test" not in spent:
        return None
    each = {
        phase: fsum(seconds for _, seconds in notes) / fsum(count for count, _ in notes)
        for phase, notes in spent.items()
    }
    folder, record = next(iter(timed.items()))
    n_episodes = record.spec.protocol.episodes * len(record.spec.sources)
    training = [Stretch(start=0, stop=1, step_seconds=each.get("meta-train", 0.0))]
    return Costs(
        origin="records",
        stretches=tuple(training),
        test_seconds=fsum(each[phase] for phase in each.keys() - {"meta-train"}),
        memory_mib=record.provenance.peak_memory_mib,
        episode_bytes=_bytes_below(folder) / n_episodes,
    )


def _notes(folder: Path, *, device: str) -> Iterator[tuple[str, float, float]]:
    """Phase, count and seconds of the notes that this machine has written."""
    try:
        notes = [*json_lines(folder / "timings.jsonl", MAX_TIMINGS)]
    except OSError:
        return
    for note in notes:
        phase, count = note.get("phase"), finite(note.get("count"))
        seconds, cpu = finite(note.get("seconds")), finite(note.get("cpu_seconds"))
        if note.get("machine") == machine() and isinstance(phase, str) and count and seconds:
            yield phase, count, min(seconds, cpu or seconds) if device == "cpu" else seconds


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
