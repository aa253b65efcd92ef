"""The searched network (search space) of MetaNAS: four cells, three nodes, seven operations.

Elsken et al., CVPR 2020. All cells have the same width, and every second one is a reduction cell.
There is no zero operation, and the stem has no pooling.
"""

from __future__ import annotations

from pydantic import Field

from metabench import Frozen, TaskShape
from metabench_plugins.spaces.parts.given_genotype import GivenGenotype, genotype_of
from metabench_plugins.spaces.parts.partial_channels import PartialParams
from metabench_plugins.spaces.parts.published_cells import NORMAL, REDUCTION
from metabench_plugins.spaces.parts.supernet import CellNetwork, Layout

PRIMITIVES = (
    "max-pool-3x3",
    "avg-pool-3x3",
    "skip",
    "conv-1x5-5x1",
    "conv-3x3",
    "sep-conv-3x3",
    "dil-conv-3x3",
)


class MetaNasParams(PartialParams):
    """Parameters of :func:`metanas`."""

    channels: int = Field(default=28, ge=2, le=1024, description="Channels of every node.")
    cells: int = Field(
        default=4, ge=1, le=64, description="Number of cells; every second one is a reduction cell."
    )
    nodes: int = Field(default=3, ge=1, le=8, description="Intermediate nodes per cell.")


class ChildParams(Frozen):
    """Parameters of :func:`child`: the upscaled networks of MetaNAS."""

    channels: int = Field(default=96, ge=2, le=1024, description="Channels of every node.")
    cells: int = Field(
        default=5, ge=1, le=64, description="Number of cells; every second one is a reduction cell."
    )
    genotype: GivenGenotype = Field(
        default="metanas-miniimagenet",
        description="The name of a published genotype, a .json file, {cell: [[source, target, "
        "primitive], ...]}, or a genotypes.jsonl file or a results folder, whose most common "
        "genotype is used.",
    )


class AutoMetaParams(ChildParams):
    """Parameters of :func:`child` for Auto-Meta, as MetaNAS compares it on MiniImagenet."""

    channels: int = Field(default=24, ge=2, le=1024, description="Channels of every node.")
    genotype: GivenGenotype = Field(
        default="auto-meta", description="Takes the same values as `genotype` of `metanas-child`."
    )


def layout(*, channels: int, cells: int, nodes: int, partial: int = 1) -> Layout:
    """Describe a network of MetaNAS."""
    return Layout(
        stem=(3 * channels,),
        stem_pool=False,
        cells=tuple((REDUCTION if i % 2 else NORMAL, channels) for i in range(cells)),
        nodes=nodes,
        primitives=PRIMITIVES,
        child_pool_norm=True,
        partial=partial,
    )


def metanas(params: MetaNasParams, task: TaskShape) -> CellNetwork:
    """Build the supernet."""
    described = layout(
        channels=params.channels, cells=params.cells, nodes=params.nodes, partial=params.partial
    )
    return CellNetwork(described, task)


def child(params: ChildParams, task: TaskShape) -> CellNetwork:
    """Build the network of a genotype."""
    genotype = genotype_of(params.genotype)
    nodes = len({edge.target for _, edges in genotype.cells for edge in edges})
    return CellNetwork(
        layout(channels=params.channels, cells=params.cells, nodes=nodes), task, genotype=genotype
    )
