"""A short measurement of what a run costs: a few of its steps and episodes, and nothing is kept.

Meta-steps are made at several places of the training, its end among them, because a search changes
its shape on the way; the learner is told that so much of the training is done. Test episodes go
through the loop of the run itself, into a temporary folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from metabench.errors import DataError
from metabench.planning.plan import PlannedRun
from metabench.planning.runspec import RunSpec
from metabench.planning.source_data import DataKind, fingerprint_of, load_data
from metabench.plugin.contracts.learner import PhasedLearner
from metabench.results.costs import Costs, Stretch
from metabench.results.store import RunStore
from metabench.running import checkpoint, engines, provenance
from metabench.running.build import Built, build
from metabench.running.devices import prepare
from metabench.running.loops import Control, Loops, chunk_size
from metabench.running.precision import computing_in
from metabench.running.training_phases import TrainingPhase
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.running.engines import Engine, EngineName

SECONDS = 4.0
"""How long the measurement of a configuration takes, apart from steps that take longer than that.
Half of it is for meta-training."""
PLACES = 4
"""Places of meta-training where steps are measured, at most in each of its phases."""
MOST_STEPS = 40
"""Steps that are measured at one place."""
IMPORTS = 6.0
"""Seconds of the first step of all from which it matters little what it imports."""
SLOW = 4
"""How many times longer than its share of the time a step takes from which it is measured less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What makes the runs whose costs are asked for.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1``.
        engine: what makes their meta-steps.
        threads: CPU threads of each.
    """

    device: str
    engine: EngineName = "eager"
    threads: int = 1


def measure(
    planned: PlannedRun,
    catalog: Catalog,
    on: Resources,
    *,
    seconds: float = SECONDS,
    so_far: Callable[[Costs], None] = lambda costs: None,
) -> Costs:
    """Measure what the parts of a run cost, in this process and on its device.

    Data that is missing is replaced by its generated look-alike, which has the same shape. On a
    CPU, seconds are those in which this process computed.

    Args:
        planned: the run.
        catalog: where plugins are found.
        on: device, engine and threads.
        seconds: how long to measure, about.
        so_far: called with what is known meanwhile, first when a meta-step is measured.

    Raises:
        MetabenchError: when the run cannot be built.
    """
    device = torch.device(on.device)
    prepare(device, on.threads)
    spec, watch = _with_data(planned, catalog), _Watch(device, on.threads)
    with computing_in(spec.precision):
        with watch as setup:
            built = build(spec, catalog, device=device, metrics=planned.metrics)
        training = _Training(spec, built, watch, on.engine, limit=seconds / 2)
        costs = Costs(test_seconds=0.0, setup_seconds=setup.seconds)

        def update(**found: object) -> None:
            nonlocal costs
            known = {
                "memory_mib": provenance.peak_memory_mib(device),
                "memory_is_least": training.reduced,
                "load": watch.load,
            }
            costs = costs.model_copy(update={**known, **found})

        stretches: list[Stretch] = []
        for stretch in training.stretches():
            stretches.append(stretch)
            # Until more is known, the rest of the training is like this stretch.
            to_end = (*stretches[:-1], stretch.model_copy(update={"stop": 1.0}))
            update(stretches=to_end, notes=(*training.notes, UNTESTED))
            so_far(costs)
        with tempfile.TemporaryDirectory(prefix="metabench-probe-") as folder:
            root = Path(folder)
            path = root / "last.safetensors"
            checkpoint.save(path, {"learner": built.learner.state_dict()})
            update(checkpoint_bytes=path.stat().st_size, stretches=tuple(stretches))
            so_far(costs)
            val_seconds = _validation(spec, built, watch, seconds / 8)
            probed = replace(planned, spec=spec)
            test_seconds, episode_bytes, whole = _testing(probed, built, root, watch, seconds / 4)
        update(
            val_seconds=val_seconds,
            test_seconds=test_seconds,
            episode_bytes=episode_bytes,
            notes=training.notes,
        )
        return costs.model_copy(update={"memory_is_least": training.reduced or not whole})


UNTESTED = "Some times leave out the meta-test, whose adaptation takes too long to measure."
"""Said of a price of meta-training alone."""
UNCOMPILED = (
    "Times are those of the eager engine: compiling takes minutes before a step can be measured, "
    "and makes long runs faster."
)
"""Said of programs for a CPU."""


def _with_data(planned: PlannedRun, catalog: Catalog) -> RunSpec:
    """The run on data that is there."""
    spec, kind = planned.spec, planned.spec.data
    if spec.data_fingerprint:
        return spec
    loaded = []
    for data in dict.fromkeys((kind, LOOK_ALIKE)):
        with suppress(DataError):
            loaded = [load_data(choice, catalog, data=data) for choice in spec.sources]
            kind = data
            break
    return spec.model_copy(update={"data": kind, "data_fingerprint": fingerprint_of(loaded)})


LOOK_ALIKE: DataKind = "synthetic"
"""What stands for data that is missing."""


@dataclass
class _Lap:
    seconds: float = 0.0


class _Watch:
    """Measures blocks: the time of this process on a CPU, and that of the wall on a GPU."""

    def __init__(self, device: torch.device, threads: int) -> None:
        self.device = device
        self._by_wall = device.type != "cpu" or threads > 1
        self._lap = _Lap()
        self._wall = self._own = 0.0
        self._began = 0.0, 0.0

    def __enter__(self) -> _Lap:
        self._lap = _Lap()
        self._began = self._now()
        return self._lap

    def __exit__(self, *_: object) -> None:
        wall, own = (now - began for now, began in zip(self._now(), self._began, strict=True))
        self._lap.seconds = wall if self._by_wall else own
        self._wall += wall
        self._own += own

    @property
    def load(self) -> float:
        """Wall time over the time of this process, of all blocks; 1 where only the wall counts."""
        return 1.0 if self._by_wall or self._own == 0 else max(1.0, self._wall / self._own)

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()


@dataclass
class _Training:
    """Measures meta-steps at several places of the training, in its order.

    Attributes:
        reduced: whether a place was measured with fewer tasks than a meta-step has.
        notes: what the reader of the price should know.
    """

    spec: RunSpec
    built: Built
    watch: _Watch
    engine: EngineName
    limit: float
    reduced: bool = False
    notes: tuple[str, ...] = ()
    _meta_step: Engine = field(init=False)

    def stretches(self) -> Iterator[Stretch]:
        """What the steps of each stretch cost."""
        total = self.spec.training.meta_steps
        if not total:
            return
        parts = [(phase, *part) for phase in self.built.phases for part in _parts(phase)]
        self._meta_step, limit = self._open(), self.limit / len(parts)
        seconds = 0.0
        for phase, place, first, stop in parts:
            # Where steps are very slow, every second place does.
            if place % 2 == 0 or seconds < SLOW * limit:
                seconds = self._at(phase, first, stop, limit)
            if place == PLACES - 1 and stop - first > 1:
                # What comes last may be another network: the mean of both ends of this stretch.
                seconds = (seconds + self._at(phase, stop - 1, stop, limit)) / 2
            learner = self.built.learner
            searching = isinstance(learner, PhasedLearner) and learner.searching
            yield Stretch(
                start=first / total,
                stop=stop / total,
                step_seconds=seconds,
                validates=phase.phase.selects and not searching,
            )

    def _open(self) -> Engine:
        device = self.built.phases[0].device
        meta_steps = self.spec.training.meta_steps
        name = engines.chosen(
            self.engine, device=device, task=self.built.task, meta_steps=meta_steps
        )
        if name == "compiled" and device.type == "cpu":
            self.notes = (UNCOMPILED,)
            name = "eager"
        return engines.open_engine(name, self.built.learner, device=device, say=lambda text: None)

    def _at(self, phase: TrainingPhase, first: int, stop: int, limit: float) -> float:
        """Seconds of a meta-step at a place; of some of its tasks where all take too long."""
        n, on_cpu = phase.n_tasks, phase.device.type == "cpu"
        few = max(1, n // 8) if on_cpu and n else n
        once = self._steps(phase, first, first + 1, few)
        # The first steps of all import what they need, or capture.
        if on_cpu and once > (limit if first > 0 else IMPORTS):
            return self._of_all(once, few, n)
        once = self._steps(phase, first, min(first + (1 if on_cpu else 3), stop), few)
        affordable = min(n, int(limit / once * few))
        if affordable > few:
            few = affordable
            once = self._steps(phase, first, first + 1, few)
        count = min(MOST_STEPS, int((limit - once) / once), stop - first - 1)
        if count > 0:
            once = self._steps(phase, first + 1, first + 1 + count, few)
        return self._of_all(once, few, n)

    def _of_all(self, seconds: float, few: int, n: int) -> float:
        """Seconds of a step of ``n`` tasks, if those of ``few`` are known."""
        self.reduced |= few < n
        return seconds * n / few if n else seconds

    def _steps(self, phase: TrainingPhase, first: int, stop: int, n: int) -> float:
        """The mean of the seconds of the meta-steps from one to another."""
        total = self.spec.training.meta_steps
        part = replace(phase, n_tasks=n, stop=stop)
        with self.watch as lap:
            for step, tasks in enumerate(part.batches(first), start=first):
                rng = generator(self.spec.seed, "meta-train", step)
                self._meta_step(tasks, progress=step / total, rng=rng)
        return lap.seconds / (stop - first)


def _parts(phase: TrainingPhase) -> list[tuple[int, int, int]]:
    """A phase cut into parts: number, first meta-step and the one after the last of each."""
    n = phase.stop - phase.first
    cuts = [phase.first + round(n * i / PLACES) for i in range(PLACES + 1)]
    return [(i, first, stop) for i, (first, stop) in enumerate(pairwise(cuts)) if stop > first]


def _validation(spec: RunSpec, built: Built, watch: _Watch, limit: float) -> float:
    """Seconds of an episode of meta-validation."""
    if built.validate is None or not spec.training.meta_steps:
        return 0.0
    size = chunk_size(spec.protocol.val_shape(), built.task)
    most = min(size, spec.protocol.val_episodes * len(spec.sources))

    def of(n: int) -> float:
        assert built.validate is not None
        with watch as lap:
            tasks = built.validate.batch(np.arange(n))
            adapted = built.learner.adapt(tasks.support, rng=generator(spec.seed, "meta-val", 0))
            with torch.no_grad():
                built.scoring.headline(adapted.predict(tasks.query.x), tasks.query.y)
        return lap.seconds / n

    return _of_several(of, most, limit)


def _testing(
    planned: PlannedRun, built: Built, root: Path, watch: _Watch, limit: float
) -> tuple[float, float, bool]:
    """Seconds of an episode of meta-test with all evaluations, and the bytes that it writes.

    The last value is whether as many were computed together as in the run.
    """
    spec, n_sources = planned.spec, len(planned.spec.sources)
    stores: list[RunStore] = []

    def of(n: int) -> float:
        """Of ``n`` episodes of each source, through the loop of the run."""
        protocol = spec.protocol.model_copy(update={"episodes": n})
        few = replace(planned, spec=spec.model_copy(update={"protocol": protocol}))
        stores.append(RunStore(root / str(len(stores))))
        stores[-1].folder.mkdir()
        control = Control(emit=lambda event: None, stopped=lambda: False)
        loops = Loops(few, built, stores[-1], watch.device, control)
        with watch as lap:
            loops.meta_test()
            for name, evaluation in planned.evaluations.items():
                loops.evaluate(name, built.test.on_grid(evaluation.grid))
        return lap.seconds / (n * n_sources)

    size = chunk_size(spec.protocol.test_shape(), built.task)
    most = min(max(1, size // n_sources), spec.protocol.episodes)
    seconds = _of_several(of, most, limit)
    written = sum(path.stat().st_size for path in stores[-1].folder.rglob("*") if path.is_file())
    count = stores[-1].count_episodes()
    return seconds, written / count, count >= most * n_sources


def _of_several(of: Callable[[int], float], most: int, limit: float) -> float:
    """Seconds of one of many that are computed together; fewer where that takes too long.

    Args:
        of: seconds of each of some that are computed together.
        most: how many the run computes together.
        limit: seconds that may be spent, about.
    """
    once = of(1)
    if once > limit:
        return once
    once = of(1)  # the first imports what it needs, and may do what is done once
    n = min(most, int(limit / once))
    return of(n) if n > 1 else once
