"""A discrete architecture in coded form: the primitive on each edge of each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_NODE = 1000
"""No cell has more nodes."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One kept edge of a cell: ``target = ... + primitive(source)``."""

    source: int
    target: int
    primitive: str


@dataclass(frozen=True, slots=True)
class Genotype:
    """The kept edges of each cell type, in a fixed order, so that equal architectures are equal."""

    cells: tuple[tuple[str, tuple[Edge, ...]], ...]

    @classmethod
    def of(cls, cells: Mapping[str, list[Edge]]) -> Genotype:
        """Build a genotype in canonical order (cell name; target, source, primitive)."""
        order = {
            name: tuple(sorted(edges, key=lambda e: (e.target, e.source, e.primitive)))
            for name, edges in cells.items()
        }
        return cls(tuple(sorted(order.items())))

    def to_json(self) -> dict[str, list[list[Any]]]:
        """Return ``{cell: [[source, target, primitive], ...]}``."""
        return {
            name: [[e.source, e.target, e.primitive] for e in edges] for name, edges in self.cells
        }

    @classmethod
    def from_json(cls, data: Mapping[str, list[list[Any]]]) -> Genotype:
        """Invert :meth:`to_json`.

        Raises:
            ValueError: an edge is not ``[source, target, primitive]``, from a node to a later one.

        >>> g = Genotype.of({"normal": [Edge(0, 2, "skip")]})
        >>> Genotype.from_json(g.to_json()) == g
        True
        """
        return cls.of({name: [_edge(*edge) for edge in edges] for name, edges in data.items()})


def _edge(source: Any, target: Any, primitive: Any) -> Edge:
    kinds = [type(source), type(target), type(primitive)]
    if kinds != [int, int, str] or not 0 <= source < target < MAX_NODE:
        raise ValueError(f"{[source, target, primitive]} is not [source, target, primitive]")
    return Edge(source, target, primitive)
