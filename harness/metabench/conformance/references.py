"""Checks of a paper's table: it can be read, and it is consistent in itself and with plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable

from metabench.conformance.base import Check, require
from metabench.papers.reference_checks import problems_of
from metabench.papers.reference_files import load_reference
from metabench.plugin.catalog import Catalog


def reference_checks(file: Traversable, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of the file of a reference."""
    yield Check("it can be read", lambda: _readable(file))
    yield Check("it is consistent in itself and with the plugins", lambda: _agrees(file, catalog()))


def _readable(file: Traversable) -> None:
    load_reference(file)


def _agrees(file: Traversable, catalog: Catalog) -> None:
    problems = problems_of(load_reference(file), catalog)
    require(not problems, " ".join(problems))
