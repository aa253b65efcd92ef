"""Rows of text in aligned columns, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align rows under a header; the last column is as long as it wants.

    >>> print(columns(["name", "v"], [["maml", "1"], ["bmaml", "2"]]))
    name   v
    maml   1
    bmaml  2
    """
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
