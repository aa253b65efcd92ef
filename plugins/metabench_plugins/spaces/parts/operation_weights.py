"""The weight of each operation of a cell, and the operations that need not be computed.

An operation counts by its own weight times that of its edge: the sum of the weights of the pairs of
inputs that the edge belongs to, where there are pairs (MetaNAS, equation 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from metabench import INPUTS, NEEDED, CellChoices, Mixture


@dataclass(frozen=True, slots=True)
class Amounts:
    """Weights of operations in one type of cell.

    Attributes:
        by_operation: ``[tasks or 1]`` per edge and operation.
        needed: per edge and operation, whether it has to be computed.
    """

    by_operation: list[tuple[Tensor, ...]]
    needed: list[list[bool]]

    def by_channel(
        self, operations: Sequence[tuple[int, int]], channels: int
    ) -> dict[tuple[int, int], Tensor]:
        """The weights of some operations for each channel, ``[tasks or 1, channels]``.

        They lie in one tensor, so that they take one kernel together, and their gradients another.

        Args:
            operations: edge and operation of each.
            channels: of the maps.
        """
        if not operations:
            return {}
        chosen = torch.stack([self.by_operation[edge][index] for edge, index in operations])
        wide = chosen.unsqueeze(2).expand(-1, -1, channels).contiguous()
        return dict(zip(operations, wide.unbind(), strict=True))


def amounts(mixture: Mixture, kind: str, choices: CellChoices) -> Amounts:
    """Combine the weights of operations and of input pairs.

    An operation is left out where its weight is 0 for all tasks and nobody asks for a gradient of
    the weights: with one, as for straight-through weights, the operation's value matters although
    its weight is 0, unless the mixture says that it does not. Weights and marks that lie on an
    accelerator are not looked at, because that would have to wait for it.
    """
    weights = _weights(mixture, kind, choices)
    # One view of all, not one of each edge: the gradient is put together at once.
    each, n = weights.flatten(1).unbind(1), weights.shape[2]
    by_operation = [each[first : first + n] for first in range(0, len(each), n)]
    return Amounts(by_operation, _needed(mixture, kind, weights).any(0).tolist())


def overlap(mixture: Mixture, choices: Mapping[str, CellChoices]) -> float:
    """Which share of the operations that some task needs one task needs, on average.

    Args:
        mixture: weights of operations, on a CPU.
        choices: by cell type; empty where all tasks run the same operations.
    """
    needed = [_needed(mixture, kind, _weights(mixture, kind, c)) for kind, c in choices.items()]
    own = sum(float(mask.float().mean(0).sum()) for mask in needed)
    of_all = sum(int(mask.any(0).sum()) for mask in needed)
    return own / of_all if of_all else 1.0


def _weights(mixture: Mixture, kind: str, choices: CellChoices) -> Tensor:
    weights = mixture[kind]
    if (pairs := mixture.get(kind + INPUTS)) is not None:
        weights = weights * (pairs @ membership(choices, pairs)).unsqueeze(2)
    return weights


def _needed(mixture: Mixture, kind: str, weights: Tensor) -> Tensor:
    """What has to be computed, ``[tasks or 1, edges, operations]`` (bool)."""
    if weights.device.type == "cpu" and not weights.requires_grad:
        return weights != 0
    marks = mixture.get(kind + NEEDED)
    if marks is not None and marks.device.type == "cpu":
        return marks
    return torch.ones(1, *weights.shape[1:], dtype=torch.bool)


def membership(choices: CellChoices, like: Tensor) -> Tensor:
    """Which edges belong to which pair, ``[pairs, edges]`` of 0 and 1, as ``like`` is."""
    return _membership(choices).to(like, non_blocking=True)


@cache
def _membership(choices: CellChoices) -> Tensor:
    pairs = [pair for of_node in choices.pairs().values() for pair in of_node]
    members = torch.zeros(len(pairs), len(choices.edges))
    for row, pair in enumerate(pairs):
        members[row, list(pair)] = 1
    return members
