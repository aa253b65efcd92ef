"""Rows of text in aligned columns: on a terminal as wide as it, in a pipe as they need to be."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.render.layout import columns_of, lay_out, without_constants, wrap


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Align rows under a header.

    Args:
        header: one entry per column.
        rows: as many entries as there are columns.
        width: columns of the terminal, within which entries are wrapped at words; None for rows as
            long as they need to be.

    >>> print(columns(["name", "v"], [["maml", "1"], ["bmaml", "2"]]))
    name   v
    maml   1
    bmaml  2
    """
    return lay_out(columns_of(header, rows), width, rule=False)


def telling_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    *,
    but: Sequence[str] = (),
) -> str:
    """As :func:`columns`, but on a terminal a column that says the same in each row is one line.

    Args:
        header: one entry per column.
        rows: as many entries as there are columns.
        width: columns of the terminal; None for all columns.
        but: headings of columns that stay in any case.
    """
    if width is None or len(rows) < 2:
        return columns(header, rows, width)
    grid, common = without_constants(columns_of(header, rows), but=but)
    said = f"In all rows: {'; '.join(f'{name} {text}' for name, text in common)}."
    lines = [lay_out(grid, width, rule=False)] if len(grid.columns) > 1 else []
    return "\n".join([*lines, *(wrap(said, width) if common else [])])
