"""Reports as text: one module per format, the same numbers in each."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metabench.papers.table import PaperReport
    from metabench.reports.tables import Report


class Format(StrEnum):
    """How a report can be written down; each has a module of its name here."""

    table = "table"
    md = "md"
    tex = "tex"
    csv = "csv"
    json = "json"
    html = "html"


def render(report: Report | PaperReport, format: Format) -> str:
    """Write a report down; the same report gives the same text, which ends with a line end."""
    module = import_module(f"{__name__}.as_{format}")
    text: str = module.render(report)
    return text
