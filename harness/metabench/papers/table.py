"""A paper's table with our runs in it, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metabench.papers.deviation_list import ListedDeviation
from metabench.plugin.contracts.metric import MetricFacts
from metabench.reports.tables import Row, Table, TableCell

if TYPE_CHECKING:
    from metabench.papers.reference import PrintedCell
    from metabench.papers.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PaperCell:
    """One number of a paper next to ours.

    Attributes:
        row: our configuration in this cell; None if nothing was run.
        ours: its number.
        spread: standard deviation over our episodes, in the unit; None where it is not comparable
            with the one that the printed half-width implies.
        printed: what the paper has; None in a row that the paper lacks.
        verdict: None unless there are both.
        deviations: labels of what ours does otherwise than the sources, as the table lists them.
    """

    row: Row | None
    ours: TableCell | None
    spread: float | None
    printed: PrintedCell | None
    verdict: Verdict | None
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """A line of the paper's table with our runs, or with further runs of ours.

    Attributes:
        group: the block of rows that the paper puts it in, such as ``5-way 1-shot``; else "".
        method: its name in the paper, or of our learner where the paper lacks it.
        arch: the network as the paper names it.
        params: the number of weights as the paper prints it.
        in_paper: whether the paper has this row.
        ours: our configurations in it, one per setting; empty where nothing was run.
        cells: by the name of the column, every column.
    """

    group: str
    method: str
    arch: str
    params: str
    in_paper: bool
    ours: tuple[Row, ...]
    cells: Mapping[str, PaperCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A paper's table in its own order, with ours next to it.

    Attributes:
        key: of the reference, ``m-nas/table-1``.
        title: what the table is about.
        citation: who printed it.
        cited: the same in a few words.
        facts: what is shown, as of :class:`metabench.reports.tables.Table`.
        metric: how a query set is scored.
        columns: names of the columns, and their headings as printed.
        rows: the paper's, then ours that it lacks.
        reasons: of the verdicts, in the order of the rows; columns of a row with the same reason
            share one.
        remarks: what else is known, one sentence each.
        deviations: what suites and learners do otherwise than their sources, of any row.
        warnings: as of :class:`metabench.reports.tables.Table`.
        selected: that only some of our runs are shown, in a sentence; else "".
    """

    key: str
    title: str
    citation: str
    facts: tuple[str, ...]
    metric: MetricFacts
    columns: Mapping[str, str]
    rows: tuple[PaperRow, ...]
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]
    deviations: tuple[ListedDeviation, ...] = ()
    cited: str = ""
    warnings: tuple[str, ...] = ()
    selected: str = ""

    @property
    def caption(self) -> str:
        """All facts as one text."""
        return " ".join(self.facts)

    @property
    def cells(self) -> list[PaperCell]:
        """The cells of its columns, line by line; its rows may have more."""
        return [row.cells[name] for row in self.rows for name in self.columns]


@dataclass(frozen=True, slots=True)
class PaperReport:
    """A paper's table, and the problems of the folder that ours were made from."""

    tables: tuple[PaperTable, ...]
    problems: tuple[str, ...]


def our_rows(table: Table | PaperTable) -> list[Row]:
    """Every row of ours, in the order of the table."""
    if isinstance(table, PaperTable):
        return [row for line in table.rows for row in line.ours]
    return list(table.rows)
