"""The searched network (search space) of T-NAS, and of M-NAS on images: two small cells.

Lian et al., ICLR 2020. The first cell is normal, the second is a reduction cell with twice the
channels. The stem halves the image twice.
"""

from __future__ import annotations

from pydantic import Field

from metabench import TaskShape
from metabench_plugins.spaces.darts import PRIMITIVES
from metabench_plugins.spaces.parts.partial_channels import PartialParams
from metabench_plugins.spaces.parts.published_cells import NORMAL, REDUCTION
from metabench_plugins.spaces.parts.supernet import CellNetwork, Layout


class TnasParams(PartialParams):
    """Parameters of :func:`tnas`."""

    channels: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Channels of the first cell; the second has 2 times as many, the stem's two "
        "convolutions 1.5 and 3 times.",
    )
    nodes: int = Field(default=4, ge=1, le=8, description="Intermediate nodes per cell.")


def tnas(params: TnasParams, task: TaskShape) -> CellNetwork:
    """Build the supernet."""
    channels = params.channels
    layout = Layout(
        stem=(3 * channels // 2, 3 * channels),
        stem_pool=True,
        cells=((NORMAL, channels), (REDUCTION, 2 * channels)),
        nodes=params.nodes,
        primitives=PRIMITIVES,
        child_pool_norm=False,
        partial=params.partial,
    )
    return CellNetwork(layout, task)
