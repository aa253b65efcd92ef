"""The tables of a report as values, for every format to write down.

:mod:`metabench.reports.build` makes a :class:`Table` per suite and setting, and
:mod:`metabench.papers.report` a :class:`PaperTable`: ours beside what a paper printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from metabench.papers.reference import PrintedCell
    from metabench.papers.verdict import Verdict

Metric = Literal["accuracy", "mse"]

Standing = Literal["", "best", "not separable", "not compared"]
"""Of a cell in its column: prints as the best, or its paired difference to the best may be 0, or
there is none. "" is what differs from the best, and a cell that is alone in its column."""

UNITS: Mapping[Metric, str] = {"accuracy": "%", "mse": "mse"}
"""What scores of a metric are printed in."""

SCALES: Mapping[Metric, float] = {"accuracy": 100.0, "mse": 1.0}
"""What scores are multiplied by for that: an accuracy is stored in [0, 1]."""

DECIMALS = {"%": 2, "mse": 3}
"""Digits after the point that our numbers are printed with, by unit."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table.

    Attributes:
        mean: accuracy in percent, or mean squared error.
        half_width: of the 95 % interval, in the same unit; NaN where it cannot be estimated.
        n: what the interval counts, episodes or seeds.
        unit: ``%`` or ``mse``.
        standing: how it stands to the best of its column.
    """

    mean: float
    half_width: float
    n: int
    unit: str
    standing: Standing = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One configuration; its runs differ in the seed only.

    Attributes:
        learner: the learner's name.
        facts: what tells it from rows with the same learner, backend and budget, such as
            ``order=first``; mostly none.
        backend: the network in words.
        n_params: weights of the network that predicts, a mean where it differs per episode.
        budget: how much compute.
        seeds: one per run.
        stamps: what must be said beside the numbers, of any of the runs.
        transductive: whether predictions use the statistics of the query set.
        conditions: a letter, equal for rows that can be compared with each other; "" of a row that
            no other can be compared with, and of all where only one group of rows can.
        runs: run ids, in the order of the seeds.
        cells: by column; a source without episodes has none.
    """

    learner: str
    facts: tuple[str, ...]
    backend: str
    n_params: int | None
    budget: str
    seeds: tuple[int, ...]
    stamps: tuple[str, ...]
    transductive: bool
    conditions: str = ""
    runs: tuple[str, ...]
    cells: Mapping[str, Cell]

    @property
    def variant(self) -> str:
        """The facts in one line."""
        return ", ".join(self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Every configuration that ran on one setting of a suite; ``caption`` says what is shown.

    ``evaluation`` names the evaluation beside the headline's that the scores are of, if any.
    """

    suite: str
    setting: str
    evaluation: str
    metric: Metric
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class PaperCell:
    """One number of a paper beside ours.

    Attributes:
        row: our configuration that stands here; None where nothing was run.
        ours: its number.
        spread: standard deviation over our episodes, in the unit; None where it is not comparable
            with the one that the printed half-width implies.
        printed: what the paper has; None in a row that the paper lacks.
        verdict: None unless there are both.
    """

    row: Row | None
    ours: Cell | None
    spread: float | None
    printed: PrintedCell | None
    verdict: Verdict | None


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
    """A paper's table in its own order, ours beside it.

    Attributes:
        key: of the reference, ``m-nas/table-1``.
        title: what the table is about.
        citation: who printed it.
        caption: what is shown.
        metric: how a query set is scored.
        columns: names of the columns, and their headings as printed.
        rows: the paper's, then ours that it lacks.
        reasons: of the verdicts, in the order of the rows; columns of a row that share one stand
            together.
        remarks: what is to be known besides, one sentence each.
    """

    key: str
    title: str
    citation: str
    caption: str
    metric: Metric
    columns: Mapping[str, str]
    rows: tuple[PaperRow, ...]
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Tables, and what is wrong with the folder they were made from."""

    tables: tuple[Table | PaperTable, ...]
    problems: tuple[str, ...]
