"""How wide a table gets in print, and how it is split so that it fits its text.

Widths are those of Computer Modern, at 9 pt unless another size is named. Times is narrower.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from metabench.render.compact import CompactTable, Number

ARTICLE = 345.0
"""Points across the text of a plain article; papers of most conferences are as wide or wider."""

COLUMN = 234.0
"""Points across a column of a paper in two columns."""

NARROWEST = 180.0
"""Points below which no table of numbers with names fits."""

SEPARATION = 6.0
"""Points between two columns."""

PAGE = 44
"""Lines of a table with its caption and notes that fit on a page of 9 inches."""

RULES = 5
"""Lines that headings, rules and space of a panel take."""

WIDEST_HEADING = 80.0
"""Points from which a heading is broken into lines."""

MINUS = "\N{MINUS SIGN}"

_SIZE = 9.0
_MARK = 6.0  # points across the mark of a note
_LONG = 50.0  # points from which a word may be broken
_LETTERS = 24  # of the longest word of a language, which is not broken
_OPENING = "([{"  # signs that stay with what follows
_SQUEEZED = 0.7  # of the width that text wants
_HALVINGS = 40
_BOLD = 1.16
_SAFE = 1.02
_EM = {
    0.285: "il!',.:;[]`|",
    0.314: "fj",
    0.371: "-_I ",
    0.405: "t()rs",
    0.457: "cez",
    0.514: '0123456789ago"$*/\\^{}~?',
    0.542: "kqvxyJ",
    0.571: "bdhnpuS",
    0.642: "ZL",
    0.699: "FEP",
    0.756: "BwCTR",
    0.806: "AHNUVXYDKOQ&+<=>@G" + MINUS,
    0.856: "m#%",
    0.942: "M",
    1.056: "W",
}
_WIDTHS = {character: width for width, characters in _EM.items() for character in characters}
_UNKNOWN = 4.6  # its code point, such as [U+540D]
_PLUS_MINUS, _SUBSCRIPT = 6.5, 0.8  # of the sign in points, and of digits beside those of the text


def text_width(text: str, *, bold: bool = False) -> float:
    """Points across a text.

    >>> round(text_width("98.34"))
    21
    """
    wide = sum(_WIDTHS.get(character, _UNKNOWN) for character in text)
    return _SAFE * _SIZE * wide * (_BOLD if bold else 1)


def with_minus(text: str) -> str:
    """A text whose numbers below 0 have a minus instead of a hyphen."""
    return re.sub(r"(?<![\w])-(?=[\d])", MINUS, text)


@dataclass(frozen=True, slots=True)
class Size:
    """A size of type.

    Attributes:
        command: of LaTeX.
        scale: of its widths to those of 9 pt; subscripts are as wide.
    """

    command: str
    scale: float


SIZES = (Size("\\small", 1.0), Size("\\footnotesize", 0.92))
"""In the order of preference."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of a table that is set as one ``tabular``.

    Attributes:
        columns: positions of its columns of numbers.
        lines: positions of its lines.
        left: points of each column on the left; text that is wider is broken into lines.
        width: points across it.
    """

    columns: tuple[int, ...]
    lines: tuple[int, ...]
    left: tuple[float, ...]
    width: float


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is set.

    Attributes:
        size: of its type.
        panels: its parts, from the top.
        squeezed: whether text on the left is broken into many lines.
    """

    size: Size
    panels: tuple[Panel, ...]
    squeezed: bool


def laid_out(table: CompactTable, width: float) -> Layout:
    """The layout with the largest size of type that needs the fewest panels.

    Args:
        table: what to set.
        width: points across the text.
    """
    return min((_layout(table, width, size) for size in SIZES), key=lambda own: len(own.panels))


