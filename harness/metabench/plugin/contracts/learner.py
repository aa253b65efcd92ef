"""The contract of a meta-learner, and what the harness gives to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from metabench.plugin.contracts.architecture import Mixture
from metabench.plugin.contracts.episode import Adapted, EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.contracts.strategy import Strategy

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@runtime_checkable
class Learner(Protocol):
    """A meta-learner: one outer update, and adaptation to tasks it has not seen.

    Random numbers come from the generator that the harness passes in, always a CPU generator, so
    that a run on a GPU draws the same numbers; move the drawn tensor, not the generator.
    """

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Make one outer update and return scalars to log; ``loss`` is expected among them.

        Args:
            tasks: a batch of meta-train episodes.
            progress: how much of meta-training is done, in [0, 1).
            rng: derived from the run's seed and the step alone, so a resumed run draws the same.
        """
        ...

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Adapt to the tasks of ``support`` without changing the learner's state."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, optimizers too: nested dicts, tensors, numbers."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        ...


@runtime_checkable
class TracingLearner(Learner, Protocol):
    """A learner that shows how its mixture changes while it adapts: an optional capability."""

    def trace(self, support: Labelled, *, rng: torch.Generator) -> Sequence[Mixture]:
        """Adapt as :meth:`adapt` does; leave the learner's state as it was.

        Returns:
            Weights of operations before the first step and after each; empty if none changes them.
        """
        ...


@runtime_checkable
class PhasedLearner(Learner, Protocol):
    """A learner that searches first and then trains what is tested: an optional capability."""

    @property
    def searching(self) -> bool:
        """Whether the search goes on; model selection takes no weights of that time."""
        ...


@dataclass(frozen=True, slots=True)
class LearnerContext:
    """What the harness gives to a learner's factory.

    Attributes:
        params: the learner's own validated parameters.
        task: shapes that the network must serve.
        shape: how many examples a meta-test episode holds; ``shape.shots`` is K.
        space: the network, fixed or searched.
        strategy: how an architecture is chosen; None for fixed networks.
        steps_at_test: inner steps of the headline number.
        curve_steps: how many steps the steps-at-test curve shows.
        transductive: whether the query set may be normalised by its own statistics.
        meta_steps: length of meta-training, for schedules.
        device: where tensors live.
        rng: a CPU generator for initial weights.
    """

    params: Any
    task: TaskShape
    shape: EpisodeShape
    space: SearchSpace | None
    strategy: Strategy | None
    steps_at_test: int
    curve_steps: int
    transductive: bool
    meta_steps: int
    device: torch.device
    rng: torch.Generator

    @property
    def queries_together(self) -> bool:
        """Whether the query set may go through the network at once.

        It may where the protocol allows its statistics, or the network takes none.
        """
        return self.transductive or (self.space is not None and not self.space.batch_statistics)
