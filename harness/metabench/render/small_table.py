"""A small table as HTML for a notebook and as LaTeX for a paper: a header, rows, sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as html_escape

from metabench.render.as_tex import escape as tex_escape


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

    def to_latex(self) -> str:
        """A ``table`` that needs booktabs; the sentences are its caption."""
        caption = tex_escape(" ".join([f"{self.title}.", *self.notes]))
        lines = "".join(_line(row) for row in self.rows)
        return (
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{caption}}}\n"
            f"\\begin{{tabular}}{{{'l' * len(self.header)}}}\n\\toprule\n"
            f"{_line(self.header)}\\midrule\n{lines}\\bottomrule\n"
            "\\end{tabular}\n\\end{table}\n"
        )


def _line(entries: Iterable[str]) -> str:
    return f"{' & '.join(map(tex_escape, entries))} \\\\\n"
