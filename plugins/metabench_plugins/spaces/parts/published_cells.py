"""Published cells, as data.

Each line of a cell is one intermediate node, with its two edges as ``(source, primitive)``.
"""

from __future__ import annotations

from collections.abc import Mapping

from metabench import Edge, Genotype

NORMAL, REDUCTION = "normal", "reduction"
Node = tuple[tuple[int, str], tuple[int, str]]


def _genotype(normal: list[Node], reduction: list[Node]) -> Genotype:
    return Genotype.of({NORMAL: _edges(normal), REDUCTION: _edges(reduction)})


def _edges(nodes: list[Node]) -> list[Edge]:
    return [
        Edge(source, target, primitive)
        for target, node in enumerate(nodes, start=2)
        for source, primitive in node
    ]


_MAX, _AVG, _SKIP = "max-pool-3x3", "avg-pool-3x3", "skip"
_CONV, _CROSS = "conv-3x3", "conv-1x5-5x1"
_SEP3, _SEP5 = "sep-conv-3x3", "sep-conv-5x5"
_DIL3, _DIL5 = "dil-conv-3x3", "dil-conv-5x5"

_AUTO_META: list[Node] = [
    ((1, _CONV), (1, _MAX)),
    ((2, _CROSS), (2, _MAX)),
    ((2, _CONV), (3, _CROSS)),
    ((3, _CONV), (3, _CONV)),
    ((3, _CROSS), (2, _CONV)),
]

PUBLISHED: Mapping[str, Genotype] = {
    # Kim et al., Auto-Meta, 2018, as MetaNAS reads it: one cell for both types.
    "auto-meta": _genotype(_AUTO_META, _AUTO_META),
    # Elsken et al., MetaNAS, CVPR 2020: the cells of its upscaled networks.
    "metanas-miniimagenet": _genotype(
        [
            ((0, _CROSS), (1, _CONV)),
            ((0, _CONV), (2, _SEP3)),
            ((1, _DIL3), (3, _CROSS)),
        ],
        [
            ((0, _SEP3), (1, _CONV)),
            ((0, _CONV), (2, _SEP3)),
            ((0, _CONV), (1, _DIL3)),
        ],
    ),
    "metanas-omniglot": _genotype(
        [
            ((0, _DIL3), (1, _SEP3)),
            ((0, _AVG), (1, _SEP3)),
            ((0, _CROSS), (2, _CONV)),
        ],
        [
            ((0, _SKIP), (1, _SEP3)),
            ((0, _CONV), (1, _DIL3)),
            ((0, _DIL3), (2, _CROSS)),
        ],
    ),
    # Lian et al., T-NAS, ICLR 2020: the shared cells for 1 and for 5 shots.
    "tnas-1-shot": _genotype(
        [
            ((0, _AVG), (1, _AVG)),
            ((1, _AVG), (2, _AVG)),
            ((1, _AVG), (2, _AVG)),
            ((3, _DIL3), (2, _AVG)),
        ],
        [
            ((0, _AVG), (1, _DIL5)),
            ((0, _AVG), (1, _DIL5)),
            ((3, _SKIP), (2, _DIL5)),
            ((4, _SKIP), (3, _SKIP)),
        ],
    ),
    "tnas-5-shot": _genotype(
        [
            ((1, _DIL5), (0, _DIL5)),
            ((2, _DIL5), (1, _DIL3)),
            ((2, _SEP5), (3, _SEP3)),
            ((4, _SKIP), (3, _DIL3)),
        ],
        [
            ((0, _SEP5), (1, _AVG)),
            ((1, _AVG), (2, _SKIP)),
            ((2, _SKIP), (1, _AVG)),
            ((2, _SKIP), (1, _MAX)),
        ],
    ),
}
"""By name."""
