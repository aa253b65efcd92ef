r"""LaTeX: one ``table`` per setting, to be read with ``\input`` into a document with booktabs."""

from __future__ import annotations

import re

from metabench.render.layout import HEADINGS, Entry, entries, headings, plain, title
from metabench.report import Report, Table

_PREAMBLE = "% Needs \\usepackage{booktabs}.\n"
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
    "[": "{[}",  # after \\ a bracket or a star would be its argument
    "]": "{]}",
    "*": "{*}",
    **{c: f"\\{c}" for c in "{}$&#%_"},
}


def render(report: Report) -> str:
    """Write every table."""
    return _PREAMBLE + "".join(map(_table, report.tables))


def _table(table: Table) -> str:
    columns = "l" * len(HEADINGS) + "r" * len(table.columns)
    rows = "".join(_line([_entry(entry) for entry in row]) for row in entries(table))
    caption = escape(f"{title(table)}. {plain(table.caption)}")
    return (
        "\n\\begin{table}\n\\centering\n"
        f"\\caption{{{caption}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{_line([escape(name) for name in headings(table)])}\\midrule\n"
        f"{rows}\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\\n"


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return f"\\textbf{{{text}}}" if entry.best else text


def escape(text: str) -> str:
    r"""Text that LaTeX shows as it is; a character that pdflatex may lack gives its code point.

    >>> escape("50% of a_b")
    '50\\% of a\\_b'
    """
    marked = "".join(map(_escaped, text))
    return re.sub("-(?=-)", "-{}", marked)  # or two hyphens become a dash


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if _known(character) else f"{{[}}U+{ord(character):04X}{{]}}"


def _known(character: str) -> bool:
    """ASCII, and the letters of Latin-1."""
    return character.isascii() or (character <= "ÿ" and character.isalpha())
