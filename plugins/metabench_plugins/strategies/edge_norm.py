"""DARTS with the edge normalization of PC-DARTS (Xu et al., ICLR 2020, equation 2).

Edge ``i`` into node ``j`` has a logit ``beta_ij`` besides those of its operations, and node ``j``
is ``sum_i exp(beta_ij) / sum_i' exp(beta_i'j) f_ij(x_i)``, where ``f_ij`` is the softmax mixture of
DARTS. So an operation has the weight of its edge times its own, and the edges into a node compete.
With equal betas a node is the mean of its edges, where that of DARTS is their sum.

The other half of PC-DARTS, partial channel connections, changes the network: it is the parameter
``partial`` of the networks of cells.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metabench import Arch, CellChoices, Mixture, SearchSpace
from metabench_plugins.strategies.darts import Darts, DartsParams

EDGES = ".edges"
"""Ends the key of the logits of the edges of a cell, ``<cell>.edges [edges]``."""


class EdgeNormParams(DartsParams):
    """Parameters of :class:`EdgeNorm`."""


class EdgeNorm(Darts):
    """Softmax over the operations of each edge, and over the edges into each node."""

    def init_arch(self, space: SearchSpace, *, rng: torch.Generator) -> Arch:
        """Draw logits of operations and of edges from N(0, init_std^2)."""
        std = self._params.init_std
        return super().init_arch(space, rng=rng) | {
            cell + EDGES: std * torch.randn(len(found.edges), generator=rng)
            for cell, found in space.choices().items()
        }

    def mixture(
        self, space: SearchSpace, arch: Arch, *, sharpness: float, rng: torch.Generator | None
    ) -> Mixture:
        """The weight of an edge times that of an operation on it; there is no annealing."""
        choices = space.choices()
        operations = super().mixture(space, arch, sharpness=sharpness, rng=rng)
        return {
            cell: weights_of_edges(arch[cell + EDGES], found).unsqueeze(2) * operations[cell]
            for cell, found in choices.items()
        }


def weights_of_edges(logits: Tensor, choices: CellChoices) -> Tensor:
    """Softmax over the edges into each node.

    Args:
        logits: ``[edges]`` or ``[tasks, edges]``.
        choices: of the cell.

    Returns:
        ``[tasks or 1, edges]``; the weights of the edges into one node sum to 1.
    """
    logits = logits if logits.dim() == 2 else logits[None]
    targets = [target for _, target in choices.edges]
    into = {node: [i for i, target in enumerate(targets) if target == node] for node in targets}
    order = [edge for edges in into.values() for edge in edges]
    soft = torch.cat([_columns(logits, edges).softmax(dim=1) for edges in into.values()], dim=1)
    return _columns(soft, [order.index(edge) for edge in range(len(order))])


def _columns(values: Tensor, columns: list[int]) -> Tensor:
    return values[:, torch.tensor(columns).to(values.device, non_blocking=True)]
