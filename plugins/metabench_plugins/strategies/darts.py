"""DARTS: softmax over operations, decoded at the end (Liu, Simonyan and Yang, ICLR 2019).

This is the first-order form: architecture and weights descend their losses as they are. The
second-order gradient is in
:mod:`~metabench_plugins.strategies.parts.darts_unrolled`.
"""

from __future__ import annotations

import torch
from pydantic import Field

from metabench import Arch, Frozen, Genotype, Mixture, SearchSpace
from metabench_plugins.strategies.parts.decoding import decode
from metabench_plugins.strategies.parts.logits import draw_logits, soften


class DartsParams(Frozen):
    """Parameters of :class:`Darts`."""

    init_std: float = Field(
        default=1e-3,
        ge=0,
        le=10,
        description="Standard deviation of the initial architecture logits.",
    )


class Darts:
    """Continuous relaxation: each edge mixes its operations by the softmax of its logits."""

    def __init__(self, params: DartsParams) -> None:
        self._params = params

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits from N(0, init_std^2)."""
        return draw_logits(space.choices(), std=self._params.init_std, rng=rng)

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """Softmax per edge; there is no annealing."""
        return soften(arch, space.choices(), temperature=1.0)

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Keep the strongest edges into each node."""
        return decode(self.mixture(space, arch, sharpness=1.0, rng=None), space.choices())
