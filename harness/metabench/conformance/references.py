"""Checks of a paper's table: it can be read, is consistent, and names what is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable

from metabench.conformance.base import Check, raise_doubts, require
from metabench.papers.reference_checks import not_installed, problems_of
from metabench.papers.reference_files import load_reference
from metabench.plugin.catalog import Catalog


def reference_checks(file: Traversable, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of the file of a reference."""
    yield Check("it can be read", lambda: _readable(file))
    yield Check("it is consistent in itself and with the suites", lambda: _agrees(file, catalog()))
    yield Check("the plugins that it names are installed", lambda: _strangers(file, catalog()))


def _readable(file: Traversable) -> None:
    load_reference(file)


def _agrees(file: Traversable, catalog: Catalog) -> None:
    problems = problems_of(load_reference(file), catalog)
    require(not problems, " ".join(problems))


def _strangers(file: Traversable, catalog: Catalog) -> None:
    raise_doubts(not_installed(load_reference(file), catalog))
