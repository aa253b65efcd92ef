"""The contract of a NAS strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from metabench.plugin.contracts.architecture import Arch, Mixture
from metabench.plugin.contracts.genotype import Genotype
from metabench.plugin.contracts.space import SearchSpace

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@runtime_checkable
class Strategy(Protocol):
    """A NAS strategy: it turns architecture logits into a mixture, and into one architecture.

    Besides one row per edge it may have logits of its own, ``<cell>.<name>`` of any shape, such as
    one per edge. Learners adapt and learn all logits alike. What they are for is the strategy's
    matter: :meth:`mixture` returns weights of operations, and of input pairs, alone.
    """

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits ``cell -> [edges, operations]``, and further ones if it uses them.

        Raises:
            UsageError: the strategy does not fit the network; the message gives the reason.
                Planning calls this method before anything runs.
        """
        ...

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """Turn logits into a mixture, one for each task if the logits are per task.

        Args:
            space: the searched network.
            arch: logits, shared or per task.
            sharpness: the progress of the annealing in [0, 1], for a strategy that anneals.
            rng: a CPU generator, for a strategy that draws. Equal generators draw the same. At
                meta-test it is None: the mixture then follows from the logits without noise.
        """
        ...

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Choose one architecture from shared logits."""
        ...


@runtime_checkable
class AnnealedStrategy(Strategy, Protocol):
    """A strategy whose mixture is a softmax with a falling temperature: an optional capability.

    MetaNAS prunes logits permanently, by their weights at the lowest temperature. With a strategy
    that lacks this capability, it prunes none.
    """

    def temperature(self, sharpness: float) -> float:
        """The temperature at a sharpness in [0, 1]; above 0, and never rising with sharpness."""
        ...


@runtime_checkable
class RegularizedStrategy(Strategy, Protocol):
    """A strategy that adds a term to the loss that logits descend: an optional capability.

    A learner adds the term wherever logits have a gradient: to the loss of each task in an inner
    loop that adapts logits, and to the loss of the outer loop. A learner that does so says it in
    its description (``adds_loss_terms``). Planning refuses the strategy under any other, because
    it would be another strategy under its name.
    """

    def loss_term(self, space: SearchSpace, arch: Arch, *, sharpness: float) -> Tensor:
        """Return the term of each task, ``[tasks]``; ``[1]`` where the logits are shared.

        It is a differentiable function of the logits, and draws nothing.

        Args:
            space: the searched network.
            arch: logits, shared or per task.
            sharpness: as for :meth:`mixture`.
        """
        ...


@runtime_checkable
class Proposer(Strategy, Protocol):
    """A strategy that proposes architectures instead of learning one: an optional capability."""

    def candidates(
        self, space: SearchSpace, n_tasks: int, *, rng: torch.Generator
    ) -> Sequence[Mixture]:
        """Draw architectures to try on each new task; the one with the lowest support loss is kept.

        Returns:
            Decoded architectures, each ``cell -> [tasks, edges, operations]`` of zeros and ones
            (float32, on the CPU).
        """
        ...
