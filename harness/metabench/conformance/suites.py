"""Checks of a suite file: it can be read, and what it names is installed and takes its values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Any

from metabench.conformance.base import Check, raise_doubts, require
from metabench.conformance.suite_defaults import check_backend
from metabench.planning.compatibility import check_source
from metabench.planning.metrics import check_metrics
from metabench.planning.source_deviations import strange_conditions
from metabench.planning.suite import Suite, load_suite
from metabench.planning.unknown_names import unknown_names_in
from metabench.planning.validation import validated
from metabench.plugin.catalog import Catalog
from metabench.plugin.specs import LearnerSpec, Spec


def suite_checks(file: Traversable, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a suite file."""
    yield Check("it can be read", lambda: _readable(file))
    yield Check("its name is that of its file", lambda: _name(file))
    yield Check("its sources and its network are installed", lambda: _parts(file, catalog()))
    yield Check(
        "learners can train the networks that it gives them", lambda: _backends(file, catalog())
    )
    yield Check("its metrics score its tasks", lambda: _metrics(file, catalog()))
    yield Check("every setting at every budget is valid", lambda: _protocols(file))
    yield Check("the parameters of plugins are valid", lambda: _params(file, catalog()))
    yield Check("the plugins that it names are installed", lambda: _strangers(file, catalog()))
    yield Check("its deviations name parameters and values", lambda: _deviations(file, catalog()))


def _readable(file: Traversable) -> None:
    load_suite(file)


def _name(file: Traversable) -> None:
    stem, found = file.name.rpartition(".")[0], load_suite(file).name
    require(found == stem, f"the file is {file.name}, but the suite in it is named {found!r}.")


def _parts(file: Traversable, catalog: Catalog) -> None:
    suite = load_suite(file)
    for source in suite.sources:
        dataset = catalog.dataset(source.dataset)
        check_source(suite.task, source.name, dataset, catalog)
        for said in ({}, *(budget.data for budget in suite.budgets.values())):
            model = dataset.params_model()
            validated(model, {**source.params, **said}, what="data", owner=f"source {source.name}")
    space = catalog.space(suite.space)
    require(suite.task in space.kinds, f"network {space.name} is not for {suite.task}.")


def _backends(file: Traversable, catalog: Catalog) -> None:
    """Check those of installed plugins; another check names the others."""
    suite = load_suite(file)
    for name, backend in suite.backends.items():
        if (
            name in catalog.learners
            and backend.space in catalog.search_spaces
            and backend.strategy in (None, *catalog.nas_strategies)
        ):
            check_backend(catalog.learner(name), suite.task, backend, catalog)


def _metrics(file: Traversable, catalog: Catalog) -> None:
    check_metrics(load_suite(file), (), catalog)


def _protocols(file: Traversable) -> None:
    suite = load_suite(file)
    for setting, budget in _pairs(suite):
        suite.protocol_of(setting, budget, {})
        for learner in ("", *suite.budget(budget).learners_of_training()):
            suite.budget(budget).training_of(learner, {}, setting=setting)


def _params(file: Traversable, catalog: Catalog) -> None:
    """Validate the parameters of plugins that are installed; others may be installed later."""
    suite = load_suite(file)
    tables: dict[str, tuple[str, Mapping[str, Spec]]] = {
        "learners": ("learner", catalog.learners),
        "spaces": ("network", catalog.search_spaces),
        "strategies": ("strategy", catalog.nas_strategies),
    }
    for setting, budget in _pairs(suite):
        for kind, (word, table) in tables.items():
            for name, spec in table.items():
                values = suite.params_of(kind, name, setting=setting, budget=budget)  # type: ignore[arg-type]
                preset: Mapping[str, Any] = getattr(spec, "preset", {})
                model = spec.params_model()
                if isinstance(spec, LearnerSpec):
                    model = spec.params_model(searched=True)
                validated(model, {**values, **preset}, what=word, owner=name)


def _strangers(file: Traversable, catalog: Catalog) -> None:
    raise_doubts(unknown_names_in(load_suite(file), catalog))


def _deviations(file: Traversable, catalog: Catalog) -> None:
    suite = load_suite(file)
    datasets = [catalog.dataset(source.dataset) for source in suite.sources]
    names = {
        "suite": (suite.name,),
        "task": (suite.task,),
        "setting": suite.settings,
        "budget": suite.budgets,
        "network": catalog.search_spaces,
        "strategy": catalog.nas_strategies,
    }
    for one in suite.deviations:
        concerned = one.learners or tuple(catalog.learners)
        learners = [catalog.learners[name] for name in concerned if name in catalog.learners]
        params = {
            "learner": {
                n for spec in learners for n in spec.params_model(searched=True).model_fields
            },
            "network": _fields(catalog.search_spaces, one.when.get("network")),
            "strategy": _fields(catalog.nas_strategies, one.when.get("strategy")),
            "data": {n for dataset in datasets for n in dataset.params_model().model_fields},
        }
        raise_doubts(strange_conditions([one], params, names))


def _fields(table: Mapping[str, Spec], named: Collection[str] | None) -> set[str]:
    """Names of the parameters of plugins: of those that are named, or of all."""
    specs = [spec for name, spec in table.items() if named is None or name in named]
    return {field for spec in specs for field in spec.params_model().model_fields}


def _pairs(suite: Suite) -> list[tuple[str, str]]:
    return [(setting, budget) for setting in suite.settings for budget in suite.budgets]
