"""Tables that fit a terminal: wrapped at words, numbers stacked, or in several parts.

A table is laid out in the first of these ways that fits: one line a row; text wrapped; numbers with
what follows them below, ``1.034`` above ``± 0.396``; parts below each other, each with the key of
its rows; every row as a list. Neither a word nor a number is ever broken, unless it is longer than
the line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, chop_cells

Style = Literal["", "bold", "underline", "dim", "green", "yellow", "red"]
Kind = Literal["key", "text", "number"]
_CODES: dict[Style, str] = {
    "bold": "1",
    "underline": "4",
    "dim": "90",
    "green": "32",
    "yellow": "33",
    "red": "31",
}
GLUE = "\xa0"
"""A space at which text is not wrapped."""

_GAP = 2
_OF_WORDS = 100
_MOST_LINES = 4
"""A row of a table with numbers that needs more lines is shown in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """How text is shown.

    Attributes:
        width: columns of the terminal; None for lines as long as they need to be.
        styled: whether codes for bold and colors are written.
        wide: whether all columns are shown, each row on one line whatever the width.
        full_caption: whether the whole caption is printed.
    """

    width: int | None = None
    styled: bool = False
    wide: bool = False
    full_caption: bool = False

    @property
    def of_rows(self) -> int | None:
        """The width that tables are laid out in."""
        return None if self.wide else self.width

    @property
    def of_words(self) -> int:
        """The width of sentences."""
        return self.width or _OF_WORDS

    def said(self, *sentences: str, indent: str = "") -> list[str]:
        """Sentences as lines; further lines of one are indented."""
        return [
            line for text in sentences if text for line in wrap(text, self.of_words, indent=indent)
        ]

    def listed(self, sentences: Iterable[str]) -> list[str]:
        """Sentences as lines, each an entry of a list."""
        return self.said(*(f"- {text}" for text in sentences if text), indent="  ")

    def painted(self, text: str, style: Style) -> str:
        """Text in a style, where codes are written."""
        return paint(text, style) if self.styled else text


PLAIN = Screen()
"""Text for a file or another program."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry.

    Attributes:
        text: one line.
        below: what belongs to a number and may stand below it, such as ``± 0.396``.
        sign: follows a number, in a place of its own, so that numbers without one stay aligned.
        style: how a terminal shows it.
    """

    text: str
    below: str = ""
    sign: str = ""
    style: Style = ""


@dataclass(frozen=True, slots=True)
class Column:
    """What is above a column, and how it is treated.

    Attributes:
        heading: one line.
        kind: ``key`` tells rows apart and is repeated in each part, ``text`` may be wrapped,
            ``number`` is aligned on the right and is never wrapped between its words.
        part: columns of numbers with equal names stay beside each other.
        style: of the heading.
    """

    heading: str
    kind: Kind = "text"
    part: str = ""
    style: Style = "bold"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is laid out."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def only(self, positions: Iterable[int]) -> Grid:
        """Some of the columns."""
        kept = list(positions)
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return Grid(tuple(self.columns[i] for i in kept), rows)


