"""DARTS: softmax over operations, decoded at the end (Liu, Simonyan and Yang, ICLR 2019)."""

from __future__ import annotations

import torch
from pydantic import Field

from metabench.genotype import Genotype
from metabench.protocols import Arch, Mixture, SearchSpace
from metabench.runspec import Frozen
from metabench_plugins.strategies.decoding import genotypes, harden


class DartsParams(Frozen):
    """Parameters of :class:`Darts`."""

    init_std: float = Field(
        default=1e-3, ge=0, le=10, description="Deviation of the initial logits."
    )


class Darts:
    """Continuous relaxation: each edge mixes its operations by the softmax of its logits."""

    def __init__(self, params: DartsParams) -> None:
        self._params = params

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits from N(0, init_std^2)."""
        return {
            cell: self._params.init_std
            * torch.randn(len(c.edges), len(c.primitives), generator=rng)
            for cell, c in space.choices().items()
        }

    def mixture(self, arch: Arch, *, sharpness: float, rng: torch.Generator) -> Mixture:
        """Softmax per edge; there is no annealing."""
        return {
            cell: (logits if logits.dim() == 3 else logits[None]).softmax(dim=-1)
            for cell, logits in arch.items()
        }

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Keep the strongest edges into each node."""
        choices = space.choices()
        mixture = self.mixture(arch, sharpness=1.0, rng=torch.Generator())
        (genotype,) = genotypes(harden(mixture, choices), choices)
        return genotype
