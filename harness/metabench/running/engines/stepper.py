"""Makes the meta-steps of a learner by programs that are recorded from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metabench.plugin.contracts.episode import TaskBatch
from metabench.plugin.contracts.learner import Learner
from metabench.running.engines.programs import Compile, Program, tried
from metabench.running.engines.reads import Names, PythonReads
from metabench.running.engines.recording import (
    Guard,
    Recorder,
    Recording,
    Refused,
    for_any_draws,
)
from metabench.running.engines.states import (
    FlatState,
    copied,
    differences,
    layout,
    same_memory,
    share_memory,
)

MOST_EVENTS = 4
"""Steps in a row that change more of the state than tensors, from which the rest is eager."""
MOST_KEPT = 8
"""Programs that are kept: those last used."""

Scalars = Mapping[str, Tensor | float]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A program and the steps that it is right for.

    Attributes:
        kind: of the state and the tasks.
        guard: of the progress; None for all.
        program: None where these steps are made eagerly.
    """

    kind: object
    guard: Guard | None
    program: Program | None

    def fits(self, kind: object, progress: Tensor) -> bool:
        return self.kind == kind and (self.guard is None or self.guard.holds(progress))


@dataclass(frozen=True, slots=True)
class _Made:
    """A step that was recorded while the learner made it, and the state before and after it."""

    recorder: Recorder
    scalars: Scalars
    before: FlatState
    after: FlatState

    def recording(self) -> Recording:
        """Close the graph; only where nothing but tensors has changed."""
        if self.recorder.refused:
            raise Refused(self.recorder.refused)
        replaced = [
            (tensor, self.after.tensors[path])
            for path, tensor in self.before.tensors.items()
            if self.after.tensors[path] is not tensor
        ]
        return self.recorder.finish(self.scalars, replaced)


