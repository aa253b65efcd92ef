"""Tables for the terminal: what rows have in common, what varies, and a short legend."""

from __future__ import annotations

from dataclasses import replace

from metabench.papers.table import PaperReport, PaperTable, our_rows
from metabench.render.layout import PLAIN, Cell, Column, Grid, Kind, Screen, Style, lay_out
from metabench.render.legends import legend
from metabench.render.short_legends import short_legend
from metabench.render.text_table import (
    HEADINGS,
    NOT_COMPARED,
    Entry,
    EntryMark,
    TextTable,
    text_table_of,
)
from metabench.render.verdict_signs import signed, unsigned
from metabench.reports.tables import Report, Row, Table
from metabench.text import capitalized

_STYLES: dict[EntryMark, Style] = {"best": "bold", "tied": "underline", "paper": "dim"}
_SIGNS: dict[EntryMark, str] = {"best": "*", "tied": "=", "not compared": NOT_COMPARED}
_VERDICT = "Verdict"
_IN_WORDS = {
    "Learner": "learner {}",
    "Network": "network {}",
    "Weights": "{} weights",
    "Budget": "budget {}",
    "Seeds": "seeds {}",
    "Stamps": "stamped {}, so not comparable with papers",
    "Group": "{} in the paper",
    "Arch.": "architecture {} in the paper",
    "Weights (paper)": "{} weights in the paper",
    _VERDICT: "every verdict: {}",
}
"""How a column that says the same in each row is said above the table."""


def render(report: Report | PaperReport, screen: Screen = PLAIN) -> str:
    """Write every table."""
    return "\n".join(_block(table, screen) for table in report.tables)


def _block(table: Table | PaperTable, screen: Screen) -> str:
    bare, said = (table, []) if screen.wide else _without_common(table)
    text = text_table_of(bare)
    grid = _with_names(_grid(text), bare)
    if not screen.wide:
        grid, constants = _without_constants(grid, bare)
        said = [*constants, *said]
    shown = lay_out(grid, screen.of_rows, styled=screen.styled)
    about = "; ".join(said)
    about = f"{capitalized(about)}." if about else ""
    lines = [screen.painted(line, "bold") for line in screen.said(text.title)]
    lines += screen.said(" ".join(filter(None, (about, table.selected))))
    below = _full(table, screen) if screen.full_caption else _short(table, screen)
    return "\n".join([*lines, "", shown, "", *below, ""])


def _full(table: Table | PaperTable, screen: Screen) -> list[str]:
    text = text_table_of(table)
    words = legend(text, best=_SIGNS["best"], tied=_SIGNS["tied"])
    lines = screen.listed([*text.facts, *words])
    for heading, notes in text.notes:
        if notes:
            lines += ["", f"{heading}:", *screen.listed(notes)]
    return lines


def _short(table: Table | PaperTable, screen: Screen) -> list[str]:
    lines = short_legend(table, common_said=not screen.wide)
    apart = screen.said(*lines)
    if len(apart) == len(lines):
        return apart
    return min(apart, screen.said(lines[0], " ".join(lines[1:])), key=len)


def _grid(text: TextTable) -> Grid:
    columns, part = [], ""
    for i, (heading, numeric) in enumerate(zip(text.headings, text.numeric, strict=True)):
        name = heading.text
        if numeric:  # ours, the paper's and the verdict stay together
            part = name.rpartition(",")[0]
        is_verdict = name == _VERDICT
        kind: Kind = "number" if numeric or is_verdict else "key" if i == _key(text) else "text"
        columns.append(Column(name, kind, part if kind == "number" else ""))
    rows = tuple(
        tuple(_cell(entry, columns[i]) for i, entry in enumerate(row)) for row in text.rows
    )
    return Grid(tuple(columns), rows)


def _with_names(grid: Grid, table: Table | PaperTable) -> Grid:
    """Each row of ours that a paper lacks has the name of its learner in the paper's place."""
    if isinstance(table, Table):
        return grid
    key = next(i for i, column in enumerate(grid.columns) if column.kind == "key")
    rows = tuple(
        row if line.in_paper else (*row[:key], Cell(f"{line.method} (ours)"), *row[key + 1 :])
        for row, line in zip(grid.rows, table.rows, strict=True)
    )
    return Grid(grid.columns, rows)


def _key(text: TextTable) -> int:
    """The column by which rows are told apart: the paper's method, or our learner."""
    names = [heading.text for heading in text.headings]
    return names.index("Method") if "Method" in names else 0


def _cell(entry: Entry, column: Column) -> Cell:
    if column.heading == _VERDICT:
        return signed(entry.text)
    style = _STYLES.get(entry.mark, "")
    mean, separator, rest = entry.text.partition(" ± ")
    if column.kind == "number" and separator:
        return Cell(mean, f"± {rest}", _SIGNS.get(entry.mark, ""), style)
    return Cell(entry.text, style=style)


def _without_constants(grid: Grid, table: Table | PaperTable) -> tuple[Grid, list[str]]:
    """Leave out what is the same in all rows, of ours or of the paper's; say what it is."""
    ours, papers = [True] * len(table.rows), [True] * len(table.rows)
    if isinstance(table, PaperTable):
        ours = [bool(row.ours) for row in table.rows]
        papers = [row.in_paper for row in table.rows]
    verdicts = {row[i].text for i in _verdicts(grid) for row in grid.rows if row[i].text}
    kept, said = [], {}
    for i, column in enumerate(grid.columns):
        whose = ours if column.heading in HEADINGS else papers
        found = {row[i].text for row, counts in zip(grid.rows, whose, strict=True) if counts}
        if column.heading == _VERDICT:  # shown in all columns or in none
            found = verdicts
        if column.kind == "key" or column.heading not in _IN_WORDS or len(found) > 1:
            kept.append(i)
        elif text := "".join(found):
            if column.heading == _VERDICT:
                text = unsigned(text)
            said[column.heading] = _IN_WORDS[column.heading].format(text)
            if column.heading == "Seeds" and text.isdecimal():
                said[column.heading] = f"seed {text}"
    return grid.only(kept), list(said.values())


def _verdicts(grid: Grid) -> list[int]:
    return [i for i, column in enumerate(grid.columns) if column.heading == _VERDICT]


def _without_common(table: Table | PaperTable) -> tuple[Table | PaperTable, list[str]]:
    """Leave out of the labels of rows what all of ours have in common; say what it is."""
    said: list[str] = []
    rows = our_rows(table)
    common: list[str] = []
    if len(rows) > 1:
        common = [fact for fact in rows[0].facts if all(fact in row.facts for row in rows)]
    if common:
        said.append(", ".join(common))
    changes: dict[str, object] = {}
    if rows and all(row.transductive for row in rows):
        changes["transductive"] = False
        said.append("transductive predictions")
    if rows and all(row.normalization == "running" for row in rows):
        changes["normalization"] = None
        said.append("predictions use running statistics")

    def bare(row: Row) -> Row:
        facts = tuple(fact for fact in row.facts if fact not in common)
        return replace(row, facts=facts, **changes)  # type: ignore[arg-type]

    if isinstance(table, Table):
        return replace(table, rows=tuple(map(bare, table.rows))), said
    lines = (replace(line, ours=tuple(map(bare, line.ours))) for line in table.rows)
    return replace(table, rows=tuple(lines)), said
