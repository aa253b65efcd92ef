"""The conformance kit: small named checks that tell the author of a plugin what to repair.

In pytest::

    @pytest.mark.parametrize("check", conformance.checks(SPEC), ids=str)
    def test_conformance(check):
        check()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Literal

from metabench.conformance.base import Check, CheckFailed, Doubt, Outcome, Skip, run_check
from metabench.plugin.specs import (
    DatasetSpec,
    ExecutorSpec,
    LearnerSpec,
    MetricSpec,
    NasStrategySpec,
    SearchSpaceSpec,
    Spec,
    TrackerSpec,
)

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

FileKind = Literal["suite", "reference", "claims"]
"""What a file may contain."""


def checks(
    thing: Spec | Traversable,
    *,
    catalog: Catalog | None = None,
    file: FileKind = "suite",
    params: Mapping[str, Any] | None = None,
) -> list[Check]:
    """The checks of a plugin's description, or of a file that a plugin provides.

    Nothing of the plugin runs until a check is called.

    Args:
        thing: what a hook returns.
        catalog: where checks find other plugins, such as a network for a learner; the installed
            ones by default.
        file: what the file contains, if ``thing`` is a file.
        params: parameters of an executor with which it works here; its defaults if None.
    """
    from metabench.plugin.catalog import load_catalog

    others = cache(lambda: catalog or load_catalog())
    if isinstance(thing, Spec):
        return list(_spec_checks(thing, others, params or {}))
    return list(_file_checks(thing, file, others))


def _file_checks(
    thing: Traversable, kind: FileKind, others: Callable[[], Catalog]
) -> Iterator[Check]:
    match kind:
        case "suite":
            from metabench.conformance.suites import suite_checks

            yield from suite_checks(thing, others)
        case "reference":
            from metabench.conformance.references import reference_checks

            yield from reference_checks(thing, others)
        case "claims":
            from metabench.conformance.claims import claims_checks

            yield from claims_checks(thing, others)


def _spec_checks(
    thing: Spec, others: Callable[[], Catalog], params: Mapping[str, Any]
) -> Iterator[Check]:
    from metabench.conformance.descriptions import description_checks

    yield from description_checks(thing)
    if isinstance(thing, LearnerSpec | SearchSpaceSpec | NasStrategySpec):
        from metabench.conformance.suite_defaults import suite_defaults_checks

        yield from suite_defaults_checks(thing, others)
    match thing:
        case LearnerSpec():
            from metabench.conformance.learners import learner_checks

            yield from learner_checks(thing, others)
        case SearchSpaceSpec():
            from metabench.conformance.capabilities import capability_checks
            from metabench.conformance.spaces import space_checks
            from metabench.conformance.states import state_checks

            yield from space_checks(thing, others)
            yield from capability_checks(thing, others)
            yield from state_checks(thing, others)
        case NasStrategySpec():
            from metabench.conformance.strategies import strategy_checks

            yield from strategy_checks(thing, others)
        case DatasetSpec():
            from metabench.conformance.datasets import dataset_checks

            yield from dataset_checks(thing)
        case MetricSpec():
            from metabench.conformance.metrics import metric_checks

            yield from metric_checks(thing)
        case TrackerSpec():
            from metabench.conformance.trackers import tracker_checks

            yield from tracker_checks(thing)
        case ExecutorSpec():
            from metabench.conformance.executors import executor_checks

            yield from executor_checks(thing, others, params)


__all__ = ["Check", "CheckFailed", "Doubt", "Outcome", "Skip", "checks", "run_check"]
