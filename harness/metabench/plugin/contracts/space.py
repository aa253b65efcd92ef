"""The contract of a network, fixed or searched."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from metabench.plugin.contracts.architecture import CellChoices, Mixture, Params
from metabench.plugin.contracts.genotype import Genotype

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@runtime_checkable
class SearchSpace(Protocol):
    """A network. A searched network is a search space with choices; a fixed one has none."""

    @property
    def batch_statistics(self) -> bool:
        """Whether the output for an example depends on the other examples of its task."""
        ...

    def init_weights(self, *, rng: torch.Generator) -> Params:
        """Draw shared weights (float32, on the CPU), ``name -> [*shape]``."""
        ...

    def forward(self, weights: Params, mixture: Mixture, x: Tensor) -> Tensor:
        """Map ``x [tasks, n, *inputs]`` to ``[tasks, n, outputs]``, without side effects.

        Args:
            weights: ``name -> [tasks, *shape]``, or ``[1, *shape]`` if all tasks share one.
            mixture: weights of operations; ``{}`` for a fixed network.
            x: examples of each task. Batch statistics are computed per task.
        """
        ...

    def choices(self) -> Mapping[str, CellChoices]:
        """The edges and primitives of each cell type; ``{}`` for a fixed network."""
        ...

    def child(self, genotype: Genotype) -> SearchSpace:
        """The fixed network of one genotype."""
        ...


@runtime_checkable
class LayeredSpace(SearchSpace, Protocol):
    """A fixed network whose layers take extra weights: an optional capability.

    ``forward`` uses these if they are in ``weights``, with a task axis of tasks or 1:

    - ``<layer>.transform [tasks, units, units]`` multiplies the layer's output ``y``,
      ``y @ transform``; for a convolution this is a 1x1 convolution. It comes before any norm.
    - ``<layer>.film.scale`` and ``<layer>.film.shift``, ``[tasks, units]``, hidden layers only:
      ``y * (1 + scale) + shift``, after any norm and before the activation.

    Without the weights of the last layer, ``forward`` returns the inputs of that layer,
    ``[tasks, n, features]``.
    """

    def layers(self) -> Mapping[str, int]:
        """The units of each layer, in order; the last layer is linear and computes the outputs.

        A layer's own weights are ``<layer>.weight``, ``[inputs, units]`` or
        ``[units, channels, height, width]``, and ``<layer>.bias [units]`` where it has one.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the forward passes of one meta-step share in a :class:`StatefulSpace`.

    Attributes:
        rng: a CPU generator, for random masks.
        progress: the share of meta-training that is done, in [0, 1], for schedules.
        state: the state after the passes so far, detached, ``name -> [tasks or 1, *shape]``. Each
            pass reads it where it is there, or else from its weights, and writes what it makes of
            it. So three passes with one object update running statistics three times.
    """

    rng: torch.Generator
    progress: float
    state: Params = field(default_factory=dict)


@runtime_checkable
class StatefulSpace(SearchSpace, Protocol):
    """A network that trains otherwise than it predicts: an optional capability.

    It has a state, as the running statistics of its norms, or random parts, as dropout. Both of its
    passes are pure but for :attr:`Training.state` and :attr:`Training.rng`; the learner owns the
    state and checkpoints it with the weights. ``forward`` takes the state among its weights and
    predicts: it draws nothing, and running statistics stand for those of the examples.

    A learner says by ``LearnerSpec.takes_state`` that it can train such a network.
    """

    def init_state(self) -> Params:
        """The state before training, ``name -> [*shape]`` (float32, on the CPU).

        Its names are none of those of ``init_weights``. ``{}`` for a network with random parts
        alone.
        """
        ...

    def forward_training(
        self, weights: Params, mixture: Mixture, x: Tensor, *, training: Training
    ) -> Tensor:
        """Map ``x [tasks, n, *inputs]`` to ``[tasks, n, outputs]`` as in meta-training.

        Norms use the statistics of these examples, and leave the new running ones in
        ``training.state``. The task axis of the state says whose statistics: with ``[1, *shape]``
        those of the examples of all tasks together, so that a batch of tasks counts as one
        update; with ``[tasks, *shape]`` each task has its own.

        Args:
            weights: as in ``forward``, the state among them.
            mixture: as in ``forward``.
            x: examples of each task.
            training: the same object in all passes of a meta-step.
        """
        ...


@runtime_checkable
class DropPathSpace(SearchSpace, Protocol):
    """A network whose operations can be dropped at random in training: an optional capability.

    ``forward`` stays pure: :meth:`drop_paths` draws the masks, which are then passed as part of the
    mixture, ``forward(weights, mixture | space.drop_paths(...), x)``.
    """

    def drop_paths(
        self, n_tasks: int, n_examples: int, *, rate: float, rng: torch.Generator
    ) -> Mixture:
        """Draw masks per task, operation of a cell, and example; identities are never dropped.

        Args:
            n_tasks: how many tasks ``forward`` will get.
            n_examples: how many examples each task has.
            rate: probability of dropping, in [0, 1); what stays is divided by ``1 - rate``.
            rng: a CPU generator.

        Returns:
            ``[tasks, operations, examples]`` (float32, on the CPU) under keys of the network.
        """
        ...


@runtime_checkable
class BatchingSpace(SearchSpace, Protocol):
    """A network that a CPU computes for several tasks at once: an optional capability.

    Without it, a CPU computes the image tasks of a batch one after another.
    """

    def tasks_at_once(self, n_examples: int) -> int:
        """How many tasks to compute at once if each has ``n_examples`` examples."""
        ...


@runtime_checkable
class CountingSpace(SearchSpace, Protocol):
    """A searched network that counts the weights left by a mixture: an optional capability.

    Without it, a learner that keeps a mixture reports the weights of all operations.
    """

    def n_weights(self, mixture: Mixture, *, threshold: float = 0.0) -> list[int]:
        """The number of weights that the output of each task still depends on.

        Args:
            mixture: weights of operations, ``[tasks, edges, operations]``.
            threshold: an operation with a smaller weight is left out.
        """
        ...


@runtime_checkable
class IdleSpace(SearchSpace, Protocol):
    """A network with weights that count and are drawn, but do nothing: an optional capability.

    A bias before a norm by the examples' statistics is such a weight: the norm takes it away. It
    belongs to the size that papers print, and computing it costs time.
    """

    def idle(self) -> Collection[str]:
        """The names of these weights. They need no gradient."""
        ...


@runtime_checkable
class CanonicalSpace(SearchSpace, Protocol):
    """A searched network that knows which genotypes are one architecture: an optional capability.

    Without it, two genotypes are one architecture if they are equal. Records hold canonical
    genotypes, so all that counts architectures counts equal ones once.
    """

    def canonical(self, genotype: Genotype) -> Genotype:
        """The genotype that stands for all those whose networks differ in names alone.

        It is a genotype of this network, its own canonical one, and its child has as many weights.
        """
        ...
