"""What the templates ask of the values of a page."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from metabench.papers.claims.evaluate import ClaimResult
from metabench.papers.table import PaperRow, PaperTable
from metabench.render.claims_text import runs_in_words
from metabench.render.page.values import Against, Differences, Origin, Page, Picture
from metabench.reports.tables import Row, Table
from metabench.stats import ALPHA, OF_LEARNERS, OF_NETWORKS, SEEDS_AVERAGED, Difference
from metabench.stats.words import degrees_of_freedom_in_words
from metabench.text import duration as duration
from metabench.text import plain

OUTCOMES = ("match", "close", "inconclusive", "differs", "not comparable")
VERDICTS = ("supported", "refuted", "undecided", "not comparable")
PLOT_WIDTH = 180.0
MOST_DOTS = 6
"""Rows of a dot plot that are seen at first."""
MOST_ROWS = 15
"""Rows of the tables that are seen at first, together."""
FOLDED_FROM = 3
"""Blocks of a section that are folded at first; fewer are seen."""
LONG_FIGURE = 12_000
"""Letters of a figure that is stored compressed if it is not seen at first."""

Item = TypeVar("Item")


def symbol(verdict: str) -> str:
    """The name of a verdict in the style sheet."""
    return verdict.replace(" ", "-")


def facts(rows: Iterable[Row], *suites: str) -> Markup:
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


def paper_facts(row: PaperRow, suites: Mapping[str, str]) -> Markup:
    """As :func:`facts`, of a line of a paper's table, by the suites of runs."""
    runs = (run for ours in row.ours for run in ours.runs)
    return facts(row.ours, *(suites[run] for run in runs if run in suites))


def claim_facts(found: ClaimResult) -> Markup:
    """As :func:`facts`, of a claim."""
    parties = (*found.claim.left, *found.claim.right)
    return _facts(
        learner=(party.learner for party in parties),
        suite=[found.claim.suite],
        stamp=found.stamps,
    )


def picture_facts(picture: Picture) -> Markup:
    """As :func:`facts`, of a figure, which shows runs with and without stamps."""
    return _facts(learner=picture.learners, suite=[picture.suite])


