"""The mixed operation on one edge: a weighted sum of candidate operations, each normalized.

``sum_o a_o o(x)`` (DARTS, equation 2). The weight ``a_o`` is the scale of the batch norm that
follows the operation, so that it costs nothing; an operation without weight is not computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from metabench import Params, nn
from metabench_plugins.spaces.parts.image_maps import Shapes
from metabench_plugins.spaces.parts.primitives import (
    EPS,
    PRIMITIVES,
    Feed,
    Pool,
    norm_shapes,
    norm_weights,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One operation on one edge of one cell.

    Attributes:
        name: its weights are ``<name>.<part>``.
        edge: position of its edge among those of the cell.
        operation: position of its weight on the edge.
        source: node it reads.
        target: node it adds to.
        primitive: key of :data:`PRIMITIVES`.
        stride: 1 or 2.
        affine: whether its batch norms have scale and shift.
        normed: whether a batch norm follows it.
    """

    name: str
    edge: int
    operation: int
    source: int
    target: int
    primitive: str
    stride: int
    affine: bool
    normed: bool

    @property
    def identity(self) -> bool:
        """Whether it hands its input on as it is."""
        return self.primitive == "skip" and self.stride == 1

    @property
    def scaled(self) -> bool:
        """Whether its weight is the scale of its norm."""
        shared = isinstance(PRIMITIVES[self.primitive], Pool) and not self.affine
        return self.normed and not shared

    def shapes(self, channels: int) -> Shapes:
        """Shapes of the weights by full name."""
        parts = PRIMITIVES[self.primitive].shapes(channels, self.stride, affine=self.affine)
        if self.normed and self.affine:
            parts |= norm_shapes("norm", channels)
        return {f"{self.name}.{part}": shape for part, shape in parts.items()}


@dataclass(frozen=True, slots=True)
class Term:
    """One operation to compute in a sum.

    Attributes:
        candidate: the operation.
        amount: its weight ``[tasks or 1]``; None is 1.
        mask: ``[tasks, n]`` factors of DropPath; None is 1.
        by_channel: ``amount`` for each channel, ``[tasks or 1, channels]``, of a scaled operation.
    """

    candidate: Candidate
    amount: Tensor | None
    mask: Tensor | None
    by_channel: Tensor | None = None

    def factor(self) -> Tensor | None:
        """Weight and mask in one."""
        if self.amount is None or self.mask is None:
            return self.mask if self.amount is None else self.amount
        return self.mask * self.amount.unsqueeze(1)


def mixed(
    terms: Iterable[Term], feed: Feed, weights: Params, *, onto: Tensor | None
) -> Tensor | None:
    """Add the weighted operations of one edge to a sum.

    Args:
        terms: operations to compute. An identity is not masked.
        feed: the map of the edge's source.
        weights: of the network.
        onto: the sum so far; None is 0.

    Returns:
        The sum, None where there is nothing in it.
    """
    for term in terms:
        if term.candidate.identity:
            onto = weighted(feed.x, term.amount, onto=onto)
        else:
            onto = _computed(term, feed, weights, onto=onto)
    return onto


def _computed(term: Term, feed: Feed, weights: Params, *, onto: Tensor | None) -> Tensor:
    """Compute one operation, normalize, weigh, mask, and add."""
    candidate = term.candidate
    primitive = PRIMITIVES[candidate.primitive]
    if candidate.normed and not candidate.scaled and isinstance(primitive, Pool):
        # It has no weights, so all edges from this node share it.
        return weighted(
            feed.normed_pool(primitive.kind, candidate.stride), term.factor(), onto=onto
        )
    y = primitive.apply(feed, weights, candidate.name, stride=candidate.stride)
    if not candidate.normed:
        return weighted(y, term.factor(), onto=onto)
    scale, shift = norm_weights(weights, f"{candidate.name}.norm")
    if (by_channel := term.by_channel) is not None:
        shift = None if shift is None else by_channel * shift
        scale = by_channel if scale is None else by_channel * scale
    return weighted(nn.batch_norm(y, scale, shift, eps=EPS), term.mask, onto=onto)


def weighted(y: Tensor, factor: Tensor | None, *, onto: Tensor | None) -> Tensor:
    """Return ``onto + factor * y``; ``factor`` is ``[tasks or 1]`` or ``[tasks, n]``."""
    if factor is None:
        return y if onto is None else onto + y
    factor = factor.view(*factor.shape, *[1] * (y.dim() - factor.dim()))
    return y * factor if onto is None else torch.addcmul(onto, y, factor)
