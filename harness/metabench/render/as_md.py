"""Markdown: one table under a heading and its caption, as GitHub reads it."""

from __future__ import annotations

import re

from metabench.render.layout import HEADINGS, Entry, entries, headings, plain, title
from metabench.report import Report, Table

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(report: Report) -> str:
    """Write every table."""
    return "\n".join(map(_table, report.tables))


def _table(table: Table) -> str:
    names = headings(table)
    rules = ["---"] * len(HEADINGS) + ["---:"] * len(table.columns)
    lines = [_line([escape(name) for name in names]), _line(rules)]
    lines += [_line([_entry(entry) for entry in row]) for row in entries(table)]
    body = "\n".join(lines)
    return f"## {escape(title(table))}\n\n{escape(plain(table.caption))}\n\n{body}\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return f"**{text}**" if entry.best else text


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is.

    >>> escape("a|b <i>")
    'a\\|b &lt;i&gt;'
    """
    marked = re.sub(r"[\\`*_\[\]|~$#]", r"\\\g<0>", text)
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], marked)
