"""A follower's side: it does what the leader says, and writes and shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import MetabenchError
from metabench.planning.starting_weights import start_of
from metabench.plugin.contracts.episode import TaskBatch
from metabench.plugin.contracts.learner import Learner
from metabench.results.store import RunStore
from metabench.running.build import Built, build
from metabench.running.ensemble import Ensemble
from metabench.running.loops import Control, Loops
from metabench.running.precision import computing_in
from metabench.running.ranks.leading import attempted
from metabench.running.ranks.messages import Build, End, Evaluate, Evaluated, Load, Message, moved
from metabench.running.ranks.team import Team
from metabench.running.training_phases import TrainingPhase, batches
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog


def follow(team: Team, catalog: Catalog) -> None:
    """Do what the leader says until it says that there is nothing left.

    Args:
        team: this process among the others.
        catalog: where plugins are found.

    Raises:
        LostRankError: when another process has ended.
    """
    message = team.hear()
    while not isinstance(message, End):
        assert isinstance(message, Build), f"the leader begins with {message}"
        with computing_in(message.planned.spec.precision):
            message = _run(team, catalog, message)


def _run(team: Team, catalog: Catalog, asked: Build) -> Message:
    """Follow through one run; return the message after it."""
    built: Built | None = None
    error: MetabenchError | None = None
    spec = asked.planned.spec
    try:
        built = build(
            spec,
            catalog,
            device=team.device,
            metrics=asked.metrics,
            ranks=team,
            start=start_of(spec, catalog),
        )
    except MetabenchError as caught:
        error = caught
    team.gather(error)
    message = team.hear()
    if built is None:
        return message
    part = _Part(team, asked, built)
    while not isinstance(message, Build | End):
        part(message)
        message = team.hear()
    return message


class _Part:
    """What a follower does in one run."""

    def __init__(self, team: Team, asked: Build, built: Built) -> None:
        self._team = team
        self._spec = asked.planned.spec
        self._built = built
        self._tested: Learner | Ensemble = built.learner
        self._drawn = _Drawn(built.phases)
        # It evaluates, and never writes: the folder is not there.
        store = RunStore.of(self._spec, Path("nowhere"))
        control = Control(emit=lambda event: None, stopped=lambda: False)
        self._loops = Loops(asked.planned, built, store, team.device, control)

    def __call__(self, message: Message) -> None:
        """Do what a message says."""
        if isinstance(message, Load):
            self._load(message)
        elif isinstance(message, Evaluate):
            self._team.gather(attempted(self._maker(message.split), message.firsts, self._team))
        else:
            assert not isinstance(message, Build | End)
            self._step(message.number)

    def _load(self, message: Load) -> None:
        states = [moved(state, self._team.device) for state in message.states]
        built = self._built
        if message.together:
            self._tested = Ensemble(built.learner, states, built.task.kind, built.n_params)
        else:
            self._tested = built.learner
            built.learner.load_state_dict(states[0])

    def _step(self, number: int) -> None:
        progress = number / self._spec.training.meta_steps
        rng = generator(self._spec.seed, "meta-train", number)
        self._built.learner.meta_step(self._drawn(number), progress=progress, rng=rng)

    def _maker(self, split: Evaluated) -> Callable[[int], Any]:
        if split == "meta-val":
            return self._loops.validated_chunk
        return self._loops.tested_chunk(self._tested, self._built.test)


class _Drawn:
    """The batches of meta-steps, mostly asked for in order."""

    def __init__(self, phases: tuple[TrainingPhase, ...]) -> None:
        self._phases = phases
        self._next = -1
        self._batches: Iterator[tuple[TrainingPhase, TaskBatch]] = iter(())

    def __call__(self, number: int) -> TaskBatch:
        if number != self._next:
            self._batches = batches(self._phases, number)
        self._next = number + 1
        _, tasks = next(self._batches)
        return tasks
