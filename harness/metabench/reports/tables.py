"""The tables of a report as values, for every format to write down.

:mod:`metabench.reports.build` makes a :class:`Table` per suite and setting, and
:mod:`metabench.papers.report` a :class:`PaperTable`: ours next to what a paper printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from metabench.plugin.contracts.metric import MetricFacts
from metabench.results.metrics import VAL

Over = Literal["episodes", "seeds"]
"""What an interval is over: what is drawn anew in thought, and what its n counts."""

Mark = Literal["", "best", "tied", "worse", "not compared"]
"""What a cell is in its column.

``best`` prints like the best mean. The interval of the paired difference to the best contains 0
for ``tied``, and does not contain it for ``worse``. ``not compared`` has no such difference. A cell
that is alone in its column has "".
"""


@dataclass(frozen=True, slots=True)
class TableCell:
    """One number of a table.

    Attributes:
        mean: the score, such as an accuracy in percent.
        half_width: of the 95 % interval, in the same unit; NaN where it cannot be estimated.
        n: what the interval counts.
        unit: ``%``, or the name of the metric.
        mark: what it is in its column.
        over: what the interval is over.
        median: over episodes, of scores averaged over seeds; None of an average over sources.
        family_mark: the mark by p-values that are adjusted over all pairs of rows that can be
            compared; "" unless it was asked for.
    """

    mean: float
    half_width: float
    n: int
    unit: str
    mark: Mark = ""
    over: Over = "episodes"
    median: float | None = None
    family_mark: Mark = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherVersion:
    """A version that runs used, where another one is installed now.

    Attributes:
        fact: in the words of :attr:`Row.facts`.
        whose: ``suite``, ``learner``, or the name of another plugin.
        number: the version that was used.
    """

    fact: str
    whose: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One configuration; its runs differ in the seed only.

    Attributes:
        learner: the learner's name.
        facts: how it differs from rows with the same learner, network and budget, such as
            ``order=first``; mostly none.
        network: the network in words.
        n_params: weights of the network that predicts, a mean where it differs per episode.
        budget: how much compute.
        meta_steps: length of the training of each run.
        meta_batch: training episodes per meta-step.
        skipped_steps: meta-steps that were skipped, over all runs; None where the learner never
            skips.
        steps_at_test: inner steps at meta-test; None where the records do not say.
        training: what is recorded of the training besides its length, by name, in words.
        seeds: one per run.
        seedless: whether these are no training seeds, so that one run says all.
        stamps: the stamps of any of the runs.
        transductive: whether predictions use the statistics of the query set.
        normalization: whose statistics normalize queries, ``transductive``, ``inductive`` or
            ``running``; None in a row that was not run.
        conditions: a letter, equal for rows that can be compared with each other; "" of a row that
            no other can be compared with, and of all where only one group of rows can.
        runs: run ids, in the order of the seeds.
        cells: by column; a source without episodes has none.
        versions: which of the facts are versions; looked up beside a paper's numbers alone.
    """

    learner: str
    facts: tuple[str, ...]
    network: str
    n_params: int | None
    budget: str
    meta_steps: int
    meta_batch: int
    skipped_steps: int | None
    steps_at_test: int | None
    training: Mapping[str, str]
    seeds: tuple[int, ...]
    stamps: tuple[str, ...]
    transductive: bool
    normalization: str | None = None
    conditions: str = ""
    runs: tuple[str, ...]
    cells: Mapping[str, TableCell]
    versions: tuple[OtherVersion, ...] = ()
    seedless: bool = False

    @property
    def n_seeds(self) -> int:
        """How many training seeds it has; 0 where nothing is trained."""
        return 0 if self.seedless else len(self.seeds)

    @property
    def over_seeds(self) -> bool:
        """Whether the intervals of its scores on meta-test are over seeds."""
        return any(cell.over == "seeds" for name, cell in self.cells.items() if name != VAL)

    @property
    def variant(self) -> str:
        """The facts in one line."""
        return ", ".join(self.facts)

    @property
    def name(self) -> str:
        """The learner, and in brackets how it differs from a row that would look the same."""
        facts = [fact.removeprefix(f"{self.learner} ") for fact in self.facts]
        return f"{self.learner} ({', '.join(facts)})" if facts else self.learner


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Every configuration that ran on one setting of a suite.

    Attributes:
        suite: its name.
        setting: its name.
        evaluation: of the scores, if it is not the headline's; else "".
        metric: how a query set is scored.
        facts: what is shown: each in a sentence, or in a few that belong together.
        columns: names of sources, and the average.
        rows: one per configuration.
        warnings: what a reader must beware of, in a few words each; the caption says more.
        selected: that only some runs are shown, in a sentence that the caption has too; else "".
        episodes: the numbers of meta-test episodes per source that rows have.
        conditions: what rows with a letter have in common, by letter.
    """

    suite: str
    setting: str
    evaluation: str
    metric: MetricFacts
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    episodes: tuple[int, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    selected: str = ""

    @property
    def caption(self) -> str:
        """All facts as one text."""
        return " ".join(self.facts)


@dataclass(frozen=True, slots=True)
class Report:
    """Tables, and the problems of the folder that they were made from."""

    tables: tuple[Table, ...]
    problems: tuple[str, ...]
