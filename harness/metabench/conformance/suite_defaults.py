"""Checks of the values that a plugin brings for suites of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from metabench.conformance.base import Check, CheckFailed, raise_doubts
from metabench.planning.compatibility import check_searchable, check_strategy
from metabench.planning.suite import Backend, Suite, load_suite
from metabench.planning.suite_defaults import (
    SuiteDefaults,
    defaults_for,
    doubts_about,
    own_defaults,
    params_in,
)
from metabench.planning.validation import validated
from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.episode import TaskKind
from metabench.plugin.specs import LearnerSpec, NasStrategySpec, SearchSpaceSpec

Bringing = LearnerSpec | SearchSpaceSpec | NasStrategySpec


def suite_defaults_checks(spec: Bringing, catalog: Callable[[], Catalog]) -> Iterator[Check]:
    """Yield the checks of a description's values for suites; they pass where there are none."""
    yield Check("its values for suites are valid", lambda: _valid(spec, catalog))
    yield Check(
        "its values for suites name suites, settings and budgets", lambda: _names(spec, catalog)
    )
    if isinstance(spec, LearnerSpec) and spec.networks:
        yield Check("it can train the networks that it brings", lambda: _networks(spec, catalog()))


def _valid(spec: Bringing, catalog: Callable[[], Catalog]) -> None:
    """Resolve every setting at every budget of each installed suite that the values name."""
    own: Mapping[str, SuiteDefaults] = own_defaults(spec)
    for name in own:
        if name in catalog().suites:
            suite = load_suite(catalog().suites[name])
            for setting in suite.settings:
                for budget in suite.budgets:
                    _resolve(spec, suite, setting=setting, budget=budget)


def _resolve(spec: Bringing, suite: Suite, *, setting: str, budget: str) -> None:
    values: dict[str, Any] = params_in(spec, suite, setting=setting, budget=budget)
    if not isinstance(spec, LearnerSpec):
        word = "network" if isinstance(spec, SearchSpaceSpec) else "strategy"
        validated(spec.params_model(), values, what=word, owner=spec.name)
        return
    model = spec.params_model(searched=True)
    validated(model, {**values, **spec.preset}, what="learner", owner=spec.name)
    length = defaults_for(spec, suite).training_of(spec.name, setting=setting, budget=budget)
    suite.budget(budget).training_of(spec.name, {}, setting=setting, of_plugin=length)


def _names(spec: Bringing, catalog: Callable[[], Catalog]) -> None:
    if spec.suite_defaults is not None:
        raise_doubts(doubts_about(spec, catalog()))


def _networks(spec: LearnerSpec, catalog: Catalog) -> None:
    """Refuse networks and strategies that are not there, or that the learner cannot train."""
    for kind, named in spec.networks.items():
        check_backend(spec, kind, Backend.read(named), catalog)


def check_backend(spec: LearnerSpec, kind: TaskKind, backend: Backend, catalog: Catalog) -> None:
    """Refuse a network and a strategy that are not there, or that a learner cannot train.

    Args:
        spec: of the learner.
        kind: of the tasks.
        backend: the network, and the strategy if it is searched.
        catalog: the plugins.
    """
    space = catalog.space(backend.space)
    if kind not in spec.kinds or kind not in space.kinds:
        raise CheckFailed(
            f"the network of {spec.name} for {kind} is {space.name}, but the learner is for "
            f"{' and '.join(spec.kinds)}, and the network for {' and '.join(space.kinds)}."
        )
    check_searchable(spec, space, catalog)
    if space.searched != (backend.strategy is not None):
        has = "is a search space" if space.searched else "is fixed"
        named = "no strategy is named" if backend.strategy is None else "a strategy is named"
        raise CheckFailed(f"the network {space.name} of {spec.name} {has}, and {named}.")
    if backend.strategy is not None:
        check_strategy(spec, catalog.strategy(backend.strategy), catalog)
