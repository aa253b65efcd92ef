"""Adapts to batches of episodes by programs that are recorded from the learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metabench.plugin.contracts.episode import Adapted, Predictor, TaskBatch
from metabench.plugin.contracts.learner import Learner
from metabench.running.engines.programs import Compile, Program, tried
from metabench.running.engines.reads import PythonReads
from metabench.running.engines.recording import Recorder, Recording, Refused, for_any_draws
from metabench.running.engines.states import (
    FlatState,
    differences,
    layout,
    same_memory,
    share_memory,
)
from metabench.running.engines.stepper import tensors_of
from metabench.running.ensemble import Ensemble

FAR, NEAR = 1e-2, 1e-4
"""Relative and absolute difference from which two outputs are not the same up to rounding."""
MOST_FAR = 0.1
"""Share of outputs that may be so far: the inner loops of some tasks multiply rounding. Of an
untrained network with batch norm 0.03 are in float32; in float64 none differs by more than 1e-11 of
itself."""
EMBEDDING = "embedding"


class ProgramAdapter:
    """Adapts by a program; the first batch of a kind is recorded for it.

    The recorded batch is adapted to by the program as well, so an evaluation that was stopped and
    goes on gives the same bits as one that was not.

    Args:
        compile_graph: makes a program of a graph.
        size: episodes of a full batch; a smaller one is not worth a program.
        curve: whether the curve and all that meta-test keeps are asked for, or ``predict`` alone.
        name: what the programs are called.
        say: called with a sentence for the user.
    """

    def __init__(
        self,
        compile_graph: Compile,
        *,
        size: int,
        curve: bool = True,
        name: str = "compiled",
        say: Callable[[str], None],
    ) -> None:
        self._compile = compile_graph
        self._size = size
        self._curve = curve
        self._name = name
        self._say = say
        self._kind: object = None
        self._program: _AdaptProgram | None = None
        self._why = ""
        self.by_program = 0
        self.by_learner = 0

    @property
    def made(self) -> bool:
        """Whether it has adapted to a batch."""
        return self.by_program + self.by_learner > 0

    @property
    def name(self) -> str:
        """What adapted to most batches."""
        return "eager" if self.by_learner > self.by_program else self._name

    def __call__(
        self, learner: Learner | Ensemble, tasks: TaskBatch, *, rng: torch.Generator
    ) -> Adapted:
        """Adapt by the program; by the learner where there is none."""
        if len(tasks) == self._size:
            state = FlatState.of({} if isinstance(learner, Ensemble) else learner.state_dict())
            given = _by_input(state) | tensors_of(tasks)
            layouts = tuple((name, layout(one)) for name, one in given.items())
            kind = learner, state.kind, layouts
            if kind != self._kind:
                self._program, self._kind = self._recorded(learner, state, tasks, rng), kind
            if self._program is not None:
                self.by_program += 1
                return self._program.adapted(state, tasks, rng)
        self.by_learner += 1
        return learner.adapt(tasks.support, rng=rng)

    def _recorded(
        self, learner: Learner | Ensemble, state: FlatState, tasks: TaskBatch, rng: torch.Generator
    ) -> _AdaptProgram | None:
        """Record and compile, or say why the learner has to adapt; ``rng`` stays as it is."""
        words = rng.get_state()
        try:
            if isinstance(learner, Ensemble):
                raise Refused("several states of the learner predict together")
            recording, asked = self._recording(learner, state, tasks, rng)
            _check_state(recording, state, FlatState.of(learner.state_dict()))
            rng.set_state(words)

            def again() -> Recording:
                recording, _ = self._recording(learner, state, tasks, rng)
                rng.set_state(words)
                return recording

            recording = for_any_draws(recording, again, rng)
            self._say(f"compiling the adaptation of {len(recording.graph.nodes):,} operators")
            inputs = _inputs(recording, state, tasks, rng)
            made = _AdaptProgram(Program.of(recording, self._compile, inputs), asked)
            rng.set_state(words)
            _check_outputs(asked.outputs, tried(partial(made.run, state, tasks, rng)))
        except Refused as refusal:
            if str(refusal) != self._why:  # it may hold for each evaluation
                self._say(f"adaptation is made eagerly, because {refusal}")
            self._why = str(refusal)
            return None
        finally:
            rng.set_state(words)
        asked.outputs.clear()  # memory is free again
        return made

    def _recording(
        self, learner: Learner, state: FlatState, tasks: TaskBatch, rng: torch.Generator
    ) -> tuple[Recording, _AllOutputs]:
        given = _by_input(state) | tensors_of(tasks)
        recorder = Recorder(given, progress=torch.zeros(()), rng=rng, changes_state=False)
        asked = _all_outputs(recorder, learner, tasks, rng, curve=self._curve)
        return recorder.finish(asked.outputs, ()), asked


@dataclass(frozen=True, slots=True)
class _AllOutputs:
    """What an adaptation gave when everything was asked of it.

    Attributes:
        outputs: of each predictor and the embedding, by place.
        predict: the place of the headline's predictor.
        curve: the places of the curve's, where there is one.
        variants: the places of the variants', by name.
        rest: what is made without numbers, and so is the same for each batch of the kind.
    """

    outputs: dict[str, Tensor]
    predict: str
    curve: Sequence[str] | None
    variants: Mapping[str, str]
    rest: Mapping[str, Any]


def _all_outputs(
    recorder: Recorder,
    learner: Learner,
    tasks: TaskBatch,
    rng: torch.Generator,
    *,
    curve: bool,
) -> _AllOutputs:
    """Adapt, and ask for everything, in the order of meta-test.

    Raises:
        Refused: something cannot be recorded.
    """
    outputs: dict[str, Tensor] = {}
    places: dict[int, str] = {}

    def place(predict: Predictor) -> str:
        if id(predict) not in places:  # the headline's is one of the curve's
            places[id(predict)] = f"outputs.{len(places)}"
            outputs[places[id(predict)]] = predict(tasks.query.x)
        return places[id(predict)]

    try:
        with PythonReads(recorder), recorder, torch.no_grad():
            adapted = learner.adapt(tasks.support, rng=rng)
            if not curve:
                return _AllOutputs(outputs, place(adapted.predict), None, {}, {})
            if adapted.embedding is not None:
                outputs[EMBEDDING] = adapted.embedding
            return _AllOutputs(
                outputs,
                curve=None if adapted.curve is None else [*map(place, adapted.curve)],
                predict=place(adapted.predict),
                variants={name: place(predict) for name, predict in adapted.variants.items()},
                rest=_without_numbers(adapted),
            )
    except Exception as error:
        raise Refused(recorder.refused or f"{type(error).__name__}: {error}") from error


def _without_numbers(adapted: Adapted) -> dict[str, Any]:
    """What has no numbers. A learner that reads numbers for it is refused by the recorder."""
    rest = {name: getattr(adapted, name) for name in ("genotypes", "own_genotypes", "n_params")}
    return {name: None if value is None else list(value) for name, value in rest.items()}


@dataclass(frozen=True, slots=True)
class _AdaptProgram:
    """A program, and how its outputs become what a learner returns."""

    program: Program
    asked: _AllOutputs

    def run(self, state: FlatState, tasks: TaskBatch, rng: torch.Generator) -> dict[str, Tensor]:
        """The outputs for a batch, by place."""
        found = self.program(_inputs(self.program, state, tasks, rng))
        return {place: torch.as_tensor(output) for place, output in found.items()}

    def adapted(self, state: FlatState, tasks: TaskBatch, rng: torch.Generator) -> Adapted:
        """What a learner would return for a batch."""
        found, asked = self.run(state, tasks, rng), self.asked

        def predictor(place: str) -> Predictor:
            return partial(_of_queries, found[place], tasks.query.x)

        return Adapted(
            predict=predictor(asked.predict),
            curve=None if asked.curve is None else [*map(predictor, asked.curve)],
            variants={name: predictor(place) for name, place in asked.variants.items()},
            embedding=found.get(EMBEDDING),
            **asked.rest,
        )


def _of_queries(outputs: Tensor, queries: Tensor, x: Tensor) -> Tensor:
    if x is not queries:
        raise ValueError("a program predicts the queries of its batch alone.")
    return outputs


def _by_input(state: FlatState) -> dict[str, Tensor]:
    return {f"state.{i}": tensor for i, tensor in enumerate(state.tensors.values())}


def _inputs(
    program: Program | Recording, state: FlatState, tasks: TaskBatch, rng: torch.Generator
) -> dict[str, Tensor]:
    held = {name: tensor.detach() for name, tensor in _by_input(state).items()}
    drawn = {f"draw.{i}": draw for i, draw in enumerate(program.draws.again(rng))}
    return {**held, **tensors_of(tasks), **drawn}


def _check_state(recording: Recording, before: FlatState, after: FlatState) -> None:
    """Refuse a program that would not see the state as it is by then."""
    if differences(before, after) or not same_memory(before, after):
        raise Refused("it changes the state, or state_dict() returns copies of its tensors")
    if share_memory(recording.constants.values(), before.tensors.values()):
        raise Refused("it reads the state through tensors that state_dict() does not return")


def _check_outputs(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse a program whose outputs for the first batch are not the learner's own."""
    for place, own in wanted.items():
        near = torch.isclose(found[place], own, rtol=FAR, atol=NEAR, equal_nan=True)
        share = float((~near).double().mean())
        if share > MOST_FAR:
            raise Refused(f"{share:.0%} of what the program computes is not what the learner does")
