"""The tables of a report as values, for every format to write down.

:mod:`metabench.reports.build` makes a :class:`Table` per suite and setting, and
:mod:`metabench.papers.report` a :class:`PaperTable`: ours beside what a paper printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from metabench.results.metrics import Metric

Standing = Literal["", "best", "not separable", "not compared"]
"""Of a cell in its column: prints as the best, or its paired difference to the best may be 0, or
there is none. "" is what differs from the best, and a cell that is alone in its column."""


@dataclass(frozen=True, slots=True)
class TableCell:
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
    cells: Mapping[str, TableCell]

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
class Report:
    """Tables, and what is wrong with the folder they were made from."""

    tables: tuple[Table, ...]
    problems: tuple[str, ...]
