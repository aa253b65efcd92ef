"""The page that says how to get the data of a suite, held to the suites and the archives."""

from __future__ import annotations

import re

import pytest
from doc_pages import DOCS

from metabench.data import Archive
from metabench.planning.suite import Suite, load_suite
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.plugin.specs import resolve

PAGE = (DOCS / "how-to" / "get-data.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines()]
LINK = "[Get Multi-datasets](get-multi-datasets.md)"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def row_of(suite: str) -> tuple[str, str]:
    """The datasets of a suite, and how to get them."""
    (found,) = [row for row in ROWS if len(row) == 3 and suite in words(row[0])]
    return found[1], found[2]


def archives_of(suite: Suite, catalog: Catalog) -> dict[str, Archive]:
    """How the datasets of a suite are published, by name."""
    specs = [catalog.dataset(source.dataset) for source in suite.sources]
    return {spec.name: resolve(spec.archive) for spec in specs if spec.archive is not None}


@pytest.mark.parametrize("name", sorted(load_catalog().suites))
def test_each_suite_has_a_row_with_its_datasets_and_what_can_be_fetched(
    name: str, catalog: Catalog
) -> None:
    archives = archives_of(load_suite(catalog.suite(name)), catalog)
    datasets, how = row_of(name)
    if not archives:
        assert (datasets, how) == ("functions", "generated")
        return
    assert {*archives} <= {*words(datasets)}
    if how == LINK:
        return
    sizes = {sum(file.size for file in archive.files) for archive in archives.values()}
    (size,) = sizes
    fetched = [f"`fetch`, {size / 1e6:.0f} MB"] if size else []
    assert re.findall(r"`fetch`, \d+ MB", how) == fetched
    assert "`import`" in how
