"""From weights of operations to architectures, for all tasks at once (DARTS, Liu et al. 2019).

Per node the edges are ranked by their largest weight among operations other than zero; the best
``kept`` stay, each with its best operation other than zero. Ties go to the earlier edge and
operation.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from metabench.genotype import Edge, Genotype
from metabench.protocols import CellChoices, Mixture

ZERO = "zero"


def harden(mixture: Mixture, choices: Mapping[str, CellChoices]) -> Mixture:
    """Weights of the decoded architecture: 1 for each kept operation, 0 for the rest.

    Args:
        mixture: ``[tasks, edges, operations]`` by cell type.
        choices: of the space.
    """
    return {cell: _harden(weights, choices[cell]) for cell, weights in mixture.items()}


def _harden(weights: Tensor, choices: CellChoices) -> Tensor:
    zero = torch.tensor([name == ZERO for name in choices.primitives], device=weights.device)
    usable = weights.detach().masked_fill(zero, -torch.inf)
    strength, operation = usable.max(dim=-1)  # [tasks, edges]
    kept = torch.zeros_like(strength)
    for node in sorted({target for _, target in choices.edges}):
        edges = [edge for edge, (_, target) in enumerate(choices.edges) if target == node]
        into = torch.tensor(edges, device=weights.device)
        ranked = strength[:, into].sort(dim=1, descending=True, stable=True).indices
        kept = kept.scatter(1, into[ranked[:, : choices.kept]], 1.0)
    return kept[..., None] * F.one_hot(operation, len(choices.primitives))


def genotypes(hard: Mixture, choices: Mapping[str, CellChoices]) -> list[Genotype]:
    """Read the architectures off weights of :func:`harden`, one per task."""
    kept = {cell: weights.bool().tolist() for cell, weights in hard.items()}
    n_tasks = max(map(len, kept.values()))
    return [
        Genotype.of(
            {
                cell: [
                    Edge(*choices[cell].edges[edge], choices[cell].primitives[operation])
                    for edge, row in enumerate(rows[task])
                    for operation, chosen in enumerate(row)
                    if chosen
                ]
                for cell, rows in kept.items()
            }
        )
        for task in range(n_tasks)
    ]


def straight_through(mixture: Mixture, hard: Mixture) -> Mixture:
    """The value of ``hard`` with the gradient of ``mixture`` (Bengio et al. 2013)."""
    return {cell: hard[cell] + weights - weights.detach() for cell, weights in mixture.items()}
