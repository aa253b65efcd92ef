"""A small table as HTML for a notebook and as LaTeX for a paper: a header, rows, sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as html_escape

from metabench.render.tex_layout import (
    ARTICLE,
    COLUMN,
    SIZES,
    across,
    narrowest,
    shrunk,
    text_width,
    with_minus,
)
from metabench.render.tex_text import breakable, comments, fitted


@dataclass(frozen=True, slots=True)
class SmallTable:
    """A table of plain text.

    Attributes:
        title: one line.
        header: one entry per column.
        rows: as many entries as there are columns.
        notes: sentences below it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def to_html(self) -> str:
        """A table element; the sentences are folded."""
        heads = "".join(f"<th>{html_escape(entry)}</th>" for entry in self.header)
        body = "".join(
            f"<tr>{''.join(f'<td>{html_escape(entry)}</td>' for entry in row)}</tr>"
            for row in self.rows
        )
        said = "".join(f"<p>{html_escape(note)}</p>" for note in self.notes)
        folded = f"<details><summary>What is shown</summary>{said}</details>" if said else ""
        title = html_escape(self.title)
        return (
            f"<p><b>{title}</b></p><table><thead><tr>{heads}</tr></thead>"
            f"<tbody>{body}</tbody></table>{folded}"
        )

    def to_latex(self, *, width: float = ARTICLE) -> str:
        """A table that needs booktabs and fits its text; the sentences are comments.

        Args:
            width: points across the text of the document.
        """
        lines = [self.header, *(map(with_minus, row) for row in self.rows)]
        first, *others = zip(*lines, strict=True)
        told = ", ".join(f"{own[0]} {own[1]}" for own in others if _constant(own[1:]))
        columns = [first, *(own for own in others if not _constant(own[1:]))]
        size = SIZES[-1]
        widths = shrunk(
            [size.scale * max(map(text_width, own)) for own in columns],
            width,
            least=[size.scale * max(map(narrowest, own)) for own in columns],
        )
        header, *rows = zip(*columns, strict=True)
        environment = "table" if across(widths) <= COLUMN else "table*"

        def line(entries: Iterable[str]) -> str:
            cells = (fitted(entry, w, size) for entry, w in zip(entries, widths, strict=True))
            return f"{' & '.join(cells)} \\\\\n"

        caption = f"{self.title} ({told})" if told else self.title
        return (
            f"{comments(*self.notes)}\\begin{{{environment}}}[t]\n\\centering\n"
            f"\\caption{{{breakable(caption)}.}}\n\\smallskip\n"
            f"{size.command}\n\\setlength{{\\tabcolsep}}{{3pt}}\n"
            f"\\begin{{tabular}}{{@{{}}{'l' * len(header)}@{{}}}}\n\\toprule\n"
            f"{line(header)}\\midrule\n{''.join(map(line, rows))}\\bottomrule\n"
            f"\\end{{tabular}}\n\\end{{{environment}}}\n"
        )


def _constant(entries: Sequence[str]) -> bool:
    """Whether a column says the same in several rows, so that the caption can say it."""
    return len(entries) > 1 and len(set(entries)) == 1 and entries[0] != ""
