"""The contract of a meta-learner, and what the harness passes to its factory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from metabench.plugin.contracts.architecture import Mixture
from metabench.plugin.contracts.episode import Adapted, EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.ranks import ONE_RANK, Ranks
from metabench.plugin.contracts.space import SearchSpace
from metabench.plugin.contracts.strategy import Strategy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SKIPPED = "skipped"
"""Name of a scalar of :meth:`Learner.meta_step`: 1 where the outer update was not made, else 0."""
QUERY_LOSS = "query_loss"
"""Name of a scalar of :meth:`Learner.meta_step`: the mean over tasks and query examples of the
cross-entropy or of the squared error, so that learners can be compared while they train."""
QUERY_ACCURACY = "query_accuracy"
"""Name of a scalar of :meth:`Learner.meta_step` in classification: the share of query examples
whose class is predicted."""


class TrainingOnly(dict[Any, Any]):
    """A part of a learner's state that further training needs, and adaptation does not.

    Such as an optimizer's moments. A learner wraps it in :meth:`Learner.state_dict`. The harness
    drops it from the weights of a finished training, so :meth:`Learner.load_state_dict` must then
    accept a state without it.
    """


@runtime_checkable
class Learner(Protocol):
    """A meta-learner: one outer update, and adaptation to new tasks.

    Random numbers come from the generator that the harness passes in. It is always a CPU generator,
    so that a run on a GPU draws the same numbers; move the drawn tensor, not the generator.
    """

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Make one outer update and return scalars to log, among them ``loss``.

        A learner that may skip an update, because a task has run away, says so by the scalar
        :data:`SKIPPED`. The harness counts skipped updates in the record, and leaves their scalars
        out of the means that it logs.

        A step can be captured as one program if it reads nothing from its device, if its shapes do
        not depend on values, and if what changes from step to step is a tensor of
        :meth:`state_dict`, a draw from ``rng``, or follows from ``progress``. Another step runs
        eagerly. The page on adding a learner has the rules, and the conformance kit checks them.

        Args:
            tasks: a batch of meta-train episodes; in a :class:`~metabench.Phase` that asks for
                labelled examples, these as well or alone.
            progress: the share of meta-training that is done, in [0, 1). While a step is captured
                it is a scalar tensor (float64, on the CPU), so compute with operators.
            rng: depends only on the seed of the run and the step, so a resumed run draws the same.
        """
        ...

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Adapt to the tasks of ``support`` without changing the learner's state."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, optimizers included: dicts, tensors, numbers.

        A tensor keeps its shape: a state in which one has another shape than in a new learner is
        taken for damaged, unless it names another phase or architecture. What adaptation does not
        need may be wrapped in :class:`TrainingOnly`.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, with or without its :class:`TrainingOnly`."""
        ...


@runtime_checkable
class TracingLearner(Learner, Protocol):
    """A learner that can show how its mixture changes as it adapts: an optional capability."""

    def trace(self, support: Labelled, *, rng: torch.Generator) -> Sequence[Mixture]:
        """Adapt as :meth:`adapt` does, without changing the learner's state.

        Returns:
            The mixture before the first inner step and after each; empty if it does not change.
        """
        ...


@runtime_checkable
class PhasedLearner(Learner, Protocol):
    """A learner that searches first, then trains what it found: an optional capability."""

    @property
    def searching(self) -> bool:
        """Whether the learner is still searching; its weights are not selected for testing then."""
        ...


@dataclass(frozen=True, slots=True)
class LearnerContext:
    """What the harness passes to a learner's factory.

    Attributes:
        params: the validated parameters of the learner.
        task: the inputs and outputs of the network.
        shape: how many examples a meta-test episode has; ``shape.shots`` is K.
        space: the network, fixed or searched; None for a learner with its own network.
        strategy: how an architecture is chosen; None for a fixed network.
        steps_at_test: inner steps at meta-test for the headline score.
        curve_steps: inner steps up to which the curve of scores is recorded.
        transductive: whether the query set may be normalized by its own statistics.
        meta_steps: length of meta-training, for schedules.
        device: the device for tensors.
        rng: a CPU generator for initial weights.
        train_classes: how many classes meta-training has, over all sources; 0 in regression.
        ranks: the processes that share the tasks of each meta-step. There is a single one unless
            ``LearnerSpec.splits_tasks`` says that the learner asks it which tasks are its own.
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
    train_classes: int = 0
    ranks: Ranks = ONE_RANK

    @property
    def queries_together(self) -> bool:
        """Whether the whole query set may go through the network at once.

        It may if the protocol is transductive, or if the network uses no batch statistics.
        """
        return self.transductive or (self.space is not None and not self.space.batch_statistics)
