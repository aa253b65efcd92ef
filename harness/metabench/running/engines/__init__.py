"""Engines: what trains and adapts in a run, the learner's own Python or programs made from it.

An engine belongs to how a run was made, not to what it is: its numbers are those of the learner
to rounding, and the identity of the run does not name it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import torch
from torch import Tensor

from metabench.errors import UsageError, unknown
from metabench.plugin.contracts.episode import Adapted, TaskBatch, TaskShape
from metabench.plugin.contracts.learner import Learner
from metabench.running.ensemble import Ensemble

if TYPE_CHECKING:
    from metabench.running.engines.programs import Compile

EngineName = Literal["eager", "compiled", "auto"]
"""``eager``: the learner's own steps. ``compiled``: a program for each kind of step, compiled on a
CPU and captured on CUDA. ``auto``: compiled where it pays, see :func:`chosen`."""

WORTH_COMPILING = 20_000
"""Meta-steps from which ``auto`` compiles on a CPU. Of toy regression, compiling takes 0.07 s per
operator and saves 7 microseconds of a step, so 10,000 steps pay for it."""
WORTH_ADAPTING = 30
"""Full batches of an evaluation from which a program adapts. Of 100 episodes of toy regression it
saves 31 ms a batch. Made before, it is there in 0.8 s, so 26 batches pay for it; the first time it
takes 11 s."""


def pick_engine(name: str, *, device: str | None = None) -> EngineName:
    """Return the name of an engine that can work here.

    Args:
        name: of the engine.
        device: on which it works; None where that is another machine's.

    Raises:
        UsageError: there is no such engine, or a program cannot be compiled here.
    """
    engine: EngineName | None = next((e for e in get_args(EngineName) if e == name), None)
    if engine is None:
        raise unknown("engine", name, get_args(EngineName))
    if engine == "compiled" and device == "cpu" and not has_compiler():
        raise UsageError(
            "--engine compiled needs a C++ compiler on a CPU, and finds none.",
            hint=f"Install {_compiler_name()}, name another one in CXX, or use --engine eager.",
        )
    return engine


def refuse_programs(name: EngineName, *, ranks: int) -> None:
    """Refuse an engine that records meta-steps, in a run that several processes share.

    Raises:
        UsageError: when it is asked for by name; ``auto`` is eager then.
    """
    if name == "compiled":
        raise UsageError(
            f"--engine compiled records the meta-steps of a single process, and --ranks asks for "
            f"{ranks}: what passes between processes in a step is no part of a program.",
            hint="Use --engine eager, or leave out --ranks.",
        )


def chosen(
    name: EngineName, *, device: torch.device, task: TaskShape, meta_steps: int
) -> Literal["eager", "compiled"]:
    """Say what ``auto`` is; other names are themselves.

    ``auto`` captures on CUDA. On a CPU it compiles long trainings on vectors, if there is a C++
    compiler: of steps on images most is spent in convolutions, which compiling does not change.

    Args:
        name: of the engine.
        device: of the run.
        task: says what the network sees.
        meta_steps: length of meta-training.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "compiled"
    pays = len(task.inputs) == 1 and meta_steps >= WORTH_COMPILING
    return "compiled" if device.type == "cpu" and pays and has_compiler() else "eager"


def has_compiler() -> bool:
    """Whether programs can be compiled for a CPU here."""
    return shutil.which(_compiler_name()) is not None


def _compiler_name() -> str:
    """What PyTorch's Inductor calls."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return os.environ.get("CXX", usual)


def together(before: tuple[str, ...], now: str) -> tuple[str, ...]:
    """The engines of a run that was stopped and went on.

    Args:
        before: those of its earlier starts.
        now: that of this start; "" if it did nothing.

    >>> together(("eager",), "compiled"), together(("eager",), "eager"), together((), "")
    (('eager', 'compiled'), ('eager',), ())
    """
    return before if now in ("", latest(before)) else (*before, now)


def latest(engines: Sequence[str]) -> str:
    """The last of some engines; "" if there are none."""
    return engines[-1] if engines else ""


class Engine(Protocol):
    """Makes the meta-steps of a learner."""

    @property
    def made(self) -> bool:
        """Whether it has made a step."""
        ...

    @property
    def name(self) -> str:
        """``eager``, ``compiled`` or ``captured``: what made most of its steps."""
        ...

    def __call__(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Make one, see :meth:`metabench.Learner.meta_step`."""
        ...


class Eager:
    """Each step is the learner's own."""

    name = "eager"

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.made = False

    def __call__(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Make one meta-step."""
        self.made = True
        return self._learner.meta_step(tasks, progress=progress, rng=rng)


def open_engine(
    name: Literal["eager", "compiled"],
    learner: Learner,
    *,
    device: torch.device,
    say: Callable[[str], None],
) -> Engine:
    """Open an engine.

    Args:
        name: of the engine.
        learner: whose steps it makes.
        device: where the learner's tensors live.
        say: called with a sentence for the user.
    """
    if name == "eager":
        return Eager(learner)
    from metabench.running.engines.stepper import Stepper

    compile_graph, made = _compiler(device)
    return Stepper(learner, compile_graph, name=made, say=say)


def _compiler(device: torch.device) -> tuple[Compile, str]:
    """What makes programs of graphs for a device, and what such programs are called."""
    if device.type == "cpu":
        from metabench.running.engines.programs import by_inductor

        return by_inductor, "compiled"
    from metabench.running.engines.capture import captured

    return captured, "captured"


class Adapter(Protocol):
    """Lets a learner adapt to the batches of one evaluation."""

    @property
    def made(self) -> bool:
        """Whether it has adapted to a batch."""
        ...

    @property
    def name(self) -> str:
        """``eager``, ``compiled`` or ``captured``: what adapted to most batches."""
        ...

    def __call__(
        self, learner: Learner | Ensemble, tasks: TaskBatch, *, rng: torch.Generator
    ) -> Adapted:
        """Adapt to the support sets. Predictors may be asked for the queries of ``tasks`` alone."""
        ...


class EagerAdapter:
    """Each adaptation is the learner's own."""

    name = "eager"

    def __init__(self) -> None:
        self.made = False

    def __call__(
        self, learner: Learner | Ensemble, tasks: TaskBatch, *, rng: torch.Generator
    ) -> Adapted:
        """Adapt."""
        self.made = True
        return learner.adapt(tasks.support, rng=rng)


def open_adapter(
    name: Literal["eager", "compiled"],
    *,
    device: torch.device,
    task: TaskShape,
    size: int,
    batches: int,
    curve: bool,
    say: Callable[[str], None],
) -> Adapter:
    """Open what adapts in an evaluation.

    A program pays from :data:`WORTH_ADAPTING` batches on. On a CPU it does not pay on images, where
    most of an inner step is spent in convolutions.

    Args:
        name: of the engine.
        device: where the learner's tensors live.
        task: says what the network sees.
        size: episodes of a full batch; a smaller one is adapted to by the learner.
        batches: how many full ones there are.
        curve: whether more than the headline's predictor is asked for.
        say: called with a sentence for the user.
    """
    on_cpu = device.type == "cpu"
    pays = batches >= WORTH_ADAPTING and not (on_cpu and len(task.inputs) > 1)
    if name == "eager" or not pays:
        return EagerAdapter()
    from metabench.running.engines.adapter import ProgramAdapter

    compile_graph, made = _compiler(device)
    return ProgramAdapter(compile_graph, size=size, curve=curve, name=made, say=say)
