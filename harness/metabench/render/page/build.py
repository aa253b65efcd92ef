"""From records and plugins to a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from metabench.errors import MetabenchError
from metabench.papers.claims import ClaimResult, evaluate, load_claims
from metabench.papers.reference_files import find_reference, readable_references
from metabench.papers.report import PooledRuns, build_paper_report
from metabench.papers.table import PaperTable
from metabench.render.page.differences import find_differences
from metabench.render.page.opened_episodes import with_drawn_episodes, with_kept_fits
from metabench.render.page.origins import find_provenance
from metabench.render.page.pictures import draw_pictures
from metabench.render.page.side_by_side import find_side_by_side
from metabench.render.page.values import Page, SideBySide
from metabench.reports.build import build_report
from metabench.reports.captions import IntervalKind
from metabench.reports.tables import Table
from metabench.results.reading import FinishedRun, Results, read_runs
from metabench.results.selection import ALL, Selection, select

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

T = TypeVar("T")


def read_page(
    directory: Path,
    catalog: Catalog,
    *,
    paper: str | None,
    interval: IntervalKind = "auto",
    selection: Selection = ALL,
    open_episodes: bool = False,
) -> tuple[Results, Page]:
    """Read a folder and make its page, which is named after it and what was selected.

    Raises:
        DataError: when there is no run at all.
        UsageError: as :func:`build_page`, and when nothing is selected.
    """
    if paper is not None:
        find_reference(catalog, paper)  # says that there is none before all the reading
    results = select(read_runs(directory), selection)
    title = directory.resolve().name or str(directory)
    title = f"{title} ({selection})" if selection else title
    return results, build_page(
        results,
        catalog,
        title=title,
        paper=paper,
        interval=interval,
        open_episodes=open_episodes,
    )


def build_page(
    results: Results,
    catalog: Catalog,
    *,
    title: str,
    paper: str | None = None,
    interval: IntervalKind = "auto",
    open_episodes: bool = False,
) -> Page:
    """Make a page of all that the records can tell.

    Args:
        results: what :func:`metabench.results.reading.read_runs` found.
        catalog: where the papers' tables and claims are found.
        title: of the page.
        paper: the only table of a paper to show; else every one that has a place for a run.
        interval: as :func:`metabench.reports.build.build_report`.
        open_episodes: whether to draw the episodes that differ most again and let the learners
            predict, which takes the data, the checkpoints and some seconds for each learner.

    Raises:
        UsageError: when there is no such paper, or ``seeds`` is asked for without scipy.
    """
    report = build_report(results, interval=interval, adjusted=True)
    missing: dict[str, str] = {}
    runs = results.runs
    return Page(
        title=title,
        tables=tuple(table for table in report.tables if isinstance(table, Table)),
        papers=tuple(_papers(results, catalog, paper=paper, interval=interval)),
        problems=report.problems,
        differences=_made(missing, "differences", lambda: find_differences(runs)),
        sides=_made(missing, "sides", lambda: _sides(runs, catalog, open_episodes=open_episodes)),
        claims=_made(missing, "claims", lambda: _claims(results, catalog)),
        pictures=_made(
            missing,
            "pictures",
            lambda: draw_pictures(runs, catalog, read_at=results.read_at),
        ),
        provenance=find_provenance(runs),
        missing=missing,
        under_way=len(results.under_way),
        drawn_again=open_episodes,
        adjusted=True,
    )


def _papers(
    results: Results, catalog: Catalog, *, paper: str | None, interval: IntervalKind
) -> Iterator[PaperTable]:
    if paper is not None:
        references = [find_reference(catalog, paper)]
    else:
        references = [*readable_references(catalog).values()]
    pooled = PooledRuns(results, catalog)
    for reference in references:
        report = build_paper_report(
            results, reference, interval=interval, pooled=pooled, adjusted=True
        )
        for table in report.tables:
            assert isinstance(table, PaperTable)
            if paper is not None or any(row.ours and row.in_paper for row in table.rows):
                yield table


def _sides(
    runs: Sequence[FinishedRun], catalog: Catalog, *, open_episodes: bool
) -> list[SideBySide]:
    groups = with_kept_fits(find_side_by_side(runs), runs)
    return with_drawn_episodes(groups, runs, catalog) if open_episodes else groups


def _claims(results: Results, catalog: Catalog) -> list[ClaimResult]:
    files = [load_claims(file) for file in catalog.claims.values()]
    return evaluate(files, results.runs, catalog=catalog)


def _made(
    missing: dict[str, str], part: str, make: Callable[[], Iterable[T]]
) -> tuple[T, ...] | None:
    """A part of the page; where it cannot be made, why."""
    try:
        return tuple(make())
    except MetabenchError as error:
        missing[part] = error.in_full
        return None
