"""Names in a suite that no installed plugin provides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metabench.errors import unknown
from metabench.planning.suite import Suite
from metabench.plugin.catalog import Catalog


def sentences_on(
    kind: str, known: Mapping[str, Any], names: Iterable[str | None], *, of: str = ""
) -> list[str]:
    """For each unknown name, once, a sentence with the nearest known names."""
    strange = (name for name in dict.fromkeys(filter(None, names)) if name not in known)
    errors = [unknown(kind, name, known, of=of) for name in strange]
    return [error.in_full for error in errors]


def unknown_names_in(suite: Suite, catalog: Catalog) -> list[str]:
    """A sentence for each learner, network and strategy of a suite that no plugin provides."""
    layers = (suite, *suite.settings.values(), *suite.budgets.values())
    backends = suite.backends.values()
    learners = [
        *(name for layer in layers for name in layer.learners),
        *suite.backends,
        *(name for budget in suite.budgets.values() for name in budget.learners_of_training()),
        *(name for deviation in suite.deviations for name in deviation.learners),
    ]
    spaces = [
        *(name for layer in layers for name in layer.spaces),
        *(backend.space for backend in backends),
    ]
    strategies = [
        *(name for layer in layers for name in layer.strategies),
        *(backend.strategy for backend in backends),
    ]
    return [
        *sentences_on("learner", catalog.learners, learners),
        *sentences_on("network", catalog.search_spaces, spaces),
        *sentences_on("strategy", catalog.nas_strategies, strategies),
    ]
