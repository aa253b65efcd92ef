"""A paper's table for print: its numbers in grey, ours below each, verdicts as signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metabench.papers.reference import PrintedCell
from metabench.papers.table import PaperCell, PaperRow, PaperTable
from metabench.render.compact import (
    INTERVAL,
    CompactTable,
    Line,
    Number,
    in_one,
    marks_in_words,
    metric_in_words,
    number_of,
    slug,
)
from metabench.render.print_names import PrintNames
from metabench.render.row_conditions import (
    NOTHING,
    Note,
    RowConditions,
    in_column,
    varying_columns,
)
from metabench.reports.tables import Row, Table
from metabench.text import capitalized, plain


def compact_paper_table(
    table: PaperTable, names: PrintNames, *, networks_shown: bool, comments: Sequence[str]
) -> CompactTable:
    """A paper's table with our runs in it.

    Args:
        table: the paper's.
        names: how papers print names.
        networks_shown: whether networks have columns; else notes name those of ours that differ.
        comments: what the source of the table says besides.
    """
    ours = [row for line in table.rows for row in line.ours]
    known = RowConditions(_as_one(table, ours), names, with_networks=not networks_shown)
    fields = _columns(table, ours) if networks_shown else {}
    verdicts = {str(cell.verdict.outcome) for cell in table.cells if cell.verdict}
    lines: list[Line] = []
    for row in table.rows:
        if row.in_paper:
            lines.append(_printed(row, table, tuple(fields)))
        if row.ours:
            line = _ours(row, table, known, names, tuple(fields.values()))
            lines.append(line if len(verdicts) > 1 else _without_verdicts(line))
    blocks = list(dict.fromkeys(line.block for line in lines))
    lines.sort(key=lambda line: blocks.index(line.block))
    return CompactTable(
        caption=_caption(table, ours, known),
        label=f"tab:{slug(table.key)}",
        left=("Method", "", *fields),
        n_names=2,
        columns=tuple((plain(heading),) for heading in table.columns.values()),
        lines=tuple(lines),
        usual=known.usual_where_noted() if ours else "",
        sentences=tuple(_sentences(table, verdicts)),
        comments=tuple(comments),
    )


def _as_one(table: PaperTable, ours: Sequence[Row]) -> Table:
    """Our rows as a table without letters: all are held against what most of them have."""
    rows = tuple(replace(row, conditions="") for row in ours)
    return Table(
        suite="",
        setting="",
        evaluation="",
        metric=table.metric,
        facts=(),
        columns=(),
        rows=rows,
    )


def _columns(table: PaperTable, ours: Sequence[Row]) -> dict[str, str]:
    """Headings of the network and its size, if they vary, and the field of our rows."""
    found = dict(varying_columns([_as_one(table, ours)]))
    if len({row.arch for row in table.rows if row.in_paper}) > 1:
        found["Network"] = "network"
    if len({row.params for row in table.rows if row.in_paper}) > 1:
        found["Weights"] = "n_params"
    return {heading: found[heading] for heading in ("Network", "Weights") if heading in found}


def _printed(row: PaperRow, table: PaperTable, headings: Sequence[str]) -> Line:
    own = {"Network": plain(row.arch) or NOTHING, "Weights": plain(row.params) or NOTHING}
    return Line(
        left=(plain(row.method), "paper", *(own[heading] for heading in headings)),
        numbers=tuple(_number(row.cells[name].printed) for name in table.columns),
        block=plain(row.group),
        printed=True,
    )


def _number(printed: PrintedCell | None) -> Number | None:
    """A number as the paper prints it, with a note on one that was not read there."""
    if printed is None or printed.status == "not reported":
        return None
    if printed.status == "missing":
        return Number("missing", mark="paper")
    mean, _, half = (part.strip() for part in printed.text.partition("±"))
    note = "" if printed.status in ("printed", "public copy") else f"{printed.status}, not printed"
    return Number(plain(mean), plain(half), "paper", note)


def _ours(
    row: PaperRow, table: PaperTable, known: RowConditions, names: PrintNames, fields: Sequence[str]
) -> Line:
    own = [replace(one, conditions="") for one in row.ours]
    notes = {one.runs: known.note(one, with_variant=True) for one in own}
    alike = set(notes.values())
    note = alike.pop() if len(alike) == 1 else ()
    name = "" if row.in_paper else _not_in_paper(row.ours[0].learner, table, names)
    return Line(
        left=(name, "ours", *(in_column(row.ours, field, names) for field in fields)),
        numbers=tuple(
            _judged(cell, note=note, own=() if note or cell.row is None else notes[cell.row.runs])
            for cell in (row.cells[column] for column in table.columns)
        ),
        note=in_one(note),
        block=plain(row.group),
    )


def _not_in_paper(learner: str, table: PaperTable, names: PrintNames) -> str:
    """A learner of ours, by a name that no method of the paper has."""
    title = names.learner(learner)
    taken = any(row.in_paper and row.method == title for row in table.rows)
    return f"{title} ({plain(learner)})" if taken else title


def _judged(cell: PaperCell, *, note: Note, own: Note) -> Number | None:
    number = number_of(cell.ours, note=note, own=own)
    if number is None or cell.verdict is None:
        return number
    return replace(number, verdict=str(cell.verdict.outcome))


def _without_verdicts(line: Line) -> Line:
    numbers = (None if one is None else replace(one, verdict="") for one in line.numbers)
    return replace(line, numbers=tuple(numbers))


def _caption(table: PaperTable, ours: Sequence[Row], known: RowConditions) -> str:
    cells = [cell.ours for cell in table.cells if cell.ours]
    whose = "of our runs and, in grey, of" if ours else "of"
    sentences = [
        f"{metric_in_words(table.metric)} {whose} {table.cited or table.citation}: {table.title}"
    ]
    if ours:
        sentences += [
            f"Ours: {INTERVAL} {known.tested()}",
            marks_in_words(cells, among=" of ours"),
            known.in_caption(),
        ]
    said = (f"{capitalized(one)}." for one in sentences if one)
    return plain(" ".join(said))


def _sentences(table: PaperTable, verdicts: set[str]) -> list[str]:
    """What stands below the table."""
    cells, said = table.cells, []
    if not any(cell.ours for cell in cells):
        said.append("None of our runs belongs in this table.")
    if len(verdicts) == 1:
        said.append(f"Verdict on every number of ours beside one of the paper: {min(verdicts)}.")
    if any(cell.verdict and cell.verdict.unstated for cell in cells):
        said.append("The source does not state all of its protocol.")
    if any(cell.deviations for cell in cells):
        said.append("Deviations from the sources are listed in the comments of this table.")
    return said