def _facts(**found: Iterable[str]) -> Markup:
    """JSON within single quotes, in which double ones need no escape."""
    packed = {kind: _distinct(texts) for kind, texts in found.items()}
    text = json.dumps(packed, separators=(",", ":"))
    return Markup(text.replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;"))


def made_facts(learners: Iterable[str], suites: Iterable[str]) -> Markup:
    """As :func:`facts`, of what several runs were made with."""
    return _facts(learner=learners, suite=suites)


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
    return _counted_verdicts(page.claims or ())


def counted_verdicts(group: Sequence[tuple[int, ClaimResult]]) -> list[tuple[ClaimResult, int]]:
    """As :func:`verdicts`, of numbered claims."""
    return _counted_verdicts([claim for _, claim in group])


def _counted_verdicts(claims: Sequence[ClaimResult]) -> list[tuple[ClaimResult, int]]:
    counts = Counter(claim.said for claim in claims)
    found = {claim.said: claim for claim in claims}.values()
    ordered = sorted(found, key=lambda c: (VERDICTS.index(c.verdict), bool(c.scope), c.said))
    return [(claim, counts[claim.said]) for claim in ordered]


def claims_by_paper(page: Page) -> list[tuple[str, list[tuple[int, ClaimResult]]]]:
    """The claims with their numbers on the page, by paper."""
    return _grouped(page.claims or (), lambda claim: claim.paper)


def in_words(heading: str, text: str) -> str:
    """What all rows of a table have in common, in words.

    >>> in_words("Seeds", "0"), in_words("Weights", "7,801"), in_words("Budget", "lite")
    ('seed 0', '7,801 weights', 'budget lite')
    """
    if heading == "Weights":
        return f"{text} weights"
    one_seed = heading == "Seeds" and text.isdecimal()
    return f"{'seed' if one_seed else heading.lower()} {text}"


def runs_of_claims(page: Page) -> dict[int, str]:
    """The runs that each claim was judged by, by the number of the claim: budget and what tells."""
    claims = page.claims or ()
    return dict(enumerate(runs_in_words(claims), 1))


def claims_by_verdict(page: Page) -> list[tuple[int, ClaimResult]]:
    """The claims with their numbers on the page, in the order of :func:`verdicts`."""
    numbered = enumerate(page.claims or (), 1)
    return sorted(
        numbered, key=lambda one: (VERDICTS.index(one[1].verdict), bool(one[1].scope), one[1].said)
    )


def pictures_by_setting(page: Page) -> list[tuple[str, list[tuple[int, Picture]]]]:
    """The figures with their numbers on the page, by setting and budget."""
    return _grouped(
        page.pictures or (), lambda one: f"{one.suite} @ {one.setting}, budget {one.budget}"
    )


def stored_figures(page: Page) -> dict[str, str]:
    """Large figures that are not seen at first, by id: compressed they are a quarter as long."""
    if len(pictures_by_setting(page)) < FOLDED_FROM:
        return {}
    numbered = enumerate(page.pictures or (), 1)
    return {f"picture-{n}": one.svg for n, one in numbered if len(one.svg) > LONG_FIGURE}


def origins_by_setting(page: Page) -> list[tuple[str, list[tuple[int, Origin]]]]:
    """How rows were made, with their numbers on the page, by setting."""
    found = page.provenance.origins if page.provenance else ()
    return _grouped(found, lambda one: f"{one.suite} @ {one.setting}")


def origins(page: Page) -> dict[tuple[str, ...], int]:
    """Where it is said how a row was made: a number on the page, by the runs of the row."""
    found = page.provenance.origins if page.provenance else ()
    return {origin.row.runs: number for number, origin in enumerate(found, 1)}


def _grouped(
    found: Iterable[Item], name: Callable[[Item], str]
) -> list[tuple[str, list[tuple[int, Item]]]]:
    groups: dict[str, list[tuple[int, Item]]] = defaultdict(list)
    for number, one in enumerate(found, 1):
        groups[plain(name(one))].append((number, one))
    return list(groups.items())


def ranked_tables(page: Page) -> list[tuple[int, Table]]:
    """The tables with several rows, with their numbers; all of them if there are few."""
    return [pair for pair in enumerate(page.tables, 1) if pair not in tables_of_one(page)]


def tables_of_one(page: Page) -> list[tuple[int, Table]]:
    """The tables with one row, with their numbers: there is nothing to rank."""
    return [pair for pair in enumerate(page.tables, 1) if len(pair[1].rows) < 2]


def open_tables(page: Page) -> set[int]:
    """The numbers of the tables that are seen at first: the first ones that are not too long.

    An only table is seen, and no table of a single row among others.
    """
    if len(page.tables) == 1:
        return {1}
    found, left = set(), MOST_ROWS
    for number, table in enumerate(page.tables, 1):
        if 1 < len(table.rows) <= left:
            found.add(number)
            left -= len(table.rows)
    return found


def says_something(table: PaperTable) -> bool:
    """Whether any number of ours can be held against a printed one."""
    return any(outcome != "not comparable" for outcome, _ in outcomes(table))


def speaking(page: Page) -> list[str]:
    """The keys of the papers' tables that say something."""
    return [table.key for table in page.papers if says_something(table)]


def best_first(better: str) -> str:
    """How a column is sorted that begins with the best."""
    return "descending" if better == "larger" else "ascending"


def file_name(title: str) -> str:
    """A title as the name of a file.

    >>> file_name("four-domains @ 5w1s, pruned")
    'four-domains-5w1s-pruned'
    """
    return "-".join(re.findall(r"[a-z0-9]+", title.lower())) or "table"


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


def any_of_learners(differences: Differences) -> bool:
    """Whether any line has degrees of freedom."""
    overall = (against.by_column[differences.overall] for against in differences.others)
    return any(one.speaks_of_learners for one in overall)


def degrees(difference: Difference) -> str:
    """Degrees of freedom of Student's t; "" for the normal distribution.

    >>> degrees(Difference(mean=1, standard_error=1, degrees=2.04, n_episodes=9, n_seeds=(2, 2)))
    '2.0'
    """
    if not difference.speaks_of_learners:
        return ""
    return degrees_of_freedom_in_words(difference.degrees)


def side(p: float | None) -> str:
    """Whether a difference counts, by its adjusted p-value: ``apart``, else ``open``."""
    return "apart" if p is not None and p < ALPHA else "open"


def metric_of(table: Table) -> str:
    """The metric of a table, with its unit where that is not its name."""
    return table.metric.words if table.metric.percent else table.metric.title


def n_rows(tables: Sequence[Table]) -> int:
    """Rows of all tables."""
    return sum(len(table.rows) for table in tables)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(plain, texts)))
