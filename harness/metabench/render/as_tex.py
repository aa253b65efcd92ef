r"""LaTeX: one ``table`` per setting, to be read with ``\input`` into a document with booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from metabench.papers.table import PaperReport, PaperTable
from metabench.render.legends import legend
from metabench.render.text_table import (
    NOT_COMPARED,
    RUNNING,
    TRANSDUCTIVE,
    UNSTATED,
    Entry,
    EntryMark,
    TextTable,
    text_table_of,
)
from metabench.reports.captions import SINGLE
from metabench.reports.tables import Report
from metabench.text import plain

_PREAMBLE = "% Needs \\usepackage{booktabs}.\n"
_PREAMBLE_OF_PAPERS = "% Needs \\usepackage{booktabs,graphicx,xcolor}.\n"
_MARKS: dict[EntryMark, tuple[str, str]] = {
    "best": (r"\textbf{", "}"),
    "tied": (r"\underline{", "}"),
    "not compared": ("", r" \ddag{}"),
    "paper": (r"\textcolor{gray}{", "}"),
}
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


def render(report: Report | PaperReport) -> str:
    """Write what is wrong with the folder, if anything is, as comments, then every table."""
    papers = any(isinstance(table, PaperTable) for table in report.tables)
    preamble = _PREAMBLE_OF_PAPERS if papers else _PREAMBLE
    problems = "".join(f"% {plain(problem)}\n" for problem in report.problems)
    about = f"% Problems in this folder:\n{problems}" if problems else ""
    return preamble + about + "".join(_table(text_table_of(table)) for table in report.tables)


def _table(grid: TextTable) -> str:
    columns = "".join("r" if numeric else "l" for numeric in grid.numeric)
    rows = "".join(_line(map(_entry, row)) for row in grid.rows)
    words = legend(grid, best="Bold", tied="Underlined")
    caption = escape(f"{grid.title}. {grid.caption} {words}".strip())
    before, after = ("\\resizebox{\\textwidth}{!}{%\n", "}") if grid.wide else ("", "")
    return (
        "\n\\begin{table}\n\\centering\n"
        f"\\caption{{{caption}}}\n"
        f"{before}\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{_line(map(_entry, grid.headings))}\\midrule\n"
        f"{rows}\\bottomrule\n"
        f"\\end{{tabular}}{after}\n\\end{{table}}\n"
        f"{''.join(_notes(*notes) for notes in grid.notes)}"
    )


def _notes(heading: str, notes: tuple[str, ...]) -> str:
    if not notes:
        return ""
    items = "".join(f"\\item {escape(note)}\n" for note in notes)
    return f"\n{escape(heading)}:\n\\begin{{itemize}}\n{items}\\end{{itemize}}\n"


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\\n"


def _entry(entry: Entry) -> str:
    before, after = _MARKS.get(entry.mark, ("", ""))
    text = escape(entry.text)
    return f"{before}{text}{after}" if text else ""


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