def _layout(table: CompactTable, width: float, size: Size) -> Layout:
    """Panels that fit; the first alone has the columns that are not names."""
    numbers = [_number_width(table, i, size) for i in range(len(table.columns))]
    left = [_Texts(table, i, size) for i in range(len(table.left))]
    room = width - max(numbers) - SEPARATION
    wanted, least = [own.natural for own in left], [own.narrowest for own in left]
    first = shrunk(wanted, room, least=least)
    names = shrunk(wanted[: table.n_names], room, least=least[: table.n_names])
    parts = _split(table, numbers, first=width - across(first), later=width - across(names))
    panels = []
    for number, columns in enumerate(parts):
        own = tuple(first if number == 0 else names)
        wide = across([*own, *(numbers[i] for i in columns)])
        panels += [
            Panel(tuple(columns), lines, own, wide) for lines in _pages(table, width, own, size)
        ]
    return Layout(size, tuple(panels), squeezed=sum(first) < _SQUEEZED * sum(wanted))


class _Texts:
    """How wide a column on the left wants to be, and how narrow it can be."""

    def __init__(self, table: CompactTable, position: int, size: Size) -> None:
        marked = _MARK if position < table.n_names else 0.0
        texts = [table.left[position], *(line.left[position] for line in table.lines)]
        self.natural = size.scale * max(map(text_width, texts)) + marked
        self.narrowest = size.scale * max(map(narrowest, texts)) + marked


def shrunk(
    widths: Sequence[float], room: float, *, least: Sequence[float] | None = None
) -> list[float]:
    """Columns made narrower, the widest first, until they fit with what separates them.

    Args:
        widths: that they want.
        room: points for all of them.
        least: widths below which words would stick out, kept where there is room for that.

    >>> shrunk([100.0, 50.0, 20.0], 132.0)
    [50.0, 50.0, 20.0]
    """
    room = max(room - SEPARATION * (len(widths) - 1), 0.0)
    lows = list(least or [0.0] * len(widths))
    if sum(lows) > room:
        lows = [0.0] * len(widths)
    narrow, wide = 0.0, max(widths)
    if sum(widths) <= room:
        return list(widths)
    for _ in range(_HALVINGS):
        cap = (narrow + wide) / 2
        found = _capped(widths, cap, lows)
        narrow, wide = (cap, wide) if sum(found) <= room else (narrow, cap)
    return [round(width, 3) for width in _capped(widths, narrow, lows)]


def _capped(widths: Sequence[float], cap: float, lows: Sequence[float]) -> list[float]:
    return [max(min(width, cap), low) for width, low in zip(widths, lows, strict=True)]


def narrowest(text: str) -> float:
    """Points across the widest part of a text that is not broken."""
    parts = (part for word in text.split() for part in word_parts(word))
    return max(map(text_width, parts), default=0.0)


def word_parts(word: str) -> list[str]:
    """A word in parts between which it may be broken: after a sign, or in what is no real word.

    >>> word_parts("conv4(filters=32,pool=stride)")
    ['conv4', '(filters=', '32,', 'pool=', 'stride)']
    """
    letters = word.strip(".,:;!?()[]'\"")
    if text_width(word) <= _LONG or (
        letters.isascii() and letters.isalpha() and len(letters) <= _LETTERS
    ):
        return [word]
    parts = [""]
    for character in word:
        part = parts[-1]
        after_sign = part != "" and not part[-1].isalnum() and part[-1] not in _OPENING
        if after_sign or (part and character in _OPENING) or text_width(part + character) > _LONG:
            parts.append("")
        parts[-1] += character
    return parts


def across(widths: Sequence[float]) -> float:
    """Points across columns with what separates them."""
    return sum(widths) + SEPARATION * (len(widths) - 1)


