"""The contract of a NAS strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from metabench.plugin.contracts.architecture import Arch, Mixture
from metabench.plugin.contracts.genotype import Genotype
from metabench.plugin.contracts.space import SearchSpace

if TYPE_CHECKING:
    import torch


@runtime_checkable
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
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """Turn logits into weights of operations, of each task where the logits are per task.

        Args:
            space: the searched network.
            arch: logits, shared or per task.
            sharpness: how far the annealing has come, in [0, 1], where the strategy anneals.
            rng: a CPU generator, for a strategy that draws. Equal generators draw the same. None
                at meta-test: nothing is drawn, and what the logits say without noise is returned.
        """
        ...

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Choose one architecture from shared logits."""
        ...


@runtime_checkable
class AnnealedStrategy(Strategy, Protocol):
    """A strategy whose weights are a softmax that cools down: an optional capability.

    MetaNAS prunes logits for good by their weights at the lowest temperature; under a strategy
    without this capability it prunes none.
    """

    def temperature(self, sharpness: float) -> float:
        """The temperature at a sharpness in [0, 1]: above 0, and never rising with sharpness."""
        ...


@runtime_checkable
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