def lay_out(grid: Grid, width: int | None, *, rule: bool = True, styled: bool = False) -> str:
    """Write a table within a width.

    Args:
        grid: the table.
        width: columns of the terminal; None for lines as long as they need to be.
        rule: whether a line is drawn below the headings.
        styled: whether codes for styles are written.

    Returns:
        Lines without spaces at their ends; parts are separated by an empty line.
    """
    parts = _parts(grid, width)
    if parts is None:
        assert width is not None  # without a width everything fits
        return "\n\n".join(_as_list(grid, row, width, styled=styled) for row in grid.rows)
    return "\n\n".join(_draw(part, rule=rule, styled=styled) for part in parts)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A table, or a part of one, with the widths of its columns."""

    grid: Grid
    widths: tuple[int, ...]
    stacked: bool


def _parts(grid: Grid, width: int | None) -> list[_Fitted] | None:
    """The table in as few parts as fit; None where not even a column fits beside the key."""
    has_numbers = any(column.kind == "number" for column in grid.columns)
    ways = (False, True) if has_numbers else (False,)
    for stacked in ways:
        found = _fit(grid, width, stacked=stacked)
        if found and (not has_numbers or _height(found) <= _MOST_LINES):
            return [found]
    if not has_numbers or width is None:
        return None
    several = [parts for stacked in ways if (parts := _split(grid, width, stacked=stacked))]
    return min(several, key=len, default=None)


def _split(grid: Grid, width: int, *, stacked: bool) -> list[_Fitted] | None:
    """Parts with the numbers, then those with the text, each with the key of its rows."""
    grid = _with_unique_key(grid)
    keys = [i for i, column in enumerate(grid.columns) if column.kind == "key"]
    parts: list[_Fitted] = []
    for kind in ("number", "text"):
        taken: list[int] = []
        fitted: _Fitted | None = None
        for block in _blocks(grid, kind):
            more = _fit(grid.only([*keys, *taken, *block]), width, stacked=stacked)
            if more and (not fitted or _height(more) <= max(_MOST_LINES, _height(fitted))):
                taken, fitted = [*taken, *block], more
                continue
            if fitted:
                parts.append(fitted)
            taken, fitted = block, _fit(grid.only([*keys, *block]), width, stacked=stacked)
            if not fitted:
                return None
        if fitted:
            parts.append(fitted)
    return parts


def _blocks(grid: Grid, kind: str) -> Iterator[list[int]]:
    """Columns of a kind that stay beside each other."""
    block: list[int] = []
    for i, column in enumerate(grid.columns):
        if column.kind == kind:
            if block and not (column.part and column.part == grid.columns[block[-1]].part):
                yield block
                block = []
            block.append(i)
    if block:
        yield block


def _with_unique_key(grid: Grid) -> Grid:
    """The table with numbered rows where its key does not tell all of them apart."""
    keys = [i for i, column in enumerate(grid.columns) if column.kind == "key"]
    names = {tuple(row[i].text for i in keys) for row in grid.rows}
    if len(names) == len(grid.rows):
        return grid
    rows = tuple((Cell(str(n)), *row) for n, row in enumerate(grid.rows, 1))
    return Grid((Column("#", "key"), *grid.columns), rows)


def _fit(grid: Grid, width: int | None, *, stacked: bool) -> _Fitted | None:
    """The widths of the columns; None where they do not fit."""
    if not grid.columns:
        return None
    natural = tuple(_natural(grid, i, stacked=stacked) for i in range(len(grid.columns)))
    gaps = _GAP * (len(natural) - 1)
    if width is None or sum(natural) + gaps <= width:
        return _Fitted(grid, natural, stacked)
    widths = [_least(grid, i, stacked=stacked) for i in range(len(natural))]
    spare = width - gaps - sum(widths)
    if spare < 0:
        return None
    _widen(grid, widths, natural, spare)
    return _Fitted(grid, tuple(widths), stacked)


def _natural(grid: Grid, i: int, *, stacked: bool) -> int:
    if grid.columns[i].kind == "number":
        return max(_least(grid, i, stacked=stacked), cell_len(grid.columns[i].heading))
    return max(cell_len(text) for text in _texts(grid, i))


def _least(grid: Grid, i: int, *, stacked: bool) -> int:
    column = grid.columns[i]
    words = _longest_word(column.heading)
    if column.kind != "number":
        return max(_longest_word(text) for text in _texts(grid, i))
    signs = _sign_width(grid, i)
    lines = (line for row in grid.rows for line in _number_lines(row[i], signs, stacked=stacked))
    return max(words, max(map(cell_len, lines), default=0))


def _widen(grid: Grid, widths: list[int], natural: Sequence[int], spare: int) -> None:
    """Give the columns that are still wrapped what is left, the one with most lines first."""
    lines = {
        i: _lines_in_all(grid, i, width) for i, width in enumerate(widths) if width < natural[i]
    }
    while spare and lines:
        tallest = max(lines, key=lambda i: lines[i])
        step = min(spare, natural[tallest] - widths[tallest]) if len(lines) == 1 else 1
        widths[tallest] += step
        spare -= step
        if widths[tallest] < natural[tallest]:
            lines[tallest] = _lines_in_all(grid, tallest, widths[tallest])
        else:
            del lines[tallest]


def _lines_in_all(grid: Grid, i: int, width: int) -> tuple[int, int]:
    """The lines of the tallest cell of a column, and of all its cells."""
    counts = [len(wrap(text, width)) for text in _texts(grid, i)]
    return max(counts), sum(counts)


def _height(fitted: _Fitted) -> int:
    """The lines of the tallest row."""
    return max(
        (
            len(wrap(row[i].text, width))
            for row in fitted.grid.rows
            for i, width in enumerate(fitted.widths)
            if fitted.grid.columns[i].kind != "number"
        ),
        default=1,
    )


def _texts(grid: Grid, i: int) -> list[str]:
    return [grid.columns[i].heading, *(row[i].text for row in grid.rows)]


def _sign_width(grid: Grid, i: int) -> int:
    return max((cell_len(row[i].sign) for row in grid.rows), default=0)


def _number_lines(cell: Cell, signs: int, *, stacked: bool) -> list[str]:
    """The lines of a number; its sign stands outside the column of figures."""
    if not cell.text:
        return [""]
    sign = f" {cell.sign.ljust(signs)}" if signs else ""
    if stacked and cell.below:
        return [f"{cell.text}{sign}", f"{cell.below}{' ' * cell_len(sign)}"]
    return [f"{' '.join(filter(None, (cell.text, cell.below)))}{sign}"]


def _draw(fitted: _Fitted, *, rule: bool, styled: bool) -> str:
    grid, widths = fitted.grid, fitted.widths
    heads = [
        wrap(column.heading, width) for column, width in zip(grid.columns, widths, strict=True)
    ]
    tallest = max(map(len, heads))
    heads = [[""] * (tallest - len(lines)) + lines for lines in heads]
    out = _lines(grid, widths, heads, [column.style for column in grid.columns], styled=styled)
    if rule:
        out.append("─" * (sum(widths) + _GAP * (len(widths) - 1)))
    signs = [_sign_width(grid, i) for i in range(len(widths))]
    for row in grid.rows:
        cells = [
            _number_lines(cell, signs[i], stacked=fitted.stacked)
            if grid.columns[i].kind == "number"
            else wrap(cell.text, widths[i])
            for i, cell in enumerate(row)
        ]
        out += _lines(grid, widths, cells, [cell.style for cell in row], styled=styled)
    return "\n".join(out)


def _lines(
    grid: Grid,
    widths: Sequence[int],
    cells: Sequence[list[str]],
    styles: Sequence[Style],
    *,
    styled: bool,
) -> list[str]:
    """The lines of a row."""
    out = []
    for n in range(max(map(len, cells))):
        line = ""
        for i, (texts, width) in enumerate(zip(cells, widths, strict=True)):
            text = texts[n] if n < len(texts) else ""
            space = " " * (width - cell_len(text))
            shown = paint(text, styles[i]) if styled else text
            line += f"{space}{shown}" if grid.columns[i].kind == "number" else f"{shown}{space}"
            line += " " * _GAP
        out.append(_unglued(line.rstrip()))
    return out


def _as_list(grid: Grid, row: tuple[Cell, ...], width: int, *, styled: bool) -> str:
    """A row as a line for each entry, for a terminal that is too narrow for anything else."""
    lines = []
    for column, cell in zip(grid.columns, row, strict=True):
        text = " ".join(filter(None, (cell.text, cell.below, cell.sign)))
        if text:
            found = wrap(f"{column.heading}: {text}", width, indent="  ")
            lines += [paint(line, cell.style) if styled else line for line in found]
    return "\n".join(lines)


def paint(text: str, style: Style) -> str:
    """Text with the codes that a terminal shows a style by; spaces around it have none.

    >>> paint(" a ", "bold")
    ' \\x1b[1ma\\x1b[0m '
    """
    bare = text.strip()
    if not style or not bare:
        return text
    before, _, after = text.partition(bare)
    return f"{before}\x1b[{_CODES[style]}m{bare}\x1b[0m{after}"


def wrap(text: str, width: int | None, *, indent: str = "") -> list[str]:
    """Lines of at most ``width``, broken between words; further lines are indented.

    An interval, a number with its half-width and a percentage stay whole.

    >>> wrap("conv4(filters=27, head=mean)", 20)
    ['conv4(filters=27,', 'head=mean)']
    >>> wrap("mnas: +0.649 [-0.644, +1.942]", 24)
    ['mnas: +0.649', '[-0.644, +1.942]']
    """
    if width is None or cell_len(text) <= width:
        return [_unglued(text)]
    if cell_len(text) != len(text):
        return _wrap_wide(text, width, indent)
    width = max(width, len(indent) + 1)
    lines = textwrap.wrap(_glued(text), width, subsequent_indent=indent, break_on_hyphens=False)
    return [_unglued(line) for line in lines]


def _wrap_wide(text: str, width: int, indent: str) -> list[str]:
    """As :func:`wrap`, for text with characters that are as wide as two."""
    lines, line = [], ""
    for word in filter(None, _glued(text).split(" ")):
        longer = f"{line} {word}" if line.strip() else f"{line}{word}"
        if cell_len(longer) <= width:
            line = longer
            continue
        if line.strip():
            lines.append(line)
            line = indent
        *parts, last = chop_cells(word, max(width - len(indent), 2))
        for part in parts:
            lines.append(f"{line}{part}")
            line = indent
        line = f"{line}{last}"
    return [_unglued(one) for one in (*lines, line)]


_WHOLE = (
    re.compile(r"(?<=\[)[-+.\d%]+, [-+.\d%]+(?=\])"),
    re.compile(r"[.\d]+ ± \S+"),
    re.compile(r"\d %"),
)


def _glued(text: str) -> str:
    for pattern in _WHOLE:
        text = pattern.sub(lambda found: found[0].replace(" ", GLUE), text)
    return text


def _unglued(text: str) -> str:
    return text.replace(GLUE, " ")


def _longest_word(text: str) -> int:
    return max(map(cell_len, _glued(text).split(" ")), default=0)


def without_constants(grid: Grid, *, but: Sequence[str] = ()) -> tuple[Grid, list[tuple[str, str]]]:
    """Leave out columns that say the same in each row, or nothing.

    Args:
        grid: the table.
        but: headings of columns that stay.

    Returns:
        The rest, and the heading and entry of each column that was left out; of empty ones nothing.
    """
    kept, said = [], []
    for i, column in enumerate(grid.columns):
        texts = {" ".join(filter(None, (row[i].text, row[i].below))) for row in grid.rows}
        if column.heading in but or len(texts) != 1:
            kept.append(i)
        elif text := texts.pop():
            said.append((column.heading, text))
    return grid.only(kept), said


def columns_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
    """A table of plain text, whose first column is its key."""
    heads = tuple(
        Column(text, "key" if i == 0 else "text", style="") for i, text in enumerate(header)
    )
    return Grid(heads, tuple(tuple(map(Cell, row)) for row in rows))
