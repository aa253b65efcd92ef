"""MT-Net and T-net (Lee and Choi, ICML 2018).

Layer l computes ``T_l (W_l x + b_l)``; T_l is meta-learned and fixed in the inner loop.
Each unit r has a logit zeta; per task ``M_r`` is 1 with probability ``sigmoid(zeta_r)``, drawn once
for all inner steps, and ``w <- w - inner_lr * M * grad w``. zeta gets the gradient of the
soft draw (a two-way Gumbel-softmax over (zeta, 0) at temperature 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from metabench import Labelled, Params
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts.gradient_learner import Start, leaves
from metabench_plugins.learners.parts.layer_weights import layered
from metabench_plugins.learners.parts.outer_adam import Group


class MtNetParams(MamlParams):
    """Parameters of MT-Net."""

    transform: bool = Field(
        default=True,
        description="Whether a meta-learned square matrix transforms the output of each layer.",
    )
    masks: bool = Field(
        default=True,
        description="Whether a random mask per task selects the units that adapt; false gives a "
        "T-net.",
    )


class MtNet(Maml):
    """MAML in a subspace of the weights and under a metric, both of which are meta-learned."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """The start weights, the identity for each transform, and logits of 0."""
        p = self.params
        units = layered(self.space, "mtnet").layers()
        transforms = {f"{layer}.transform": torch.eye(n) for layer, n in units.items()}
        logits = {layer: torch.zeros(n) for layer, n in units.items()}
        device = self.context.device
        self._transforms = leaves(transforms, device) if p.transform else {}
        self._logits = leaves(logits, device, prefix="mask.") if p.masks else {}
        (network,) = super().groups(rng)
        learned = network.weights | self._transforms | self._logits
        return [Group(learned, p.outer_lr, p.max_norm)]

    def begin(self, support: Labelled, *, rng: torch.Generator, progress: float | None) -> Start:
        """MAML's start, with transforms that all tasks share and a draw of masks for each."""
        start = super().begin(support, rng=rng, progress=progress)
        transforms = {name: matrix[None] for name, matrix in self._transforms.items()}
        return replace(
            start,
            weights=start.weights | transforms,
            masks=self._draw(start.weights, len(support.x), rng) if self._logits else None,
        )

    def _draw(self, weights: Params, n_tasks: int, rng: torch.Generator) -> Params:
        logits = torch.cat(list(self._logits.values()))
        uniform = torch.rand(n_tasks, len(logits), dtype=logits.dtype, generator=rng)
        # The difference of two Gumbel variables is logistic.
        noise = torch.logit(uniform, eps=1e-7).to(logits.device, non_blocking=True)
        soft = torch.sigmoid(logits + noise)
        hard = (soft > 0.5).to(soft.dtype) + (soft - soft.detach())
        sizes = [len(layer) for layer in self._logits.values()]
        masks: Params = {}
        for name, units in zip(self._logits, torch.split(hard, sizes, dim=1), strict=True):
            layer = name.removeprefix("mask.")
            masks[f"{layer}.bias"] = units
            masks[f"{layer}.weight"] = _broadcast_mask(units, weights[f"{layer}.weight"])
        return masks


def _broadcast_mask(mask: Tensor, weight: Tensor) -> Tensor:
    """Broadcast ``[tasks, units]`` to matrices ``[tasks, inputs, units]`` or to filters."""
    return mask[:, None, :] if weight.dim() == 3 else mask[:, :, None, None, None]