def _number_width(table: CompactTable, position: int, size: Size) -> float:
    """Points across a column of numbers, and its share of the headings above it."""
    own = [line.numbers[position] for line in table.lines]
    there = [one for one in own if one is not None]
    numbers = [one for one in there if one.is_number]
    mean = max(
        (text_width(with_minus(n.mean), bold=n.mark == "best") for n in numbers), default=0.0
    )
    words = max((text_width(one.mean) for one in there if not one.is_number), default=0.0)
    half = max(map(_half_width, numbers), default=0.0)
    needed = max(size.scale * mean + half, min(size.scale * words, WIDEST_HEADING))
    path = table.columns[position]
    for level, heading in enumerate(path):
        n = sum(other[: level + 1] == path[: level + 1] for other in table.columns)
        wide = min(size.scale * text_width(heading), WIDEST_HEADING)
        needed = max(needed, (wide - SEPARATION * (n - 1)) / n)
    return needed


def _half_width(one: Number) -> float:
    signs = 5.0 * bool(one.note) + 7.0 * bool(one.verdict)
    if not one.half_width:
        return signs
    return max(_PLUS_MINUS + _SUBSCRIPT * text_width(one.half_width), signs)


def _split(
    table: CompactTable, numbers: Sequence[float], *, first: float, later: float
) -> list[list[int]]:
    """Columns in parts that fit, broken between settings where possible, else evenly."""
    groups = [
        [position for position, _ in group]
        for _, group in groupby(enumerate(table.columns), key=lambda pair: pair[1][:-1])
    ]
    parts: list[list[int]] = [[]]

    def room() -> float:
        return first if len(parts) == 1 else later

    def needed(columns: Sequence[int]) -> float:
        return sum(numbers[i] + SEPARATION for i in columns)

    for group in groups:
        if needed([*parts[-1], *group]) <= room():
            parts[-1] += group
            continue
        if parts[-1]:
            parts.append([])
        for n_parts in range(1, len(group) + 1):
            chunks = _evenly(group, n_parts)
            fits = [room(), *[later] * (n_parts - 1)]
            if all(needed(c) <= space for c, space in zip(chunks, fits, strict=True)):
                break
        parts[-1:] = chunks
    return parts


def _evenly(items: Sequence[int], n_parts: int) -> list[list[int]]:
    edges = [round(part * len(items) / n_parts) for part in range(n_parts + 1)]
    return [list(items[low:high]) for low, high in pairwise(edges)]


def _pages(
    table: CompactTable, width: float, left: Sequence[float], size: Size
) -> list[tuple[int, ...]]:
    """The lines in parts that fit on a page."""
    most = room_for_lines(table, width) - RULES
    pages: list[list[int]] = [[]]
    used, block = 0, ""
    for position, line in enumerate(table.lines):
        height = _height(line.left[: len(left)], left, size) + 2 * (line.block != block)
        if pages[-1] and used + height > most:
            pages.append([])
            used = 0
        pages[-1].append(position)
        used, block = used + height, line.block
    return [tuple(page) for page in pages]


def room_for_lines(table: CompactTable, width: float) -> int:
    """How many lines of a page caption and notes leave."""
    notes = {line.note for line in table.lines}
    notes |= {one.note for line in table.lines for one in line.numbers if one is not None}
    below = " ".join(filter(None, [table.usual, *table.sentences, *notes]))
    used = sum(math.ceil(text_width(text) / width) for text in (f"{table.caption} ", below))
    return max(PAGE - used, RULES + 1)


def needed_lines(table: CompactTable, panel: Panel, size: Size) -> int:
    """How many lines of a page a panel takes."""
    blocks = {table.lines[i].block for i in panel.lines} - {""}
    rows = (table.lines[i].left[: len(panel.left)] for i in panel.lines)
    return sum(_height(row, panel.left, size) for row in rows) + 2 * len(blocks) + RULES


def _height(texts: Sequence[str], widths: Sequence[float], size: Size) -> int:
    """Lines of the entry that is broken most often."""
    pairs = zip(texts, widths, strict=True)
    return max(
        math.ceil(size.scale * text_width(text) / max(wide, 1.0) - 1e-6) for text, wide in pairs
    )
