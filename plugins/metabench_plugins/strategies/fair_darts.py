"""FairDARTS: operations do not compete (Chu, Zhou, Zhang and Li, ECCV 2020).

Each operation has the weight ``sigmoid(alpha)``, whatever the others on its edge have. The zero-one
loss ``-w / N sum_i (sigmoid(alpha_i) - 0.5)^2`` over all N logits joins the loss that the logits
descend and drives the weights to 0 or 1.

The paper keeps the operations above a threshold, at most two edges into each node; here, as with
the other strategies, each node keeps as many edges as the network says, the strongest ones.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from metabench import Arch, Frozen, Genotype, Mixture, SearchSpace
from metabench_plugins.strategies.parts.decoding import decode
from metabench_plugins.strategies.parts.logits import draw_logits


class FairDartsParams(Frozen):
    """Parameters of :class:`FairDarts`."""

    zero_one: float = Field(
        default=10.0,
        ge=0,
        le=1e6,
        description="Weight of the zero-one loss; it joins the loss that the logits descend.",
    )
    init_std: float = Field(
        default=1e-3,
        ge=0,
        le=10,
        description="Standard deviation of the initial architecture logits.",
    )


class FairDarts:
    """Sigmoid weights and the zero-one loss."""

    def __init__(self, params: FairDartsParams) -> None:
        self._params = params

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits from N(0, init_std^2)."""
        return draw_logits(space.choices(), std=self._params.init_std, rng=rng)

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """The sigmoid of each logit; there is no annealing."""
        return {
            cell: logits if logits.dim() == 3 else logits[None]
            for cell, logits in ((cell, arch[cell].sigmoid()) for cell in space.choices())
        }

    def loss_term(self, space: SearchSpace, arch: Arch, *, sharpness: float) -> Tensor:
        """The zero-one loss of each task, ``[tasks]`` or ``[1]``."""
        weights = self.mixture(space, arch, sharpness=sharpness, rng=None)
        distances = torch.cat([w.flatten(1) for w in weights.values()], dim=1) - 0.5
        return -self._params.zero_one * distances.square().mean(dim=1)

    def discretize(self, space: SearchSpace, arch: Arch) -> Genotype:
        """Keep the strongest edges into each node."""
        return decode(self.mixture(space, arch, sharpness=1.0, rng=None), space.choices())