class Stepper:
    """Makes each meta-step by a program; one of a new kind is recorded first.

    Recording changes nothing: the state and the generator are set back, and the program makes the
    step. So a run that was stopped and goes on makes each step as one that was not. A step that
    changes more than tensors, such as the first one of a phase, stays as the learner made it.

    Args:
        learner: whose steps these are.
        compile_graph: makes a program of a graph.
        name: what the steps of its programs are called.
        say: called with a sentence for the user.
    """

    def __init__(
        self,
        learner: Learner,
        compile_graph: Compile,
        *,
        name: str = "compiled",
        say: Callable[[str], None],
    ) -> None:
        self._learner = learner
        self._compile = compile_graph
        self._say = say
        self._entries: list[_Entry] = []
        self._state: FlatState | None = None
        self._inputs: dict[str, Tensor] = {}
        self._events = 0
        self._name = name
        self.by_program = 0
        self.by_learner = 0

    @property
    def made(self) -> bool:
        """Whether it has made a step."""
        return self.by_program + self.by_learner > 0

    @property
    def name(self) -> str:
        """What made most of the steps."""
        return "eager" if self.by_learner > self.by_program else self._name

    def __call__(self, tasks: TaskBatch, *, progress: float, rng: torch.Generator) -> Scalars:
        """Make one meta-step."""
        share = torch.tensor(progress, dtype=torch.float64)
        if self._events >= MOST_EVENTS:
            # As the first of these were made: a run that goes on begins with such steps.
            return self._eager(tasks, share, rng)
        if self._state is None:
            self._state = FlatState.of(self._learner.state_dict())
        given = tensors_of(tasks)
        kind = self._state.kind, tasks.phase, tuple((n, layout(t)) for n, t in given.items())
        for entry in self._entries:
            if entry.fits(kind, share):
                break
        else:
            found = self._record(tasks, kind, given, share=share, rng=rng)
            if not isinstance(found, _Entry):
                return found
            entry = found
        if entry is not self._entries[0]:
            self._entries = [entry, *(other for other in self._entries if other is not entry)]
        self._events = 0
        if entry.program is None:
            return self._eager(tasks, progress, rng)
        self.by_program += 1
        return entry.program(self._inputs_of(entry.program, given, share, rng))

    def _eager(self, tasks: TaskBatch, progress: Any, rng: torch.Generator) -> Scalars:
        self.forget()
        self.by_learner += 1
        return self._learner.meta_step(tasks, progress=progress, rng=rng)

    def forget(self) -> None:
        """Look at the learner's state again: something else may have replaced its tensors."""
        self._state = None
        self._inputs = {}

    def _inputs_of(
        self,
        program: Program | Recording,
        given: Mapping[str, Tensor],
        share: Tensor,
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        if not self._inputs:
            self._bind()
        drawn = {f"draw.{i}": draw for i, draw in enumerate(program.draws.again(rng))}
        return {**self._inputs, **given, **drawn, "progress": share}

    def _bind(self) -> None:
        """Take hold of the learner's tensors, for programs to change them in place.

        They are first replaced by copies, where the learner allows that: others may hold the old.
        """
        self._learner.load_state_dict(copied(self._learner.state_dict()))
        self._state = FlatState.of(self._learner.state_dict())
        self._inputs = {
            f"state.{i}": t.detach() for i, t in enumerate(self._state.tensors.values())
        }

    def _record(
        self,
        tasks: TaskBatch,
        kind: object,
        given: Mapping[str, Tensor],
        *,
        share: Tensor,
        rng: torch.Generator,
    ) -> _Entry | Scalars:
        """Return an entry for this kind of step, or the scalars of a step that stays as it is."""
        words, snapshot = rng.get_state(), copied(self._learner.state_dict())
        made = self._made(tasks, given, share, rng)
        recorder, scalars = made.recorder, made.scalars
        changed = differences(made.before, made.after)
        self.forget()
        if changed and scalars:
            self._events += 1
            if self._events >= MOST_EVENTS:
                self._say(
                    "meta-steps are made eagerly, because each changes more of the state than "
                    f"tensors: {', '.join(changed[:3])}"
                )
            self.by_learner += 1
            return scalars
        self._learner.load_state_dict(copied(snapshot))
        rng.set_state(words)
        try:
            if not same_memory(*(FlatState.of(self._learner.state_dict()) for _ in range(2))):
                raise Refused("state_dict() returns copies of its tensors")
            recording = made.recording()
            if share_memory(recording.constants.values(), made.before.tensors.values()):
                raise Refused(
                    "it reads the state through tensors that state_dict() does not return"
                )

            def again() -> Recording:
                recording = self._made(tasks, given, share, rng).recording()
                self._learner.load_state_dict(copied(snapshot))
                rng.set_state(words)
                return recording

            recording = for_any_draws(recording, again, rng)
            program = self._compiled(recording, given, share, rng)
            self._check(program, scalars, given, share, rng)
            self._learner.load_state_dict(copied(snapshot))
            rng.set_state(words)
            self.forget()
            entry = _Entry(kind, recording.guard, program)
        except Refused as refusal:
            self._learner.load_state_dict(snapshot)
            rng.set_state(words)
            self.forget()
            self._say(f"meta-steps are made eagerly, because {refusal}")
            entry = _Entry(kind, recorder.guard(), None)
        self._entries.insert(0, entry)
        del self._entries[MOST_KEPT:]
        return entry

    def _made(
        self, tasks: TaskBatch, given: Mapping[str, Tensor], share: Tensor, rng: torch.Generator
    ) -> _Made:
        """Let the learner make the step, and record it."""
        before = FlatState.of(self._learner.state_dict())
        held = {f"state.{i}": tensor for i, tensor in enumerate(before.tensors.values())}
        recorder = Recorder({**held, **given}, progress=share, rng=rng)
        sources, keys = (Names.of(names, recorder) for names in (tasks.sources, tasks.keys))
        tasks = replace(tasks, sources=sources, keys=keys)
        scalars: Scalars = {}
        try:
            with PythonReads(recorder), recorder:
                scalars = self._learner.meta_step(tasks, progress=share, rng=rng)  # type: ignore[arg-type]
        except Exception as error:
            recorder.refused = recorder.refused or f"{type(error).__name__}: {error}"
        return _Made(recorder, scalars, before, FlatState.of(self._learner.state_dict()))

    def _compiled(
        self, recording: Recording, given: Mapping[str, Tensor], share: Tensor, rng: torch.Generator
    ) -> Program:
        words = rng.get_state()
        inputs = self._inputs_of(recording, given, share, rng)
        rng.set_state(words)
        self._say(f"compiling the meta-step of {len(recording.graph.nodes):,} operators")
        return Program.of(recording, self._compile, inputs)

    def _check(
        self,
        program: Program,
        wanted: Scalars,
        given: Mapping[str, Tensor],
        share: Tensor,
        rng: torch.Generator,
    ) -> None:
        """Refuse a program whose first step has another loss than the learner's own."""
        inputs = self._inputs_of(program, given, share, rng)
        found = tried(partial(program, inputs))
        for name, value in wanted.items():
            one, other = _number(value), _number(found[name])
            if not math.isclose(one, other, rel_tol=1e-2, abs_tol=1e-4) and math.isfinite(one):
                raise Refused(f"the program has {name} {other:.6g} where the learner has {one:.6g}")


def _number(value: Tensor | float) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def tensors_of(tasks: TaskBatch) -> dict[str, Tensor]:
    """The tensors of a batch, by name of the input."""
    found: dict[str, Any] = {
        "support.x": tasks.support.x,
        "support.y": tasks.support.y,
        "query.x": tasks.query.x,
        "query.y": tasks.query.y,
        "classes": tasks.classes,
    }
    if tasks.labelled is not None:
        found |= {"labelled.x": tasks.labelled.x, "labelled.y": tasks.labelled.y}
    return {f"tasks.{name}": tensor for name, tensor in found.items() if tensor is not None}
