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

from metabench import Arch, Mixture, SearchSpace
from metabench_plugins.strategies.darts import Darts, DartsParams


class FairDartsParams(DartsParams):
    """Parameters of :class:`FairDarts`."""

    zero_one: float = Field(
        default=10.0,
        ge=0,
        le=1e6,
        description="Weight of the zero-one loss; it joins the loss that the logits descend.",
    )


class FairDarts(Darts):
    """Sigmoid weights and the zero-one loss."""

    _params: FairDartsParams

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
