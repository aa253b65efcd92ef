"""What a learner gets, a batch of episodes with a leading task axis, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.plugin.contracts.genotype import Genotype

TaskKind = Literal["classification", "regression"]
"""Kinds of task: to tell classes apart, or to predict values."""


@dataclass(frozen=True, slots=True)
class EpisodeShape:
    """How many examples an episode has.

    In classification, ``shots`` and ``queries`` count examples per class. In regression, ``ways``
    is 1 and they count points.
    """

    ways: int
    shots: int
    queries: int

    @property
    def n_support(self) -> int:
        """Number of support examples of one episode."""
        return self.ways * self.shots

    @property
    def n_query(self) -> int:
        """Number of query examples of one episode."""
        return self.ways * self.queries


@dataclass(frozen=True, slots=True)
class TaskShape:
    """The inputs and outputs of a network.

    Attributes:
        kind: classification or regression.
        inputs: shape of one example, ``(channels, height, width)`` or ``(features,)``.
        outputs: number of classes, or of regression targets.
    """

    kind: TaskKind
    inputs: tuple[int, ...]
    outputs: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """The support sets or the query sets of a batch of tasks.

    Attributes:
        x: ``[tasks, n, *inputs]``, float.
        y: ``[tasks, n]`` class index 0..ways-1 (int64), or ``[tasks, n, outputs]`` (float).
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True, slots=True)
class ClassBatch:
    """Labelled examples of the meta-train classes, each drawn from all of them.

    Attributes:
        x: ``[1, n, *inputs]``, float; the first axis is the task axis of networks.
        y: ``[1, n]``, int64, ids of classes: 0 to ``LearnerContext.train_classes - 1``.
        key: a digest of sources and examples; equal keys mean equal batches.
    """

    x: Tensor
    y: Tensor
    key: str


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """A batch of episodes.

    Attributes:
        support: what a learner adapts on.
        query: what it is scored on. The harness hides it during meta-test.
        sources: per task, the name of its source.
        keys: per task, a digest of source, classes and examples; equal keys mean equal episodes.
        classes: in meta-training on classes, the id of each class of each task, ``[tasks, ways]``
            int64; None elsewhere. Label ``k`` of task ``t`` is the class ``classes[t, k]``.
        phase: the name of the phase of meta-training, of a learner that has phases.
        labelled: labelled examples, where the phase asks for them. The batch may then have no
            tasks.
    """

    support: Labelled
    query: Labelled
    sources: tuple[str, ...]
    keys: tuple[str, ...]
    classes: Tensor | None = None
    phase: str = ""
    labelled: ClassBatch | None = None

    def __len__(self) -> int:
        return len(self.keys)


Predictor = Callable[["Tensor"], "Tensor"]
"""Maps query inputs ``[tasks, q, *inputs]`` to logits or targets ``[tasks, q, outputs]``."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """What adaptation returns for a batch of tasks.

    Inner steps may be made when a predictor is called, so that the weights of all steps need not be
    alive. The harness calls the curve in order, then ``predict`` and the variants, and then looks
    at the rest; all of it before the learner changes.

    Attributes:
        predict: the predictor after the protocol's number of inner steps, for the headline score.
        curve: predictors after 0, 1, 2, ... inner steps, at most up to ``context.curve_steps``, if
            the learner has inner steps.
        genotypes: the genotype of each task, if an architecture is chosen.
        n_params: the number of weights of the network that predicts, for each task.
        embedding: ``[tasks, d]``, if the learner embeds tasks.
        own_genotypes: the genotype that each task decoded to, where the learner may predict with
            another one, such as the nearest of those that it has trained.
        variants: other predictors of the same adaptation, by name, such as ``pruned``. Each is
            scored on the headline's queries and shown in a table of its own. The description of
            the learner names them all (``predictions``).
    """

    predict: Predictor
    curve: Sequence[Predictor] | None = None
    genotypes: Sequence[Genotype] | None = None
    n_params: Sequence[int] | None = None
    embedding: Tensor | None = None
    own_genotypes: Sequence[Genotype] | None = None
    variants: Mapping[str, Predictor] = field(default_factory=dict)
