"""What the templates ask of the values of a page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from metabench.papers.claims.evaluate import ClaimResult
from metabench.papers.table import PaperRow, PaperTable
from metabench.render.page.values import Against, Differences, Page, Picture
from metabench.reports.tables import Row, Table, TableCell
from metabench.stats import OF_LEARNERS, OF_NETWORKS, SEEDS_AVERAGED, Difference
from metabench.text import duration as duration
from metabench.text import plain

OUTCOMES = ("match", "close", "inconclusive", "differs", "not comparable")
VERDICTS = ("supported", "refuted", "undecided", "not comparable")
PLOT_WIDTH = 180.0


def symbol(verdict: str) -> str:
    """The name of a verdict in the style sheet."""
    return verdict.replace(" ", "-")


def facts(rows: Iterable[Row], *suites: str) -> str:
    """By what a line is filtered, as JSON for the script; what is not named does not filter it."""
    rows = list(rows)
    return _facts(
        learner=(row.learner for row in rows),
        suite=suites,
        stamp=(stamp for row in rows for stamp in row.stamps),
    )


def suites(page: Page) -> dict[str, str]:
    """The suite of every run on the page."""
    return {run: table.suite for table in page.tables for row in table.rows for run in row.runs}


def paper_facts(row: PaperRow, suites: Mapping[str, str]) -> str:
    """As :func:`facts`, of a line of a paper's table, by the suites of runs."""
    runs = (run for ours in row.ours for run in ours.runs)
    return facts(row.ours, *(suites[run] for run in runs if run in suites))


def claim_facts(found: ClaimResult) -> str:
    """As :func:`facts`, of a claim."""
    parties = (*found.claim.left, *found.claim.right)
    return _facts(
        learner=(party.learner for party in parties),
        suite=[found.claim.suite],
        stamp=found.stamps,
    )


def picture_facts(picture: Picture) -> str:
    """As :func:`facts`, of a figure, which shows runs with and without stamps."""
    return _facts(learner=picture.learners, suite=[picture.suite])


def suite_facts(suite: str) -> str:
    """As :func:`facts`, of what concerns a whole suite."""
    return _facts(suite=[suite])


def _facts(**found: Iterable[str]) -> str:
    return json.dumps({kind: _distinct(texts) for kind, texts in found.items()})


def choices(page: Page) -> dict[str, list[str]]:
    """What the page can be filtered by."""
    rows = [row for table in page.tables for row in table.rows]
    rows += [ours for table in page.papers for row in table.rows for ours in row.ours]
    return {
        "learner": sorted(_distinct(row.learner for row in rows)),
        "suite": sorted(_distinct(table.suite for table in page.tables)),
        "stamp": sorted(_distinct(stamp for row in rows for stamp in row.stamps)),
    }


def stamps(page: Page) -> list[str]:
    """Every stamp on the page."""
    return choices(page)["stamp"]


def ours_of(table: PaperTable) -> list[Row]:
    """Our rows in a paper's table."""
    return [ours for row in table.rows for ours in row.ours]


def outcomes(table: PaperTable) -> list[tuple[str, int]]:
    """How often each verdict occurs in a paper's table, in the order of :data:`OUTCOMES`."""
    counts: Counter[str] = Counter(
        cell.verdict.outcome for row in table.rows for cell in row.cells.values() if cell.verdict
    )
    return [(outcome, counts[outcome]) for outcome in OUTCOMES if counts[outcome]]


def verdicts(page: Page) -> list[tuple[ClaimResult, int]]:
    """How often each verdict occurs among the claims, by scope.

    An evaluation that has the verdict, and how many have it; in the order of :data:`VERDICTS`,
    verdicts that hold for the learners first.
    """
    claims = page.claims or ()
    counts = Counter(claim.said for claim in claims)
    found = {claim.said: claim for claim in claims}.values()
    ordered = sorted(found, key=lambda c: (VERDICTS.index(c.verdict), bool(c.scope), c.said))
    return [(claim, counts[claim.said]) for claim in ordered]


def leaders(table: Table) -> tuple[str, list[tuple[Row, TableCell]]]:
    """The column that sums a table up, and its best rows with those tied with the best."""
    column = table.columns[-1]
    known = [(row, row.cells[column]) for row in table.rows if column in row.cells]
    if len(known) < 2:
        return column, known
    order = ("best", "tied")
    led = [pair for pair in known if pair[1].mark in order]
    return column, sorted(led, key=lambda pair: order.index(pair[1].mark))


def numbered(table: PaperTable) -> Iterator[tuple[PaperRow, dict[str, int]]]:
    """Each row with the number, by column, of the sentence in ``table.reasons`` that is about it.

    The sentences are in the order of the rows, one for all columns of a row that share it.
    """
    n = 0
    for row in table.rows:
        of_reason: dict[tuple[str, str], int] = {}
        of_column = {}
        for column in table.columns:
            if (verdict := row.cells[column].verdict) is None:
                continue
            reason = verdict.outcome, verdict.reason
            if reason not in of_reason:
                n += 1
                of_reason[reason] = n
            if of_reason[reason] <= len(table.reasons):
                of_column[column] = of_reason[reason]
        yield row, of_column


@dataclass(frozen=True, slots=True)
class Forest:
    """The positions of the parts of an interval's drawing, from 0 to :data:`PLOT_WIDTH`."""

    zero: str
    low: str
    high: str
    mean: str


def forests(differences: Differences) -> Iterator[tuple[Against, Forest]]:
    """Each line with its drawing, all on one scale that shows 0."""
    found = [against.by_column[differences.overall] for against in differences.others]
    ends = [0.0, *(end for one in found for end in one.interval())]
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or 1.0

    def place(value: float) -> str:
        share = (value - low + margin) / (high - low + 2 * margin)
        return f"{PLOT_WIDTH * share:.1f}"

    for against, one in zip(differences.others, found, strict=True):
        start, end = one.interval()
        yield against, Forest(place(0.0), place(start), place(end), place(one.mean))


def formulas(differences: Differences) -> str:
    """How the intervals of all lines are computed."""
    overall = [against.by_column[differences.overall] for against in differences.others]
    if all_of_learners(differences):
        return OF_LEARNERS
    of_networks = f"{OF_NETWORKS}, where n counts shared episodes and {SEEDS_AVERAGED}"
    if not any(one.speaks_of_learners for one in overall):
        return of_networks
    return f"in rows with degrees of freedom, {OF_LEARNERS}; in the others, {of_networks}"


def all_of_learners(differences: Differences) -> bool:
    """Whether every line has degrees of freedom."""
    overall = (against.by_column[differences.overall] for against in differences.others)
    return all(one.speaks_of_learners for one in overall)


def degrees(difference: Difference) -> str:
    """Degrees of freedom of Student's t; "" for the normal distribution.

    >>> degrees(Difference(mean=1, standard_error=1, degrees=2.04, n_episodes=9, n_seeds=(2, 2)))
    '2.0'
    """
    return f"{difference.degrees:.1f}" if difference.speaks_of_learners else ""


def side(difference: Difference) -> str:
    """Whether an interval leaves 0 out: ``apart``, else ``open``."""
    low, high = difference.interval()
    return "open" if low <= 0 <= high else "apart"


def metric_of(table: Table) -> str:
    """The metric of a table, with its unit where that is not its name."""
    return table.metric.words if table.metric.percent else table.metric.title


def n_rows(tables: Sequence[Table]) -> int:
    """Rows of all tables."""
    return sum(len(table.rows) for table in tables)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(plain, texts)))
