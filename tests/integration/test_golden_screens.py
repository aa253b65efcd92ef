"""What the reading commands print on the committed results fits the terminal and stays whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from committed_studies import STUDIES, papers_of, report_of, runs_of
from screens import WIDTHS, screen, screens

from metabench.cli.listing import KINDS, page_of
from metabench.papers.claims import evaluate, load_claims
from metabench.papers.reference_files import readable_references
from metabench.plugin.catalog import Catalog, Kind
from metabench.render import as_table
from metabench.render.claims_text import claims_overview, render_claims
from metabench.render.layout import Screen
from metabench.render.searches_text import searches_text
from metabench.reports.tables import Report
from metabench.results.searches import find_searches

UNLIMITED = 100_000

Write = Callable[[Screen], str]


@pytest.mark.parametrize(
    ("path", "command", "width"), list(screens()), ids=lambda value: getattr(value, "stem", "")
)
def test_a_golden_screen_is_what_its_command_prints(path: Path, command: str, width: int) -> None:
    assert screen(command, width) == path.read_text(encoding="utf-8")


def test_a_study_fits_every_terminal(catalog: Catalog) -> None:
    check_study("omniglot-lite", catalog)


@pytest.mark.slow
@STUDIES
def test_every_study_fits_every_terminal(study: str, catalog: Catalog) -> None:
    check_study(study, catalog)


def check_study(study: str, catalog: Catalog) -> None:
    written = list(texts_of(study, catalog))
    assert written
    for write in written:
        check(write)
        check(write, full_caption=True)


def texts_of(study: str, catalog: Catalog) -> Iterator[Write]:
    """What report, report --paper, claims and genotypes print of a study."""
    results = runs_of(study)
    yield partial(as_table.render, report_of(study))
    for paper in papers_of(study):
        if any(row.ours and row.in_paper for table in paper.tables for row in table.rows):
            yield partial(as_table.render, paper)
    judged = evaluate(map(load_claims, catalog.claims.values()), results.runs, catalog=catalog)
    if judged:
        yield partial(claims_overview, judged)
        yield partial(render_claims, judged, "table")
    if found := find_searches(results):
        yield lambda screen: searches_text(found, top=3, screen=screen)


def check(write: Write, *, full_caption: bool = False) -> None:
    """No line is wider than the terminal, and the words are those of an unlimited one."""
    whole = words_of(write(Screen(width=UNLIMITED, full_caption=full_caption)))
    for width in WIDTHS:
        text = write(Screen(width=width, full_caption=full_caption))
        assert max(map(len, text.splitlines())) <= width
        assert words_of(text) == whole


def words_of(text: str) -> set[str]:
    """The words of a screen, but for rules, numbers of rows, and the colon after a heading."""
    rows = {"#", *map(str, range(1, 100))}
    return {word.rstrip(":") for word in text.split() if set(word) != {"─"}} - rows


@STUDIES
def test_a_legend_on_the_committed_results_has_three_lines(study: str) -> None:
    report = report_of(study)
    for width in WIDTHS:
        for table in report.tables:
            text = as_table.render(Report((table,), ()), Screen(width=width))
            legend = text.rstrip().rpartition("\n\n")[2].splitlines()
            assert "n = " in legend[0]
            assert len(legend) <= (3 if width > 80 else 4)


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS.values()))
def test_every_page_of_show_fits_every_terminal(kind: Kind, catalog: Catalog) -> None:
    things = readable_references(catalog) if kind == "reference" else catalog.named(kind)
    assert things
    for name, thing in things.items():
        described = partial(page_of, catalog, kind, name, thing)
        check(lambda shown, described=described: described(shown.of_rows))  # type: ignore[misc]


@pytest.mark.usefixtures("data_root")  # other tests pack data under long paths
@pytest.mark.parametrize("command", ["list", "references list", "plugins list", "data list"])
def test_lists_fit_every_terminal(command: str) -> None:
    check(lambda shown: screen(command, shown.width or UNLIMITED))
