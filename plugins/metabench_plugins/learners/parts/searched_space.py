"""A searched network under a strategy: its architecture logits adapt together with the weights.

Among the weights, the logits of a cell are named ``arch.<cell>``. A learner adapts and meta-learns
them as it does weights, and asks here for what depends on them: the mixture that a loss runs on,
and the architecture at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    Arch,
    CountingSpace,
    Frozen,
    Genotype,
    Mixture,
    Params,
    Proposer,
    RegularizedStrategy,
    SearchSpace,
    Strategy,
)
from metabench_plugins.learners.parts.steps_on_demand import Later
from metabench_plugins.strategies.parts.decoding import genotypes, one_hot, place
from metabench_plugins.strategies.parts.pruning import cut

ARCH = "arch."
Mixing = Callable[[Params, float], Mixture]
"""Maps weights, logits among them, and a sharpness in [0, 1] to weights of operations."""
LossTerm = Callable[[Params, float], Tensor]
"""Maps weights, logits among them, and a sharpness to what joins the loss of each task."""


class SearchParams(Frozen):
    """What a learner adds to its parameters on a searched network."""

    arch_inner_lr: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Learning rate of the architecture logits in the inner loop; null uses "
        "inner_lr, 0 keeps the logits fixed.",
    )
    arch_lr: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Learning rate of Adam for the architecture logits in the outer loop.",
    )
    arch_beta1: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="Adam's beta1 for the architecture logits in the outer loop.",
    )
    arch_decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Weight decay of the architecture logits in the outer loop.",
    )
    arch_at_test: Literal["hard", "soft"] = Field(
        default="hard",
        description="hard: predict with the decoded architecture; soft: with the mixture of "
        "operations.",
    )
    threshold: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Operations and input pairs whose weight is at most this are left out in "
        "meta-training.",
    )
    threshold_at_test: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Operations and input pairs whose weight is at most this are left out at "
        "meta-test.",
    )


@dataclass(frozen=True, slots=True)
class Decoded:
    """Architectures of a batch of tasks.

    Attributes:
        mixture: weights of operations that predict, ``[tasks, edges, operations]``.
        genotypes: per task.
        n_params: per task, weights of the network that predicts.
    """

    mixture: Mixture
    genotypes: Sequence[Genotype]
    n_params: Sequence[int]


class SearchedSpace:
    """A space and a strategy.

    Args:
        space: with choices.
        strategy: how logits become weights of operations.
        draws: whether the strategy may draw when it mixes operations; see :func:`draws_noise`.
    """

    def __init__(self, space: SearchSpace, strategy: Strategy, *, draws: bool = True) -> None:
        self._space = space
        self._strategy = strategy
        self._choices = space.choices()
        self._sizes: dict[Genotype, int] = {}
        self.draws = draws

    def init_logits(self, *, rng: torch.Generator) -> Params:
        """Draw logits (float32, on the CPU), ``arch.<cell> -> [edges, operations]``."""
        arch = self._strategy.init_arch(self._space, rng=rng)
        return {f"{ARCH}{cell}": logits for cell, logits in arch.items()}

    def mixing(
        self, *, rng: torch.Generator, at_test: bool = False, threshold: float = 0.0
    ) -> Mixing:
        """Return how the logits of a batch of tasks become weights of operations.

        A strategy that draws gives each task its noise once: all inner steps of a task and its
        query pass see the same, as their logits and the sharpness change. At meta-test it draws
        none.

        Args:
            rng: a CPU generator, from which one seed is drawn.
            at_test: whether this is meta-test.
            threshold: weights up to this count as 0, see
                :func:`~metabench_plugins.strategies.parts.pruning.cut`.
        """
        seed = int(torch.randint(2**62, (), generator=rng))

        def mix(weights: Params, sharpness: float) -> Mixture:
            noise = None if at_test else torch.Generator().manual_seed(seed)
            arch = arch_of(weights)
            mixture = self._strategy.mixture(self._space, arch, sharpness=sharpness, rng=noise)
            return cut(mixture, self._choices, threshold=threshold) if threshold else mixture

        return mix

    def loss_term(self) -> LossTerm | None:
        """What the strategy adds to the loss that logits descend; None if it adds nothing."""
        strategy = self._strategy
        if not isinstance(strategy, RegularizedStrategy):
            return None
        return lambda weights, sharpness: strategy.loss_term(
            self._space, arch_of(weights), sharpness=sharpness
        )

    def decode(self, weights: Params) -> Decoded:
        """Decode the logits among the weights, task by task; the mixture is of 0 and 1.

        Args:
            weights: all leaves, with a task axis.
        """
        arch = arch_of(weights)
        (like, *_) = arch.values()
        found = [
            self._strategy.discretize(self._space, {cell: a[task] for cell, a in arch.items()})
            for task in range(len(like))
        ]
        hard = [one_hot(genotype, self._choices) for genotype in found]
        mixture = place({cell: torch.cat([h[cell] for h in hard]) for cell in self._choices}, like)
        return Decoded(mixture, found, [self.size(genotype) for genotype in found])

    def relaxed(self, weights: Params, mixing: Mixing) -> Decoded:
        """As :meth:`decode`, but the mixture at its sharpest predicts, with all that it keeps."""
        found, mixture = self.decode(weights), mixing(weights, 1.0)
        n_params = partial(self.kept, mixture, weights, n_tasks=len(found.genotypes))
        return Decoded(mixture, found.genotypes, Later(n_params, length=len(found.genotypes)))

    def kept(self, mixture: Mixture, weights: Params, *, n_tasks: int) -> list[int]:
        """Per task, the weights of all operations that a mixture keeps."""
        if isinstance(self._space, CountingSpace):
            found = self._space.n_weights(mixture, threshold=torch.finfo(torch.float32).tiny)
            return found * n_tasks if len(found) == 1 else found  # all tasks may share a mixture
        return [sum(w[0].numel() for w in operations_of(weights).values())] * n_tasks

    def candidates(self, n_tasks: int, *, rng: torch.Generator, like: Tensor) -> list[Decoded]:
        """Draw architectures to try at new tasks; none where the strategy learns one."""
        if not isinstance(self._strategy, Proposer):
            return []
        found = self._strategy.candidates(self._space, n_tasks, rng=rng)
        return [self._read(hard, like) for hard in found]

    def _read(self, hard: Mixture, like: Tensor) -> Decoded:
        """Read architectures off weights of 0 and 1, and move these to where ``like`` lives."""
        found = genotypes(hard, self._choices)
        return Decoded(place(hard, like), found, [self.size(genotype) for genotype in found])

    def size(self, genotype: Genotype) -> int:
        """Number of weights of the network of a genotype."""
        if genotype not in self._sizes:
            weights = self._space.child(genotype).init_weights(rng=torch.Generator())
            self._sizes[genotype] = sum(weight.numel() for weight in weights.values())
        return self._sizes[genotype]


def draws_noise(space: SearchSpace, strategy: Strategy) -> bool:
    """Whether a strategy uses the generator that it is given for a mixture."""
    rng = torch.Generator()
    arch = strategy.init_arch(space, rng=torch.Generator())
    before = rng.get_state()
    for sharpness in (0.0, 0.5, 1.0):
        strategy.mixture(space, arch, sharpness=sharpness, rng=rng)
    return not torch.equal(rng.get_state(), before)


def select(candidates: Sequence[Decoded], choice: Sequence[int]) -> Decoded:
    """Take task ``i`` from candidate ``choice[i]``."""
    taken = list(enumerate(choice))
    mixture = {
        cell: torch.stack([candidates[c].mixture[cell][task] for task, c in taken])
        for cell in candidates[0].mixture
    }
    return Decoded(
        mixture,
        [candidates[c].genotypes[task] for task, c in taken],
        [candidates[c].n_params[task] for task, c in taken],
    )


def is_arch(name: str) -> bool:
    """Whether a leaf of the tree holds logits.

    >>> is_arch("arch.normal"), is_arch("stem.weight")
    (True, False)
    """
    return name.startswith(ARCH)


def arch_of(weights: Params) -> Arch:
    """The logits among the leaves of a tree, by cell."""
    return {name.removeprefix(ARCH): w for name, w in weights.items() if is_arch(name)}


def operations_of(weights: Params) -> Params:
    """The leaves of a tree without the logits."""
    return {name: weight for name, weight in weights.items() if not is_arch(name)}


def sharpness_at(step: int, steps: int) -> float:
    """How far the annealing has come at a step of an inner loop: 0 at the first, 1 at the last.

    It stays at 1 after the last. A loop of one step runs at 1.

    >>> [sharpness_at(step, 5) for step in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return min(1.0, step / (steps - 1)) if steps > 1 else 1.0
