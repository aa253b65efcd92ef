"""One HTML file that needs nothing else: templates, a style sheet and a script, filled with a page.

The file allows itself no network and no script or style but its own two, which a policy in its head
names by their digests. Everything else on it is escaped text, or SVG that metabench drew.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from metabench.papers.claims import sentences as claim_words
from metabench.plugin.source_deviation import DEVIATIONS
from metabench.render import claims_text, text_table
from metabench.render.page.dot_plot import dot_plots, mark_of
from metabench.render.page.html import parts, row_columns
from metabench.render.page.html.stored import stored
from metabench.render.page.values import Page
from metabench.render.page_policy import page_policy
from metabench.render.templates import environment
from metabench.results import metrics
from metabench.stats.words import p_value
from metabench.text import counted, plain, shown

if TYPE_CHECKING:
    from jinja2 import Environment


def render_page(page: Page) -> str:
    """Write a page down; the same page gives the same text, which ends with a line end."""
    style, script = (_static(name) for name in ("style.css", "page.js"))
    policy = page_policy(style, script, asks_its_server=False)
    template = _environment().get_template("page.html.jinja")
    return template.render(page=page, style=style, script=script, policy=policy)


@cache
def _environment() -> Environment:
    """The templates, compiled once."""
    from jinja2 import PackageLoader

    found = environment(loader=PackageLoader(__name__, "templates"), finalize=_finalize)
    found.globals.update(
        cell_text=text_table.cell_text,
        number=metrics.number,
        unit_of_difference=metrics.unit_of_difference,
        p_value=p_value,
        not_compared=text_table.NOT_COMPARED,
        label=text_table.label,
        seeds_text=text_table.seeds_text,
        verdict_text=text_table.verdict_text,
        title_of=text_table.title,
        printed_text=text_table.printed_text,
        rule_of=_rule_of,
        mark_of=mark_of,
        dot_plots=dot_plots,
        row_columns=row_columns,
        stored=stored,
        parts=parts,
        counted=counted,
        claims=claim_words,
        deviations_heading=DEVIATIONS,
        deviations_of=claims_text.deviations_of,
        exactly=_exactly,
    )
    return found


_BY_P_VALUES = (
    "One rule holds for the whole page: a difference counts if its p-value is below 0.05. p-values "
    "are two-sided, of the paired difference on the episodes that both have, and adjusted by "
    "Holm's procedure over all pairs that could have been shown: all rows of a column that ran "
    "under the same conditions, or all pairs of a claim. (With more than 300 pairs the correction "
    "is Bonferroni's.) With several pairs, a pair of which a side has two seeds, and the other not "
    "one alone, has no such p-value, since it would be too small: its differences do not count. "
    "Intervals of differences have a level of 95 % each and are not adjusted."
)
_BY_INTERVALS = (
    "A difference counts if the 95 % interval of the paired difference, on the episodes that both "
    "have, does not contain 0. The intervals are not adjusted for the number of comparisons."
)


def _rule_of(page: Page) -> str:
    """Which differences count on a page, in sentences."""
    return _BY_P_VALUES if page.adjusted else _BY_INTERVALS


def _static(name: str) -> Markup:
    return Markup((files(__name__) / "templates" / name).read_text(encoding="utf-8"))


def _finalize(value: Any) -> Any:
    """Text on a page is one line without control characters; markup is left as it is."""
    return plain(value) if type(value) is str else value


def _exactly(text: str) -> Markup:
    """A command as it is, its spaces kept; what cannot be printed is shown as its escape."""
    return escape(shown(text))
