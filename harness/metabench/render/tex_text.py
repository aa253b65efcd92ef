"""Text in LaTeX: escaped, broken into lines where it is too wide, or as comments."""

from __future__ import annotations

import re
import textwrap

from metabench.render.row_conditions import NOTHING
from metabench.render.tex_layout import MINUS, Size, text_width, word_parts
from metabench.render.text_table import NOT_COMPARED, RUNNING, TRANSDUCTIVE, UNSTATED
from metabench.reports.captions import SINGLE
from metabench.text import plain

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\`{}",
    '"': "''",
    "±": r"$\pm$",
    NOTHING: r"\textendash{}",
    MINUS: "$-$",
    TRANSDUCTIVE: r"\dag{}",
    RUNNING: r"\P{}",
    NOT_COMPARED: r"\ddag{}",
    UNSTATED: r"\textdegree{}",
    SINGLE: r"\S{}",
    "[": "{[}",  # after \\ a bracket or a star would be its argument
    "]": "{]}",
    "*": "{*}",
    **{c: f"\\{c}" for c in "{}$&#%_"},
}


def comments(*lines: str) -> str:
    """Lines as comments, each wrapped; those of a list begin with ``- ``."""
    return "".join(map(_comment, lines))


def _comment(line: str) -> str:
    lines = textwrap.wrap(plain(line), 96, break_long_words=False, break_on_hyphens=False)
    indent = "%   " if line.startswith("- ") else "% "
    return "".join(f"{indent if n else '% '}{text}\n" for n, text in enumerate(lines))


def fitted(text: str, width: float, size: Size, *, symbol: str = "", grey: bool = False) -> str:
    """A text in its column, broken into lines if it is wider.

    Args:
        text: the entry.
        width: points across the column.
        size: of the type.
        symbol: of its note, as mathematics.
        grey: whether it is printed in grey.
    """
    fits = size.scale * text_width(text) <= width
    said = escape(text) if fits else breakable(text)
    said = f"\\textcolor{{gray}}{{{said}}}" if grey and said else said
    said = f"{said}$^{{{symbol}}}$" if symbol else said
    return said if fits else boxed(said, width)


def boxed(text: str, width: float) -> str:
    """Text broken into lines of so many points."""
    return f"\\parbox[t]{{{int(width)}pt}}{{\\raggedright {text}\\strut}}"


def breakable(text: str) -> str:
    """Text that may be broken inside words that TeX would not break."""
    return _tied(" ".join(map(_breakable_word, text.split(" "))))


def _breakable_word(word: str) -> str:
    return "\\allowbreak{}".join(map(escape, word_parts(word)))


def escape(text: str) -> str:
    r"""Text that LaTeX shows as it is; a character that pdflatex may lack gives its code point.

    >>> escape("50% of a_b")
    '50\\% of a\\_b'
    """
    marked = "".join(map(_escaped, text))
    return _tied(re.sub("-(?=-)", "-{}", marked))  # or two hyphens become a dash


def _tied(marked: str) -> str:
    """Text in which a percentage stays on one line."""
    return marked.replace(" \\%", "~\\%")


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if _known(character) else f"{{[}}U+{ord(character):04X}{{]}}"


def _known(character: str) -> bool:
    """ASCII, and the letters of Latin-1."""
    return character.isascii() or (character <= "ÿ" and character.isalpha())
