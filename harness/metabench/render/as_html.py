"""HTML: the tables of a report as one page that needs nothing else.

:mod:`metabench.render.page` makes the whole page of a folder, with figures, claims and provenance.
"""

from __future__ import annotations

from metabench.render.page.html import render_page
from metabench.render.page.values import Page
from metabench.reports.tables import PaperTable, Report, Table


def render(report: Report) -> str:
    """Write every table."""
    page = Page(
        title="Results",
        tables=tuple(table for table in report.tables if isinstance(table, Table)),
        papers=tuple(table for table in report.tables if isinstance(table, PaperTable)),
        problems=report.problems,
    )
    return render_page(page)
