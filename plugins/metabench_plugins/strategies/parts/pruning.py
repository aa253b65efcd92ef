"""Pruning of operations with small weights (MetaNAS): for one forward pass, or permanently.

At least the best operation of each edge and the best pair of each node always stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metabench import INPUTS, NEEDED, Arch, CellChoices, Mixture
from metabench_plugins.strategies.parts.decoding import edges_of
from metabench_plugins.strategies.parts.logits import pairs_per_node, soften

PRUNED = -1e9
"""The logit of an operation that is pruned for good."""


def cut(mixture: Mixture, choices: Mapping[str, CellChoices], *, threshold: float) -> Mixture:
    """Set weights at or below ``threshold`` to 0, and mark what stays; that is not scaled up.

    Args:
        mixture: ``<cell> [tasks, edges, operations]``, ``<cell>.inputs [tasks, pairs]``.
        choices: of the space.
        threshold: MetaNAS takes 0.01 in meta-training and 0.05 at meta-test.
    """
    kept = dict(mixture)
    for cell, found in choices.items():
        stays = _stays(mixture[cell], threshold)
        kept[cell] = mixture[cell] * stays
        if cell + INPUTS in mixture:
            pairs = mixture[cell + INPUTS]
            nodes = torch.split(pairs, pairs_per_node(found), dim=1)
            pairs_stay = torch.cat([_stays(node, threshold) for node in nodes], dim=1)
            kept[cell + INPUTS] = pairs * pairs_stay
            stays = stays & (edges_of(pairs_stay.to(pairs), found) > 0).unsqueeze(-1)
        # The factor 0 stops gradients as well, so nothing of what is cut has to be computed.
        kept[cell + NEEDED] = stays
    return kept


def prune_logits(
    arch: Arch, choices: Mapping[str, CellChoices], *, temperature: float, threshold: float
) -> Arch:
    """Set logits of operations that weigh less than ``threshold`` to -1e9, for good.

    Logits of input pairs stay as they are.

    Args:
        arch: logits, shared or per task.
        choices: of the space.
        temperature: at which the weights are taken: the coldest of the schedule.
        threshold: MetaNAS takes 0.01, every 2,500 outer updates.
    """
    weights = soften(arch, choices, temperature=temperature)
    pruned = dict(arch)
    for cell in choices:
        stays = weights[cell] >= weights[cell].amax(dim=-1, keepdim=True).clamp(max=threshold)
        pruned[cell] = arch[cell].masked_fill(~stays.view(arch[cell].shape), PRUNED)
    return pruned


def _stays(weights: Tensor, threshold: float) -> Tensor:
    """Whether each weight is above the threshold, or the largest along the last axis."""
    return (weights > threshold) | (weights == weights.amax(dim=-1, keepdim=True))
