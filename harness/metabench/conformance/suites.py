"""Checks of a suite file: it can be read, and everything it names is there and takes its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Any

from metabench.catalog import Catalog
from metabench.conformance.base import Check, require
from metabench.errors import UsageError
from metabench.fitting import check_source
from metabench.specs import LearnerSpec, Spec
from metabench.suite import Suite, load_suite, validated


def suite_checks(file: Traversable, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a suite file."""
    yield Check("it can be read", lambda: _readable(file))
    yield Check("its name is the file's", lambda: _name(file))
    yield Check("its sources and its network are installed", lambda: _parts(file, catalog()))
    yield Check("every setting at every budget is valid", lambda: _protocols(file))
    yield Check("parameters of plugins are valid", lambda: _params(file, catalog()))


def _readable(file: Traversable) -> None:
    try:
        load_suite(file)
    except UsageError as error:
        require(False, f"{error.message} {error.hint}".strip())


def _name(file: Traversable) -> None:
    stem, found = file.name.rpartition(".")[0], load_suite(file).name
    require(found == stem, f"the file is {file.name} and the suite in it is called {found!r}.")


def _parts(file: Traversable, catalog: Catalog) -> None:
    suite = load_suite(file)
    for source in suite.sources:
        dataset = catalog.dataset(source.dataset)
        check_source(suite.task, source.name, dataset, catalog)
        validated(dataset.params_model(), source.params, what=f"source {source.name}")
    space = catalog.space(suite.space)
    require(suite.task in space.kinds, f"network {space.name} does not do {suite.task}.")


def _protocols(file: Traversable) -> None:
    suite = load_suite(file)
    for setting, budget in _pairs(suite):
        suite.protocol_of(setting, budget, {})


def _params(file: Traversable, catalog: Catalog) -> None:
    """Validate what the layers say about plugins that are installed; others may come later."""
    suite = load_suite(file)
    tables: dict[str, Mapping[str, Spec]] = {
        "learners": catalog.learners,
        "spaces": catalog.search_spaces,
        "strategies": catalog.nas_strategies,
    }
    for setting, budget in _pairs(suite):
        for kind, table in tables.items():
            for name, spec in table.items():
                values = suite.params_of(kind, name, setting=setting, budget=budget)  # type: ignore[arg-type]
                preset: Mapping[str, Any] = getattr(spec, "preset", {})
                model = spec.params_model()
                if isinstance(spec, LearnerSpec):
                    model = spec.params_model(searched=True)
                validated(model, {**values, **preset}, what=name)


def _pairs(suite: Suite) -> list[tuple[str, str]]:
    return [(setting, budget) for setting in suite.settings for budget in suite.budgets]
