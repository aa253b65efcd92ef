"""HTML: the tables of a report as one page that needs nothing else.

:mod:`metabench.render.page` makes the whole page of a folder, with figures, claims and provenance.
"""

from __future__ import annotations

from metabench.papers.table import PaperReport
from metabench.render.page.html import render_page
from metabench.render.page.values import Page
from metabench.reports.tables import Report


def render(report: Report | PaperReport) -> str:
    """Write every table."""
    if isinstance(report, PaperReport):
        return render_page(
            Page(title="Results", tables=(), papers=report.tables, problems=report.problems)
        )
    return render_page(
        Page(title="Results", tables=report.tables, papers=(), problems=report.problems)
    )
