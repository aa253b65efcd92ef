"""Where the parts of a cell are drawn: plain numbers, for matplotlib and for a page alike.

Nodes stand on a line in their order. Operations are arcs above it, each with its label at the top;
labels never overlap, since an arc rises to the lowest level that is free over its whole label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Span = tuple[float, float]
MIN_GAP = 2.0
"""Between nodes, so that their circles do not touch."""
LEVEL = 1.6
"""Height of one level of labels."""


@dataclass(frozen=True, slots=True)
class LabelledEdge:
    """An operation between two nodes, with what it is called."""

    source: int
    target: int
    label: str


@dataclass(frozen=True, slots=True)
class Arc:
    """An edge as drawn: from ``start`` to ``end`` on the line, through ``top`` above its middle.

    Attributes:
        edge: what is drawn.
        start: where it leaves the line.
        end: where it meets it again.
        top: height of its highest point, where the label stands.
    """

    edge: LabelledEdge
    start: float
    end: float
    top: float

    @property
    def middle(self) -> float:
        """Where the label stands."""
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class CellLayout:
    """A cell as drawn, in units of about one letter's width and one line's height.

    Attributes:
        nodes: position of each node on the line.
        inputs: nodes that no edge enters.
        arcs: the edges.
        width: from the first node to the last.
        height: of the highest arc.
    """

    nodes: dict[int, float]
    inputs: tuple[int, ...]
    arcs: tuple[Arc, ...]
    width: float
    height: float


def lay_out(edges: Sequence[LabelledEdge], *, room: float | None = None) -> CellLayout:
    """Place the nodes and edges of a cell.

    Args:
        edges: in any order; the layout does not depend on it.
        room: the width at most; nodes come closer, and labels stand on more levels.
    """
    ordered = sorted(set(edges), key=lambda e: (e.target - e.source, e.target, e.source, e.label))
    numbers = sorted({node for edge in ordered for node in (edge.source, edge.target)})
    gap = 2.0 + max((len(edge.label) for edge in ordered), default=0) / 2
    if room is not None and len(numbers) > 1:
        gap = max(MIN_GAP, min(gap, room / (len(numbers) - 1)))
    nodes = {node: gap * place for place, node in enumerate(numbers)}
    # Longer arcs are outside shorter ones: they leave a node further left and enter it further
    # right. Arcs out of a node have its right half, arcs into it the left one.
    starts = _spread(reversed(ordered), nodes, "source", low=0.1, high=0.9)
    ends = _spread(ordered, nodes, "target", low=-0.9, high=-0.1)
    taken: list[list[Span]] = []
    arcs = []
    for edge in ordered:
        start, end = starts[edge], ends[edge]
        half = (len(edge.label) + 2) / 2
        span = ((start + end) / 2 - half, (start + end) / 2 + half)
        least = edge.target - edge.source - 1
        height = _free_level(taken, span, at_least=min(least, len(taken)))
        arcs.append(Arc(edge, start, end, LEVEL * (height + 1)))
    entered = {edge.target for edge in ordered}
    return CellLayout(
        nodes=nodes,
        inputs=tuple(node for node in numbers if node not in entered),
        arcs=tuple(arcs),
        width=gap * max(0, len(numbers) - 1),
        height=max((arc.top for arc in arcs), default=0.0),
    )


def _spread(
    edges: Iterable[LabelledEdge],
    nodes: Mapping[int, float],
    side: Literal["source", "target"],
    *,
    low: float,
    high: float,
) -> dict[LabelledEdge, float]:
    """A place of its own for each edge beside the node at one of its ends, from left to right."""
    of_node: dict[int, list[LabelledEdge]] = {}
    for edge in edges:
        of_node.setdefault(getattr(edge, side), []).append(edge)
    return {
        edge: nodes[node] + low + (high - low) * (rank + 0.5) / len(there)
        for node, there in of_node.items()
        for rank, edge in enumerate(there)
    }


def _free_level(taken: list[list[Span]], span: Span, *, at_least: int) -> int:
    """The lowest level on which nothing overlaps ``span``, which is put there."""
    level = at_least
    while True:
        if level == len(taken):
            taken.append([])
        if all(span[1] <= low or high <= span[0] for low, high in taken[level]):
            taken[level].append(span)
            return level
        level += 1
