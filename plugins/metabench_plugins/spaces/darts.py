"""The searched network (search space) of DARTS: eight cells, four nodes, eight operations.

Liu et al., ICLR 2019. Cells at a third and two thirds of the depth halve the map and double the
channels. With ``partial=4`` and the strategy ``darts-edge-norm`` the search is that of PC-DARTS (Xu
et al., ICLR 2020).
"""

from __future__ import annotations

from pydantic import Field

from metabench import ZERO, TaskShape
from metabench_plugins.spaces.parts.partial_channels import PartialParams
from metabench_plugins.spaces.parts.published_cells import NORMAL, REDUCTION
from metabench_plugins.spaces.parts.supernet import CellNetwork, Layout

PRIMITIVES = (
    ZERO,
    "max-pool-3x3",
    "avg-pool-3x3",
    "skip",
    "sep-conv-3x3",
    "sep-conv-5x5",
    "dil-conv-3x3",
    "dil-conv-5x5",
)


class DartsSpaceParams(PartialParams):
    """Parameters of :func:`darts`."""

    channels: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Channels of the first cells; the stem has 3 times as many.",
    )
    cells: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Number of cells; those at a third and two thirds of the depth are "
        "reduction cells.",
    )
    nodes: int = Field(default=4, ge=1, le=8, description="Intermediate nodes per cell.")


def darts(params: DartsSpaceParams, task: TaskShape) -> CellNetwork:
    """Build the supernet."""
    thirds = {params.cells // 3, 2 * params.cells // 3}
    channels = params.channels
    cells = []
    for i in range(params.cells):
        if i in thirds:
            channels *= 2
        cells.append((REDUCTION if i in thirds else NORMAL, channels))
    layout = Layout(
        stem=(3 * params.channels,),
        stem_pool=False,
        cells=tuple(cells),
        nodes=params.nodes,
        primitives=PRIMITIVES,
        child_pool_norm=False,
        partial=params.partial,
    )
    return CellNetwork(layout, task)
