"""The content of a page, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metabench.papers.claims.evaluate import ClaimResult
from metabench.papers.table import PaperTable
from metabench.reports.tables import Row, Table
from metabench.stats import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A configuration against the best of those made under the same conditions.

    Attributes:
        row: the configuration.
        by_column: its number minus the best's; without a column in which they share no episode.
        p: two-sided, of the overall difference, adjusted over all pairs of the configurations; None
            where two seeds would make it too small.
        p_by_column: the same of every column.
    """

    row: Row
    by_column: Mapping[str, Difference]
    p: float | None
    p_by_column: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Paired differences of one setting of a suite.

    Attributes:
        suite: its name.
        setting: its name.
        place: both and the budget, and what tells apart what else ran there.
        unit: ``%``, or the name of the metric.
        direction: ``more is better`` or ``less is better``.
        best: what the others are compared with.
        overall: the column that decides which is the best.
        columns: all of them, the overall one first.
        others: the largest disadvantage last.
        adjustment: how their p-values are adjusted, in words; "" where they have none.
        notes: what a reader must know, in sentences.
    """

    suite: str
    setting: str
    place: str
    unit: str
    direction: str
    best: Row
    overall: str
    columns: tuple[str, ...]
    others: tuple[Against, ...]
    adjustment: str
    notes: tuple[str, ...]


Line = tuple[tuple[float, float], ...]
"""Points of a curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A configuration that can be put beside another one.

    Attributes:
        row: the configuration.
        training: what was logged over meta-steps, by name, of the first seed.
        adaptation: the metric after 0, 1, 2, ... inner steps at meta-test, of the first seed; () if
            not recorded.
        sources: the mean of each source.
        scores: means over seeds, by key, of the first episode of each source.
        predictions: by key of an opened episode, what the first seed predicts: values at the points
            of a function, or a class for each image shown.
        silent: why there are no predictions and how to get them, in sentences; "" where there are,
            or where they can be had for the asking.
    """

    row: Row
    training: Mapping[str, Line]
    adaptation: tuple[float, ...]
    sources: Mapping[str, float]
    scores: Mapping[str, float]
    predictions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    silent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeOfTwo:
    """An episode with the scores of two configurations, means over seeds.

    Attributes:
        source: where it was drawn from.
        number: which episode of the source, from 0.
        key: its digest.
        left: the score of one of the two.
        right: the score of the other one.
    """

    source: str
    number: int
    key: str
    left: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFunction:
    """A regression task that the page shows.

    Attributes:
        source: where it was drawn from.
        number: which episode of the source, from 0.
        low: where the points begin that predictions are at.
        high: where they end; they are evenly spaced.
        truth: the function at these points; () where it is not known there.
        support: points that learners adapt on.
    """

    source: str
    number: int
    low: float
    high: float
    truth: tuple[float, ...]
    support: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedImages:
    """An episode of images that the page shows.

    Attributes:
        source: where it was drawn from.
        number: which episode of the source, from 0.
        classes: their names, in the order of the rows of the sheet.
        sheet: a PNG with a row for each class: support images, then query images.
        width: of the sheet, in pixels.
        height: of the sheet, in pixels.
        n_support: support images of a class that are shown.
        n_query: query images of a class that are shown.
        left_out: what of the episode is not shown, in words; "" where all is.
        answers_at: where the answers to each query image are written, in pixels, row by row.
        labels: the class of each of these images.
    """

    source: str
    number: int
    classes: tuple[str, ...]
    sheet: bytes
    width: int
    height: int
    n_support: int
    n_query: int
    left_out: str
    answers_at: tuple[tuple[int, int], ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOfSides:
    """Two configurations, by position among the sides.

    Attributes:
        left: the better one.
        right: the other one.
        by_column: left minus right.
        p: two-sided, of the overall difference, adjusted over all pairs of the group; None where
            two seeds would make it too small.
        episodes: those that differ most.
    """

    left: int
    right: int
    by_column: Mapping[str, Difference]
    p: float | None
    episodes: tuple[EpisodeOfTwo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Configurations that ran under equal conditions, any two of which can be compared.

    Attributes:
        suite: its name.
        setting: its name.
        place: both and the budget, and what tells apart what else ran there.
        unit: ``%``, or the name of the metric.
        better: ``larger`` or ``smaller``.
        overall: the column that sums up.
        columns: all of them, the overall one first.
        sides: the best first.
        pairs: each two that can be compared.
        opened: episodes that can be looked into, by key.
        opening: which these are and how to see others, in sentences.
    """

    suite: str
    setting: str
    place: str
    unit: str
    better: str
    overall: str
    columns: tuple[str, ...]
    sides: tuple[Side, ...]
    pairs: tuple[PairOfSides, ...]
    opened: Mapping[str, OpenedFunction | OpenedImages] = field(default_factory=dict)
    opening: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure of one setting of a suite at one budget.

    Attributes:
        suite: its name.
        setting: its name.
        budget: its name.
        learners: whom it shows.
        title: one line.
        description: the figure in words.
        svg: for the middle of a page; "" where it could not be drawn.
        notes: what was left out, or why there is no figure.
    """

    suite: str
    setting: str
    budget: str
    learners: tuple[str, ...]
    title: str
    description: str = ""
    svg: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """How one run of a row was made."""

    run_id: str
    seed: int
    command: str
    device: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a row was made.

    Attributes:
        row: the row.
        suite: its suite.
        setting: its setting.
        facts: parameters, protocol and data, by name.
        runs: one per seed.
    """

    row: Row
    suite: str
    setting: str
    facts: Mapping[str, str]
    runs: tuple[RunLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What runs were made with, the revisions of metabench, and whose runs they are."""

    device: str
    platform: str
    packages: str
    revisions: tuple[str, ...]
    n_runs: int
    learners: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOrigin:
    """Where the episodes of a source came from.

    Attributes:
        suite: whose source it is.
        source: its name.
        dataset: with its choices.
        fingerprint: of the data.
        licence: "" where none is known.
        n_runs: how many runs used it.
        learners: whose runs these are.
    """

    suite: str
    source: str
    dataset: str
    fingerprint: str
    licence: str
    n_runs: int
    learners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageProvenance:
    """How everything on the page was made."""

    origins: tuple[Origin, ...] = ()
    environments: tuple[Environment, ...] = ()
    data: tuple[DataOrigin, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A report with all that is around its tables; what is empty is left out of the page.

    Attributes:
        title: of the page.
        tables: of the suites.
        papers: the papers' tables with our runs.
        problems: what is wrong with the folder.
        differences: per suite and setting; None if they were not asked for.
        sides: configurations that can be put side by side; None if they were not asked for.
        claims: of the papers, with verdicts; None if they were not asked for.
        pictures: kind by kind; None if they were not asked for.
        provenance: how it was made; None if it was not asked for.
        missing: by name of such a part, why it could not be made.
        under_way: how many runs are not counted because a process is making them.
        live: the address of the page that shows these; "" where nothing serves it.
        drawn_again: whether episodes were drawn again for it, from data and with checkpoints.
        adjusted: whether the cells have a mark by adjusted p-values, which is then the one shown.
    """

    title: str
    tables: tuple[Table, ...]
    papers: tuple[PaperTable, ...]
    problems: tuple[str, ...] = ()
    differences: tuple[Differences, ...] | None = None
    sides: tuple[SideBySide, ...] | None = None
    claims: tuple[ClaimResult, ...] | None = None
    pictures: tuple[Picture, ...] | None = None
    provenance: PageProvenance | None = None
    missing: Mapping[str, str] | None = None
    under_way: int = 0
    live: str = ""
    drawn_again: bool = False
    adjusted: bool = False
