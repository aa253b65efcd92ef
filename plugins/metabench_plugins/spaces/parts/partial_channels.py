"""Partial channels: a share of a map's channels is mixed, the rest passes by (PC-DARTS).

Xu et al., ICLR 2020, equation 1. Of the C channels of node i, the first C/K go through the
candidate operations of edge (i, j), which have C/K channels; the others stay as they are:

    f_ij(x) = shuffle [ sum_o a_o o(x[: C/K]),  (sum_o a_o) x[C/K :] ].

Where the edge halves the map, so does a max pool of the others. The shuffle lets the channels of
the two parts take turns, so that the next edge mixes others. In the paper the weights of an edge
add up to 1, or with edge normalization to the weight of the edge; here their sum stands for both.
The shuffle is the same on all edges into a node, so it is made once, after their sum.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor
from torch.nn import functional

from metabench import Frozen, UsageError, nn


class PartialParams(Frozen):
    """The parameter of searched networks of cells."""

    partial: int = Field(
        default=1,
        ge=1,
        le=64,
        description="K: of the channels of each node, 1/K go through the mixed operations of the "
        "supernet, and the others pass by (PC-DARTS, whose K is 4). 1 mixes all channels.",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave it out where all channels are mixed, so that runs keep their ids."""
        written: dict[str, Any] = handler(self)
        if self.partial == 1:
            del written["partial"]
        return written


def check_partial(partial: int, channels: int) -> None:
    """Refuse parts that are no whole number of channels, or a single one.

    Raises:
        UsageError: K does not divide the channels, or leaves too few.
    """
    if partial > 1 and (channels % partial or channels // partial < 2):
        raise UsageError(
            f"Cells of {channels} channels cannot mix 1/{partial} of them: operations need 2 "
            "channels or more.",
            hint=f"Choose a network.partial that divides {channels}, or wider cells.",
        )


def halved(x: Tensor) -> Tensor:
    """Take the maximum of each 2x2 window of ``[tasks, n, channels, height, width]``.

    Maps of an odd size end in smaller windows, so that halves are rounded up as elsewhere.
    """
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = functional.pad(x, (0, width % 2, 0, height % 2), value=-torch.inf)
    return nn.max_pool2d(x, kernel=2)


def shuffled(mixed: Tensor, bypass: Tensor) -> Tensor:
    """Join the mixed part and the rest; channel ``i`` of part ``k`` becomes ``i K + k``.

    Args:
        mixed: ``[tasks, n, channels / K, height, width]``.
        bypass: ``[tasks, n, channels - channels / K, height, width]``.
    """
    own = mixed.shape[2]
    joined = torch.cat([mixed, bypass], dim=2)
    parts = joined.reshape(*joined.shape[:2], -1, own, *joined.shape[3:])
    return parts.transpose(2, 3).flatten(2, 3)
