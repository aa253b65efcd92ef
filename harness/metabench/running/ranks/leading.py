"""The leader's side: what is otherwise done in one process is done by all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import torch
from torch import Tensor

from metabench.errors import MetabenchError
from metabench.planning.plan import PlannedRun
from metabench.plugin.contracts.episode import TaskBatch
from metabench.plugin.contracts.learner import Learner
from metabench.running.ensemble import Ensemble
from metabench.running.ranks.messages import Build, End, Evaluate, Evaluated, Load, Step, moved
from metabench.running.ranks.team import LostRankError, Team

Found = TypeVar("Found")


class Leader:
    """What rank 0 does for one run after another.

    Args:
        call: calls the others together, when there is first something to do.
    """

    def __init__(self, call: Callable[[], Team]) -> None:
        self._call = call
        self._team: Team | None = None

    @property
    def team(self) -> Team:
        """This process among the others, which are called if they are not there."""
        if self._team is None:
            self._team = self._call()
        return self._team

    def build(
        self, planned: PlannedRun, metrics: Iterable[str], make: Callable[[], Found]
    ) -> Found:
        """Let all build a run; raise what is wrong with it on one of them."""
        self.team.tell(Build(planned, tuple(metrics)))
        built, error = None, None
        with self.team.at_work():
            try:
                built = make()
            except MetabenchError as caught:
                error = caught
            errors = [one for one in self.team.gather(error) if one is not None]
        if errors:
            raise errors[0]
        assert built is not None
        return built

    def engine(self, learner: Learner, meta_steps: int) -> LedSteps:
        """Open what makes the meta-steps of a run."""
        return LedSteps(self.team, learner, meta_steps)

    def load(self, learner: Learner | Ensemble) -> None:
        """Let all have the state of a learner."""
        if isinstance(learner, Ensemble):
            self.team.tell(Load([moved(state, "cpu") for state in learner.states], together=True))
        else:
            self.team.tell(Load([moved(learner.state_dict(), "cpu")]))

    def chunks(
        self, split: Evaluated, make: Callable[[int], Found], firsts: Sequence[int]
    ) -> Iterator[Found]:
        """Evaluate on chunks of episodes, as many at a time as there are ranks; yield in order.

        Args:
            split: whose episodes.
            make: evaluates on the chunk that begins with an episode.
            firsts: the first episode of each chunk.
        """
        count = self.team.count
        for at in range(0, len(firsts), count):
            here = firsts[at : at + count]
            self.team.tell(Evaluate(split, here))
            with self.team.at_work():
                findings = self.team.gather(attempted(make, here, self.team))
            for found in findings[: len(here)]:
                if isinstance(found, MetabenchError):
                    raise found
                yield moved(found, self.team.device) if isinstance(found, Tensor) else found

    def end(self) -> None:
        """Let the followers go, if they were called."""
        if self._team is None:
            return
        with suppress(LostRankError):
            if not self._team.broken:
                self._team.tell(End())
        self._team.leave()


def attempted(
    make: Callable[[int], Found], firsts: Sequence[int], team: Team
) -> Found | MetabenchError | None:
    """What a rank finds on its chunk of episodes, or what is wrong with it; None without one."""
    if team.rank >= len(firsts):
        return None
    try:
        found = make(firsts[team.rank])
    except MetabenchError as error:
        return error
    return moved(found, "cpu") if isinstance(found, Tensor) else found


class LedSteps:
    """An engine whose meta-steps all ranks make together.

    Args:
        team: the ranks.
        learner: that of this one.
        meta_steps: length of meta-training.
    """

    name = "eager"

    def __init__(self, team: Team, learner: Learner, meta_steps: int) -> None:
        self.made = False
        self._team = team
        self._learner = learner
        self._meta_steps = meta_steps

    def __call__(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Make one; before the first, all ranks get this one's state."""
        if not self.made:
            self._team.tell(Load([moved(self._learner.state_dict(), "cpu")]))
            self.made = True
        self._team.tell(Step(round(progress * self._meta_steps)))
        with self._team.at_work():
            return self._learner.meta_step(tasks, progress=progress, rng=rng)
