"""A table as papers print it: rows are learners, settings stand side by side, what varies is shown.

What is equal in all rows is said once. A row that ran under other conditions than most (budget,
stamps, training, seeds, normalization) has a note.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metabench.plugin.contracts.metric import MetricFacts
from metabench.render.print_names import PrintNames
from metabench.render.row_conditions import (
    NOT_COMPARED,
    Note,
    RowConditions,
    in_column,
    sources_of,
    varying_columns,
)
from metabench.render.text_table import EntryMark
from metabench.reports.tables import Row, Table, TableCell
from metabench.results.metrics import VAL, number
from metabench.text import capitalized, plain

STANDARD = "standard"
"""The heading of the evaluation without a name, beside others."""

INTERVAL = "mean \N{PLUS-MINUS SIGN} 95 % interval"
"""What numbers with half-widths are."""

_LONGEST_NAME = 28
"""Characters of a learner with what tells it apart; what is longer becomes a note."""


@dataclass(frozen=True, slots=True)
class Number:
    """A mean with its half-width.

    Attributes:
        mean: as it is printed.
        half_width: as it is printed; "" if there is none.
        mark: what it is in its column.
        note: what a reader must know about this number alone; mostly "".
        verdict: how it compares with the number that a paper prints; mostly "".
    """

    mean: str
    half_width: str = ""
    mark: EntryMark = ""
    note: str = ""
    verdict: str = ""

    @property
    def is_number(self) -> bool:
        """Whether there is a number; a paper may have lost one."""
        return self.mean.lstrip("-")[:1].isdigit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table.

    Attributes:
        left: under :attr:`CompactTable.left`; the first is the name.
        numbers: one per column; None where there is none.
        note: under which other conditions than most rows it ran; mostly "".
        block: the words over the lines that belong together; "" in a table without blocks.
        printed: whether it has the numbers of a paper instead of ours.
    """

    left: tuple[str, ...]
    numbers: tuple[Number | None, ...]
    note: str = ""
    block: str = ""
    printed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactTable:
    """A table for print.

    Attributes:
        caption: two lines.
        label: by which a text refers to it.
        left: headings of the columns on the left; those after ``n_names`` are shown once.
        n_names: how many of them are repeated where a table is split.
        columns: for each column of numbers its headings, from the top, all of the same depth.
        lines: from the top.
        usual: what holds for the rows without a note, in words; may be "".
        sentences: what else stands below the table.
        comments: what only the source of the table says, in lines.
    """

    caption: str
    label: str
    left: tuple[str, ...]
    n_names: int = 1
    columns: tuple[tuple[str, ...], ...]
    lines: tuple[Line, ...]
    usual: str = ""
    sentences: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()


def side_by_side(tables: Iterable[Table]) -> list[list[Table]]:
    """Tables in groups that make one table: of one metric, and with half of the learners in common.

    A table whose letters say which rows are compared stays alone.
    """
    groups: list[list[Table]] = []
    for table in tables:
        fitting = (group for group in groups if _fits(table, group))
        if (group := next(fitting, None)) is not None:
            group.append(table)
        else:
            groups.append([table])
    return groups


def _fits(table: Table, group: Sequence[Table]) -> bool:
    if table.metric != group[0].metric or table.conditions or group[0].conditions:
        return False
    here = {row.learner for row in table.rows}
    there = {row.learner for other in group for row in other.rows}
    return 2 * len(here & there) >= min(len(here), len(there))


def compact_table(
    tables: Sequence[Table], names: PrintNames, *, networks_shown: bool, comments: Sequence[str]
) -> CompactTable:
    """One table of those that stand side by side.

    Args:
        tables: of one metric.
        names: how papers print names.
        networks_shown: whether networks that vary have columns; else notes name them.
        comments: what the source of the table says besides.
    """
    seen = [RowConditions(table, names, with_networks=not networks_shown) for table in tables]
    learners = {row.learner for table in tables for row in table.rows}
    titles = Counter(map(names.learner, learners))
    style = _Style(
        names,
        frozenset(title for title, n in titles.items() if n > 1),
        varying_columns(tables) if networks_shown else {},
    )
    lines = [_line(rows, tables, seen, style) for rows in _matched(tables)]
    if blocks := seen[0].blocks:
        lines.sort(key=lambda line: blocks.index(line.block))
    places = _places_apart(tables, names)
    networks = {known.network() for known in seen} - {""}
    networks_apart = len(networks) > 1 and "Network" not in style.shown
    return CompactTable(
        caption=_caption(tables, names, seen),
        label=_label(tables),
        left=("Learner", *style.shown),
        n_names=2 if style.shown and _alike(lines) else 1,
        columns=_headings(tables, names),
        lines=tuple(lines),
        usual=_by_place(
            places, [known.usual_where_noted(with_network=networks_apart) for known in seen]
        ),
        comments=tuple(comments),
    )


