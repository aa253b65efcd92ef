"""Which values a suite and a plugin give, and which of the two each is from, for ``show``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from metabench.errors import MetabenchError

if TYPE_CHECKING:
    from metabench.planning.suite import Suite
    from metabench.planning.suite_defaults import SuiteDefaults
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.specs import Spec


def values_for_suites(spec: Spec, catalog: Catalog) -> list[dict[str, Any]]:
    """What the suites that a description brings values for give it, and what it brings itself.

    Each row has a suite, where in it the values apply, the values, and what they are from. Rows of
    the suite win over those of the plugin.
    """
    from metabench.planning.suite import load_suite
    from metabench.planning.suite_defaults import own_defaults

    rows: list[dict[str, Any]] = []
    for name, own in own_defaults(spec).items():
        rows += _rows(own, name, spec.name, origin="plugin")
        if name in catalog.suites:
            rows += _rows(load_suite(catalog.suites[name]), name, spec.name, origin="suite file")
        else:
            rows.append({"suite": name, "where": "", "values": {}, "from": "not installed"})
    return rows


def values_of_plugins(suite: Suite, catalog: Catalog) -> list[dict[str, Any]]:
    """What installed plugins bring for a suite: of whom, where they apply, and the values.

    A plugin whose values cannot be read is left out; ``metabench doctor`` names it.
    """
    from metabench.planning.suite_defaults import bringing, defaults_for

    rows: list[dict[str, Any]] = []
    for spec in bringing(catalog):
        try:
            own = defaults_for(spec, suite)
        except MetabenchError:
            continue
        for row in _rows(own, suite.name, spec.name, origin="plugin"):
            rows.append({"of": spec.name, "where": row["where"], "values": row["values"]})
    return rows


def _rows(
    given: Suite | SuiteDefaults, suite: str, name: str, *, origin: str
) -> Iterator[dict[str, Any]]:
    for where, values in _layers(given, name):
        if values:
            yield {"suite": suite, "where": where, "values": values, "from": origin}


def _layers(given: Suite | SuiteDefaults, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a layer applies, and the values in it for one name."""
    backend = given.backends.get(name)
    network = {} if backend is None else backend.model_dump(exclude_none=True)
    yield "suite", {**network, **_params(given, name)}
    for setting, layer in given.settings.items():
        yield f"setting {setting}", _params(layer, name)
    for budget, values in given.budgets.items():
        yield f"budget {budget}", {**_params(values, name), **values.training.get(name, {})}
        for setting, here in values.settings.items():
            training = here.get("training", {}) if isinstance(here, dict) else here.training
            yield f"budget {budget}, setting {setting}", training.get(name, {})


def _params(layer: Any, name: str) -> dict[str, Any]:
    tables = (layer.learners, layer.spaces, layer.strategies)
    return {key: value for table in tables for key, value in table.get(name, {}).items()}
