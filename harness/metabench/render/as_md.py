"""Markdown: a heading, the table, and its caption as a list of facts, as GitHub reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from metabench.papers.table import PaperReport
from metabench.render.legends import legend
from metabench.render.text_table import NOT_COMPARED, Entry, EntryMark, TextTable, text_table_of
from metabench.reports.tables import Report
from metabench.text import plain

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKS: dict[EntryMark, tuple[str, str]] = {
    "best": ("**", "**"),
    "tied": ("<ins>", "</ins>"),
    "not compared": ("", f" {NOT_COMPARED}"),
    "paper": ("_", "_"),
}


def render(report: Report | PaperReport) -> str:
    """Write what is wrong with the folder, if anything is, then every table."""
    blocks = [_table(text_table_of(table)) for table in report.tables]
    if report.problems:
        lines = [f"> - {escape(plain(problem))}" for problem in report.problems]
        blocks.insert(0, "\n".join(["> **Problems in this folder:**", ">", *lines, ""]))
    return "\n".join(blocks)


def _table(grid: TextTable) -> str:
    rules = ["---:" if numeric else "---" for numeric in grid.numeric]
    lines = [_line(map(_entry, grid.headings)), _line(rules)]
    lines += [_line(map(_entry, row)) for row in grid.rows]
    facts = [*grid.facts, *legend(grid, best="Bold", tied="Underlined")]
    blocks = [f"## {escape(grid.title)}", "\n".join(lines), _list(facts)]
    for heading, notes in grid.notes:
        if notes:
            blocks += [f"{heading}:", _list(notes)]
    return "\n\n".join(blocks) + "\n"


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escape(one)}" for one in sentences)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _entry(entry: Entry) -> str:
    before, after = _MARKS.get(entry.mark, ("", ""))
    text = escape(entry.text)
    return f"{before}{text}{after}" if text else ""


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is.

    >>> escape("a|b <i>")
    'a\\|b &lt;i&gt;'
    """
    marked = re.sub(r"[\\`*_\[\]|~$#]", r"\\\g<0>", text)
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], marked)