@dataclass(frozen=True, slots=True)
class _Style:
    """How lines are written: names in print, titles of several learners, columns of the network."""

    names: PrintNames
    ambiguous: frozenset[str]
    shown: Mapping[str, str]


def _alike(lines: Sequence[Line]) -> bool:
    """Whether some lines have the same name and note, so that their networks tell them apart."""
    return max(Counter((line.block, line.left[0], line.note) for line in lines).values()) > 1


def _matched(tables: Sequence[Table]) -> list[list[Row | None]]:
    """The rows of each line, one per table; variants of a learner have lines of their own."""
    counts = [Counter(row.learner for row in table.rows) for table in tables]
    several = {name for count in counts for name, n in count.items() if n > 1}
    lines: dict[tuple[str, ...], list[Row | None]] = {}
    for position, table in enumerate(tables):
        for row in table.rows:
            key: tuple[str, ...] = (row.learner,)
            if row.learner in several:
                key += (*row.facts, row.network, row.budget, row.conditions)
            while lines.setdefault(key, [None] * len(tables))[position] is not None:
                key += ("",)  # rows that no fact of ours tells apart
            lines[key][position] = row
    return list(lines.values())


def _line(
    own: Sequence[Row | None], tables: Sequence[Table], seen: Sequence[RowConditions], style: _Style
) -> Line:
    there = [(row, known) for row, known in zip(own, seen, strict=True) if row is not None]
    rows = [row for row, _ in there]
    name, in_name = _name(there, style)
    notes = [
        () if row is None else known.note(row, with_variant=not in_name)
        for row, known in zip(own, seen, strict=True)
    ]
    note = _common_note(own, seen, notes)
    numbers = [
        None if row is None else number_of(row.cells.get(column), note=note, own=alone)
        for row, table, alone in zip(own, tables, notes, strict=True)
        for column in table.columns
    ]
    return Line(
        left=(name, *(in_column(rows, field, style.names) for field in style.shown.values())),
        numbers=tuple(numbers),
        note=in_one(note),
        block=there[0][1].block(rows[0]),
    )


def _common_note(
    own: Sequence[Row | None], seen: Sequence[RowConditions], notes: Sequence[Note]
) -> Note:
    """The note that holds for a row in all tables; () if there is none.

    In a table of its own a row differs from no other, so that it has no note there.
    """
    there = [(row, k, note) for row, k, note in zip(own, seen, notes, strict=True) if row]
    found = {note for _, known, note in there if not known.single} or {()}
    note = found.pop()
    agreed = (known.agrees(row, note) for row, known, _ in there if known.single)
    return note if not found and all(agreed) else ()


def in_one(note: Note) -> str:
    """A note as it is printed."""
    return "; ".join(note)


def _name(there: Sequence[tuple[Row, RowConditions]], style: _Style) -> tuple[str, bool]:
    """The learner, and whether the name says what tells it apart from rows that look the same.

    It does so if that is short and the same in all tables.
    """
    learner = there[0][0].learner
    name = style.names.learner(learner)
    if name in style.ambiguous:
        name = plain(learner)
    variants = {", ".join(known.variant(row)) for row, known in there}
    variant = variants.pop() if len(variants) == 1 else ""
    told = f"{name} ({variant})" if variant else name
    return (told, True) if variant and len(told) <= _LONGEST_NAME else (name, False)


def number_of(cell: TableCell | None, *, note: Note, own: Note = ()) -> Number | None:
    """A cell as it is printed.

    Args:
        cell: ours; None where there is none.
        note: of its line.
        own: of its table, where the tables of its line have different ones.
    """
    if cell is None:
        return None
    said = () if own == note else own
    if cell.mark == "not compared" and NOT_COMPARED not in (*note, *said):
        said = (*said, NOT_COMPARED)
    half = "" if math.isnan(cell.half_width) else number(cell.half_width, cell.unit)
    return Number(number(cell.mean, cell.unit), half, cell.mark, in_one(said))


_LEVELS = 4


def _path(table: Table, column: str, names: PrintNames) -> tuple[str, ...]:
    """Suite, setting, evaluation and source of a column, in words."""
    source = column if len(sources_of(table)) > 1 or VAL in table.columns else ""
    setting = setting_in_words(table.setting)
    return names.suite(table.suite), setting, plain(table.evaluation), source


