r"""LaTeX: tables to be read with ``\input`` into a paper, as compact as papers print them.

Everything that a table leaves out is in comments above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby

from metabench.papers.table import PaperReport, PaperTable
from metabench.render.compact import CompactTable, Line, Number, compact_table, side_by_side
from metabench.render.compact_paper import compact_paper_table
from metabench.render.legends import legend
from metabench.render.print_names import PrintNames
from metabench.render.tex_layout import (
    ARTICLE,
    COLUMN,
    WIDEST_HEADING,
    Panel,
    Size,
    laid_out,
    needed_lines,
    room_for_lines,
    text_width,
    with_minus,
)
from metabench.render.tex_text import boxed, breakable, comments, escape, fitted
from metabench.render.text_table import label, ranges, text_table_of, title
from metabench.reports.tables import Report, Row, Table

_PREAMBLE = "% Needs \\usepackage{booktabs}.\n"
_PREAMBLE_OF_PAPERS = "% Needs \\usepackage{booktabs,xcolor}.\n"
_SYMBOLS = (r"\dag", r"\ddag", r"\S", r"\P", r"\|")
_VERDICTS = {
    "match": "=",
    "close": r"\approx",
    "inconclusive": "?",
    "differs": r"\neq",
    "not comparable": r"\times",
}


def render(
    report: Report | PaperReport, *, names: PrintNames | None = None, width: float = ARTICLE
) -> str:
    """Write what is wrong with the folder, if anything is, as comments, then every table.

    Args:
        report: the tables.
        names: how papers print names; names as on the command line if absent.
        width: points across the text of the document. A wider table is split.
    """
    papers = any(isinstance(table, PaperTable) for table in report.tables)
    blocks = [_PREAMBLE_OF_PAPERS if papers else _PREAMBLE]
    if report.problems:
        blocks[0] += comments("Problems in this folder:", *report.problems)
    taken: set[str] = set()
    for table in _compact(report, names or PrintNames(), width):
        blocks += _floats(table, width, taken)
    return "\n".join(blocks)


def _compact(
    report: Report | PaperReport, names: PrintNames, width: float
) -> Iterator[CompactTable]:
    for group in side_by_side(table for table in report.tables if isinstance(table, Table)):
        told = [line for table in group for line in _comment_lines(table, table.rows, names)]
        yield _narrower(partial(compact_table, group, names, comments=told), width)
    for paper in report.tables:
        if isinstance(paper, PaperTable):
            told = _comment_lines(paper, [row for line in paper.rows for row in line.ours], names)
            yield _narrower(partial(compact_paper_table, paper, names, comments=told), width)


def _narrower(make: Callable[..., CompactTable], width: float) -> CompactTable:
    """The table with its networks in columns, if it needs no more panels with them."""
    full, bare = make(networks_shown=True), make(networks_shown=False)
    ours, other = (laid_out(table, width) for table in (full, bare))
    return full if len(ours.panels) <= len(other.panels) and not ours.squeezed else bare


def _comment_lines(table: Table | PaperTable, rows: Iterable[Row], names: PrintNames) -> list[str]:
    """The whole caption, lists and rows of a table, for the comments above it."""
    grid = text_table_of(table)
    words = legend(grid, best="Bold", tied="Underlined")
    lines = [f"{title(table)}: {' '.join([*grid.facts, *words])}"]
    for heading, notes in grid.notes:
        if notes:
            lines += [f"{heading}:", *(f"- {note}" for note in notes)]
    return [*lines, "Rows:", *(f"- {_row(row, names)}" for row in rows)]


def _row(row: Row, names: PrintNames) -> str:
    """All that the columns of other formats say of a row, and the ids of its runs."""
    facts = [
        f"{names.learner(row.learner)}: {label(row)}",
        row.network,
        "" if row.n_params is None else f"{row.n_params:,} weights",
        f"budget {row.budget}",
        f"seeds {ranges(row.seeds)}",
        f"stamps {', '.join(row.stamps)}" if row.stamps else "no stamps",
        f"runs {' '.join(row.runs)}",
    ]
    return ", ".join(filter(None, facts))


def _floats(table: CompactTable, width: float, taken: set[str]) -> list[str]:
    """The table as one float, or as several if its panels do not fit on a page."""
    layout = laid_out(table, width)
    size = layout.size
    pages: list[list[Panel]] = []
    left = 0
    for panel in layout.panels:
        needed = needed_lines(table, panel, size)
        if not pages or needed > left:
            pages.append([])
            left = room_for_lines(table, width)
        pages[-1].append(panel)
        left -= needed
    label = _unused_label(table.label, taken)
    floats = [_float(table, pages[0], size, caption=breakable(table.caption), label=label)]
    for page in pages[1:]:
        caption = f"Continuation of Table~\\ref{{{label}}}."
        own = _unused_label(table.label, taken)
        floats.append(_float(table, page, size, caption=caption, label=own))
    floats[0] = comments(*table.comments) + floats[0]
    return floats


def _float(
    table: CompactTable, page: Sequence[Panel], size: Size, *, caption: str, label: str
) -> str:
    environment = "table" if max(panel.width for panel in page) <= COLUMN else "table*"
    notes = _Notes(table, page)
    tabulars = "\n\\par\\medskip\n".join(_tabular(table, panel, size, notes) for panel in page)
    return (
        f"\\begin{{{environment}}}[t]\n\\centering\n"
        f"\\caption{{{caption}}}\n\\label{{{label}}}\n\\smallskip\n"
        f"{size.command}\n\\setlength{{\\tabcolsep}}{{3pt}}\n"
        f"{tabulars}\n{notes.below()}\\end{{{environment}}}\n"
    )


def _unused_label(name: str, taken: set[str]) -> str:
    """A label that no table before has."""
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}-{n}"
    taken.add(found)
    return found


class _Notes:
    """The notes of a float, each with a symbol, and what else stands below it."""

    def __init__(self, table: CompactTable, page: Sequence[Panel]) -> None:
        self._table = table
        words: dict[str, None] = {}
        self._verdicts: dict[str, None] = {}
        for panel in page:
            for line in (table.lines[i] for i in panel.lines):
                words[line.note] = None
                for one in (line.numbers[i] for i in panel.columns):
                    if one is not None:
                        words[one.note] = None
                        self._verdicts[one.verdict] = None
        words.pop("", None)
        self._symbols = {note: _symbol(n) for n, note in enumerate(words)}

    def symbol(self, note: str) -> str:
        """Of a note, as mathematics; "" of none."""
        return self._symbols.get(note, "")

    def below(self) -> str:
        """The text under the table; "" if there is none."""
        said = [f"${symbol}$~{breakable(note)}." for note, symbol in self._symbols.items()]
        if self._table.usual:
            which = "Without a mark: " if self._symbols else ""
            said.insert(0, f"{which}{breakable(self._table.usual)}.")
        signs = [
            f"${sign}$ {words}" for words, sign in _VERDICTS.items() if words in self._verdicts
        ]
        if signs:
            said.append(f"Verdicts on ours: {', '.join(signs)}.")
        said += map(breakable, self._table.sentences)
        if not said:
            return ""
        text = "\n".join(said)
        return (
            "\\par\\smallskip\n\\begin{minipage}{\\linewidth}\n\\footnotesize\\raggedright\n"
            f"{text}\n\\end{{minipage}}\n"
        )


def _symbol(n: int) -> str:
    """Dagger, double dagger, section, paragraph, parallel, then each doubled."""
    turn, position = divmod(n, len(_SYMBOLS))
    return _SYMBOLS[position] * (turn + 1)


def _tabular(table: CompactTable, panel: Panel, size: Size, notes: _Notes) -> str:
    n_left = len(panel.left)
    columns = "l" * n_left + "r@{}l" * len(panel.columns)
    lines = [
        f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        "\\toprule",
        *_headings(table, panel, size),
    ]
    lines.append("\\midrule")
    block = ""
    for number, position in enumerate(panel.lines):
        line = table.lines[position]
        if line.block != block:
            lines += ["\\midrule"] * (number > 0)
            lines += [_heading_of_block(line.block, panel)] if line.block else []
            block = line.block
        lines.append(_line(line, panel, size, notes))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _heading_of_block(words: str, panel: Panel) -> str:
    n = len(panel.left) + 2 * len(panel.columns)
    text = f"\\emph{{{breakable(words)}}}"
    fits = text_width(words) < 0.9 * panel.width
    text = text if fits else boxed(text, panel.width)
    return f"\\multicolumn{{{n}}}{{@{{}}l@{{}}}}{{{text}}} \\\\"


def _headings(table: CompactTable, panel: Panel, size: Size) -> list[str]:
    """A line for each level of headings, with a rule below what spans several columns."""
    paths = [table.columns[i] for i in panel.columns]
    depth = len(paths[0])
    n_columns = len(panel.left) + 2 * len(paths)
    lines = []
    for level in range(depth):
        left = [""] * len(panel.left)
        if level == depth - 1:
            left = [
                fitted(heading, width, size)
                for heading, width in zip(table.left[: len(left)], panel.left, strict=True)
            ]
        entries, rules, at = [], [], len(left) + 1
        for path, group in groupby(paths, key=lambda path: path[: level + 1]):
            n = 2 * len(list(group))
            text = _heading(path[-1], size)
            column = "c@{}" if at + n > n_columns else "c"
            entries.append(f"\\multicolumn{{{n}}}{{{column}}}{{{text}}}")
            if level < depth - 1 and path[-1]:
                rules.append(f"\\cmidrule(lr){{{at}-{at + n - 1}}}")
            at += n
        lines.append(f"{' & '.join([*left, *entries])} \\\\")
        lines += ["".join(rules)] if rules else []
    return lines


def _heading(text: str, size: Size) -> str:
    if size.scale * text_width(text) <= WIDEST_HEADING:
        return escape(text)
    return f"\\parbox[b]{{{WIDEST_HEADING:.0f}pt}}{{\\centering {breakable(text)}}}"


def _line(line: Line, panel: Panel, size: Size, notes: _Notes) -> str:
    marked = 0 if line.left[0] else 1
    left = [
        fitted(
            text,
            width,
            size,
            symbol=notes.symbol(line.note) if position == marked else "",
            grey=line.printed,
        )
        for position, (text, width) in enumerate(zip(line.left, panel.left, strict=False))
    ]
    numbers = [
        _number(line.numbers[i], size, notes, column="c@{}" if i == panel.columns[-1] else "c")
        for i in panel.columns
    ]
    return f"{' & '.join([*left, *numbers])} \\\\"


def _number(one: Number | None, size: Size, notes: _Notes, *, column: str) -> str:
    """Two cells that are aligned where they meet: the mean, and the half-width as a subscript.

    Args:
        one: the number; None where there is none.
        size: of the type.
        notes: of the float.
        column: how both cells are set as one.
    """
    if one is None:
        return f"\\multicolumn{{2}}{{{column}}}{{--}}"
    signs = _VERDICTS.get(one.verdict, "") + notes.symbol(one.note)
    if not one.is_number:
        words = _heading(one.mean, size)
        return f"\\multicolumn{{2}}{{{column}}}{{\\textcolor{{gray}}{{{words}}}}}"
    mean = escape(with_minus(one.mean))
    raised = f"^{{{signs}}}" if signs else ""
    half = f"_{{\\pm {escape(one.half_width)}}}" if one.half_width else ""
    after = f"${half}{raised}$" if half or raised else ""
    if one.mark == "best":
        mean = f"\\textbf{{{mean}}}"
    elif one.mark == "tied":
        mean = f"\\underline{{{mean}}}"
    elif one.mark == "paper":
        mean = f"\\textcolor{{gray}}{{{mean}}}"
        after = f"\\textcolor{{gray}}{{{after}}}" if after else ""
    return f"{mean} & {after}"
