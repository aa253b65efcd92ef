"""Random search, the baseline of architecture search (Li and Talwalkar 2019; Yu et al., ICLR 2020).

In meta-training every call for a mixture draws a decoded architecture, for each task its own, so
that the supernet's weights serve all of them. At a new task a learner that adapts tries
``candidates`` of them and keeps the one with the lowest loss on the support set; such a learner
asks for :meth:`Random.candidates`. A candidate runs two operations per node where a mixed supernet
runs all on all edges, so equal budgets of operations mean several candidates. Where one
architecture is wanted for all tasks, it is drawn with the initial weights, by the run's seed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field

from metabench import Arch, CellChoices, Frozen, Genotype, Mixture, SearchSpace
from metabench_plugins.strategies.parts.decoding import decode, harden, place
from metabench_plugins.strategies.parts.logits import draw_logits, soften


class RandomParams(Frozen):
    """Parameters of :class:`Random`."""

    candidates: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Random architectures tried per task at meta-test; the one with the lowest "
        "support loss is kept.",
    )


class Random:
    """Draws architectures; its logits stand for one drawn architecture and are never learned."""

    def __init__(self, params: RandomParams) -> None:
        self._params = params

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw the architecture of this run, as the noise that it is decoded from."""
        return draw_logits(space.choices(), std=1.0, rng=rng)

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """Draw an architecture per task, a single one where the logits are shared.

        Without a generator it is the architecture of this run.
        """
        if rng is None:
            return harden(soften(arch, space.choices(), temperature=1.0), space.choices())
        (logits, *_) = arch.values()
        n_tasks = len(logits) if logits.dim() == 3 else 1
        drawn = sample(space.choices(), n_tasks, rng=rng, device=logits.device)
        return place(drawn, logits)

    def candidates(
        self, space: SearchSpace, n_tasks: int, *, rng: torch.Generator
    ) -> list[Mixture]:
        """Draw what to try at new tasks; see :class:`~metabench.Proposer`."""
        choices = space.choices()
        return [sample(choices, n_tasks, rng=rng) for _ in range(self._params.candidates)]

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """The architecture of this run."""
        choices = space.choices()
        return decode(soften(arch, choices, temperature=1.0), choices)


def sample(
    choices: Mapping[str, CellChoices],
    n_tasks: int,
    *,
    rng: torch.Generator,
    device: torch.device | None = None,
) -> Mixture:
    """Draw decoded architectures, uniformly: inputs of each node, and an operation on each.

    Args:
        choices: of the space.
        n_tasks: how many architectures.
        rng: a CPU generator.
        device: where they are decoded from what is drawn; None for the CPU.

    Returns:
        ``[tasks, edges, operations]`` by cell, 1 for what is kept, 0 for the rest.
    """
    # Decoding independent noise is uniform: the rank of an edge says nothing about its operation.
    noise = {
        cell: torch.rand(n_tasks, len(c.edges), len(c.primitives), generator=rng).to(
            device, non_blocking=True
        )
        for cell, c in choices.items()
    }
    return harden(noise, choices)
