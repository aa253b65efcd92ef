"""The contracts that plugins implement: learner, search space, strategy, data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from metabench.episodes import Adapted, EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.genotype import Genotype

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class CellChoices:
    """What there is to choose in one type of cell.

    Attributes:
        edges: (source, target) of each edge, logits come in this order.
        primitives: names of the candidate operations, the same on every edge.
        kept: how many edges into each node a genotype keeps.
        input_pairs: whether the pairs of inputs of each node can have weights of their own.
    """

    edges: tuple[tuple[int, int], ...]
    primitives: tuple[str, ...]
    kept: int = 2
    input_pairs: bool = False

    def pairs(self) -> dict[int, tuple[tuple[int, int], ...]]:
        """Per node, in order, the pairs of edges into it (their positions in ``edges``).

        This is the order of the weights ``<cell>.inputs``, one node after another.

        >>> CellChoices(((0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), ("skip",)).pairs()
        {2: ((0, 1),), 3: ((2, 3), (2, 4), (3, 4))}
        """
        into: dict[int, list[int]] = {}
        for position, (_, target) in enumerate(self.edges):
            into.setdefault(target, []).append(position)
        return {
            node: tuple(itertools.combinations(sorted(into[node], key=self.edges.__getitem__), 2))
            for node in sorted(into)
        }


INPUTS = ".inputs"
"""Ends the key of the weights of input pairs: ``<cell>.inputs`` beside ``<cell>``."""
NEEDED = ".needed"
"""Ends the key of a mark per operation: ``<cell>.needed`` beside ``<cell>``."""


Params = dict[str, "Tensor"]
"""Weights by name: ``[*shape]`` when shared, ``[tasks, *shape]`` once a task owns them."""
Arch = dict[str, "Tensor"]
"""Architecture logits by cell type, ``[edges, operations]``, or ``[tasks, edges, operations]``
where each task has its own; empty where nothing is searched.

Where the space has input pairs, a strategy may add ``<cell>.inputs``, ``[pairs]`` or
``[tasks, pairs]``, in the order of :meth:`CellChoices.pairs`."""
Mixture = dict[str, "Tensor"]
"""Weights of operations by cell type, ``[tasks or 1, edges, operations]``; empty likewise.

``<cell>.inputs [tasks or 1, pairs]`` weighs the pairs of inputs of each node: an edge then counts
by the sum of the weights of the pairs it belongs to (MetaNAS, equation 7). Without it a node sums
over all its edges, each counting once.

``<cell>.needed [tasks or 1, edges, operations]`` (bool) is a hint: what it does not mark has weight
0, and nobody asks for the gradient of that weight, so that a space need not compute it."""


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


class TracingLearner(Learner, Protocol):
    """A learner that shows how its mixture changes while it adapts: an optional capability."""

    def trace(self, support: Labelled, *, rng: torch.Generator) -> Sequence[Mixture]:
        """Adapt as :meth:`adapt` does; leave the learner's state as it was.

        Returns:
            Weights of operations before the first step and after each; empty if none changes them.
        """
        ...


class SearchSpace(Protocol):
    """Cells and primitives. A fixed network is a space without choices."""

    @property
    def batch_statistics(self) -> bool:
        """Whether a prediction depends on the other examples it is made with."""
        ...

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw shared weights (float32, on the CPU), ``name -> [*shape]``."""
        ...

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, *inputs]`` to ``[tasks, n, outputs]``; pure.

        Args:
            weights: ``name -> [tasks, *shape]``, or ``[1, *shape]`` where all tasks share one.
            mixture: weights of operations; ``{}`` for a fixed network.
            x: examples of each task. Batch statistics are taken per task.
        """
        ...

    def choices(self) -> Mapping[str, CellChoices]:
        """Per cell type, its edges and primitives; ``{}`` for a fixed network."""
        ...

    def child(self, genotype: Genotype) -> SearchSpace:
        """The network of one genotype."""
        ...


class LayeredSpace(SearchSpace, Protocol):
    """A fixed network whose layers take extra weights beside their own: an optional capability.

    ``forward`` uses these where ``weights`` holds them, with a task axis of tasks or 1:

    - ``<layer>.transform [tasks, units, units]`` multiplies the layer's output ``y``,
      ``y @ transform``; for a convolution that is one of 1x1. It comes before any norm.
    - ``<layer>.film.scale`` and ``<layer>.film.shift``, ``[tasks, units]``, hidden layers only:
      ``y * (1 + scale) + shift``, after any norm and before the ReLU.

    Without the weights of the last layer, ``forward`` returns what that layer would be fed,
    ``[tasks, n, features]``.
    """

    def layers(self) -> Mapping[str, int]:
        """Units of each layer, in order; the last one is linear and makes the outputs.

        A layer's own weights are ``<layer>.weight``, ``[inputs, units]`` or
        ``[units, channels, height, width]``, and ``<layer>.bias [units]``.
        """
        ...


class DropPathSpace(SearchSpace, Protocol):
    """A network whose edges can be dropped at random while it is trained: an optional capability.

    ``forward`` stays pure: the masks are drawn by :meth:`drop_paths`, and handed over as part of
    the mixture, ``forward(weights, mixture | space.drop_paths(...), x)``.
    """

    def drop_paths(
        self, n_tasks: int, n_examples: int, *, rate: float, rng: torch.Generator
    ) -> Mixture:
        """Draw masks per task, cell, edge and example; identities are never dropped.

        Args:
            n_tasks: how many tasks ``forward`` is to see.
            n_examples: how many examples of each.
            rate: probability of dropping, in [0, 1); what stays is divided by ``1 - rate``.
            rng: a CPU generator.

        Returns:
            ``[tasks, edges, examples]`` (float32, on the CPU) under keys known to the space.
        """
        ...


class Strategy(Protocol):
    """How architecture logits become weights of operations, and an architecture."""

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits ``cell -> [edges, operations]``, and of input pairs where it uses them.

        Raises:
            UsageError: when the strategy does not fit the space, with the reason. Planning asks
                before anything runs.
        """
        ...

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator
    ) -> Mixture:
        """Turn logits into weights of operations, of each task where the logits are per task.

        Args:
            space: the searched network.
            arch: logits, shared or per task.
            sharpness: how far the annealing has come, in [0, 1], where the strategy anneals.
            rng: a CPU generator, for a strategy that draws. Equal generators draw the same.
        """
        ...

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Choose one architecture from shared logits."""
        ...


class Proposer(Strategy, Protocol):
    """A strategy that proposes architectures instead of learning one: an optional capability."""

    def candidates(
        self, space: SearchSpace, n_tasks: int, *, rng: torch.Generator
    ) -> Sequence[Mixture]:
        """Draw what a learner tries at new tasks; it keeps, per task, the lowest support loss.

        Returns:
            Decoded architectures, each ``cell -> [tasks, edges, operations]`` of zeros and ones
            (float32, on the CPU).
        """
        ...


@dataclass(frozen=True, slots=True)
class ClassData:
    """Images sorted by class: what a dataset plugin of kind ``classes`` hands back.

    Attributes:
        images: ``[n, height, width, channels]`` uint8, memory-mapped where large.
        offsets: ``[classes + 1]``; class ``c`` owns images ``offsets[c]:offsets[c + 1]``.
        class_names: one name per class.
        splits: class ids of ``meta-train``, ``meta-val`` (may be empty) and ``meta-test``.
        fingerprint: digest of pixels, classes, splits and preparation.
        rotations: per split, ``none``, ``classes`` (each quarter turn of a class is a class of its
            own) or ``per-task`` (each class of a task is turned by a random quarter turn).
        stamps: what must be said beside every result, such as ``subset`` or ``synthetic``.
        supervised: ordinary classification, one task with all classes of a split in their order.
            In meta-train support comes from the first half of the images of each class and
            queries from the second, as architecture search divides its training set.
    """

    images: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]
    splits: Mapping[str, NDArray[np.int64]]
    fingerprint: str
    rotations: Mapping[str, str]
    stamps: tuple[str, ...] = ()
    supervised: bool = False


class FunctionFamily(Protocol):
    """A generator of regression tasks: what a dataset plugin of kind ``functions`` hands back."""

    inputs: int
    outputs: int
    fingerprint: str
    stamps: tuple[str, ...]

    def n_words(self, shape: EpisodeShape) -> int:
        """How many random words one episode needs."""
        ...

    def sample(
        self, words: NDArray[np.uint64], shape: EpisodeShape, *, split: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn random words into points; all randomness is in ``words``.

        Args:
            words: ``[tasks, n_words]`` uniform 64-bit words.
            shape: support points first, query points after them.
            split: ``meta-train``, ``meta-val`` or ``meta-test``.

        Returns:
            x ``[tasks, shots + queries, inputs]`` and y ``[tasks, shots + queries, outputs]``.
        """
        ...


class EvaluableFamily(FunctionFamily, Protocol):
    """A family whose functions can be asked anywhere: an optional capability."""

    def values(self, words: NDArray[np.uint64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The functions that :meth:`sample` makes of ``words``, without noise.

        Args:
            words: ``[tasks, n_words]``, as given to :meth:`sample`.
            x: ``[points, inputs]``, the same for all tasks.

        Returns:
            ``[tasks, points, outputs]``.
        """
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


__all__ = [
    "INPUTS",
    "NEEDED",
    "Adapted",
    "Arch",
    "CellChoices",
    "ClassData",
    "DropPathSpace",
    "EvaluableFamily",
    "FunctionFamily",
    "LayeredSpace",
    "Learner",
    "LearnerContext",
    "Mixture",
    "Params",
    "Proposer",
    "SearchSpace",
    "Strategy",
    "TaskShape",
    "TracingLearner",
]