def _headings(tables: Sequence[Table], names: PrintNames) -> tuple[tuple[str, ...], ...]:
    """The headings of each column; what is the same for all is left to the caption."""
    paths = [_path(table, column, names) for table in tables for column in table.columns]
    some = any(path[2] for path in paths)
    paths = [(*p[:2], p[2] or (STANDARD if some else ""), p[3]) for p in paths]
    kept = [level for level in range(_LEVELS) if len({path[level] for path in paths}) > 1]
    if not kept:
        return ((plain(metric_in_words(tables[0].metric)),),)
    return tuple(tuple(plain(path[level]) for level in kept) for path in paths)


def setting_in_words(setting: str) -> str:
    """A setting as papers print it.

    >>> setting_in_words("5w1s"), setting_in_words("10-shot")
    ('5-way 1-shot', '10-shot')
    """
    found = re.fullmatch(r"(\d+)w(\d+)s", setting)
    return plain(f"{found[1]}-way {found[2]}-shot" if found else setting)


def _places_apart(tables: Sequence[Table], names: PrintNames) -> list[str]:
    """What tells each table from the others: suite, setting and evaluation as far as they vary."""
    paths = [_path(table, "", names)[:-1] for table in tables]
    kept = [level for level in range(len(paths[0])) if len({path[level] for path in paths}) > 1]
    return [", ".join(path[level] or STANDARD for level in kept) for path in paths]


def _by_place(places: Sequence[str], said: Sequence[str]) -> str:
    """What is said of each place, once where it is the same for all."""
    where: dict[str, list[str]] = {}
    for place, words in zip(places, said, strict=True):
        where.setdefault(words, []).append(place)
    if len(where) == 1:
        return said[0]
    return "; ".join(f"{' and '.join(own)}: {words}" for words, own in where.items() if words)


def _caption(tables: Sequence[Table], names: PrintNames, seen: Sequence[RowConditions]) -> str:
    shown = [row.cells.get(name) for t in tables for row in t.rows for name in t.columns]
    cells = [cell for cell in shown if cell is not None]
    places = _places_apart(tables, names)
    tested = _by_place(places, [known.tested() for known in seen])
    sentences = [
        f"{metric_in_words(tables[0].metric)} on {_places(tables, names)}: "
        f"{'mean' if all(math.isnan(cell.half_width) for cell in cells) else INTERVAL} "
        f"{f'({tested})' if ': ' in tested else tested}",
        f"{VAL}: on meta-validation, interval over seeds" if _beside_val(tables) else "",
        marks_in_words(cells, among=" of its block" if seen[0].blocks else ""),
        capitalized(_by_place(places, [known.in_caption() for known in seen])),
    ]
    return plain(" ".join(f"{sentence}." for sentence in sentences if sentence))


def _beside_val(tables: Sequence[Table]) -> bool:
    """Whether scores on meta-validation stand beside others."""
    return any(VAL in table.columns and len(table.columns) > 1 for table in tables)


def _places(tables: Sequence[Table], names: PrintNames) -> str:
    """The suites, and what all columns have in common of setting, evaluation and source."""
    paths = [_path(table, column, names) for table in tables for column in table.columns]
    suites, *others = (list(dict.fromkeys(level)) for level in zip(*paths, strict=True))
    said = " and ".join(filter(None, [", ".join(suites[:-1]), suites[-1]]))
    return ", ".join([said, *(level[0] for level in others if len(level) == 1 and level[0])])


def metric_in_words(metric: MetricFacts) -> str:
    """A metric with its unit, ``Accuracy (%)``."""
    return capitalized(f"{metric.title} (%)" if metric.percent else metric.title)


def marks_in_words(cells: Iterable[TableCell], *, among: str = "") -> str:
    """What bold and underlined numbers are; "" without any.

    Args:
        cells: all numbers of ours.
        among: the words for what of its column the best is the best of.
    """
    marks = {cell.mark for cell in cells}
    if "best" not in marks:
        return ""
    compared = " among compared rows" if "not compared" in marks else ""
    best = f"Bold: best{among}{compared}"
    return f"{best}; underlined: not distinguishable from it" if "tied" in marks else best


def _label(tables: Sequence[Table]) -> str:
    """The suites, and setting and evaluation if all tables have the same."""
    levels = zip(*((table.suite, table.setting, table.evaluation) for table in tables), strict=True)
    suites, *others = (list(dict.fromkeys(level)) for level in levels)
    parts = [*suites, *(level[0] for level in others if len(level) == 1)]
    return f"tab:{slug('-'.join(filter(None, parts)))}"


def slug(text: str) -> str:
    """A text as a label: letters, digits and hyphens.

    >>> slug("Toy regression_10")
    'toy-regression-10'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "table"
