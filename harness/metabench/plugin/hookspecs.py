"""The hooks that a plugin may implement, and when each is called."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from metabench.plugin.specs import (
        DatasetSpec,
        ExecutorSpec,
        LearnerSpec,
        MetricSpec,
        NasStrategySpec,
        RunEvent,
        SearchSpaceSpec,
        TrackerSpec,
    )

hookspec = pluggy.HookspecMarker("metabench")
hookimpl = pluggy.HookimplMarker("metabench")


@hookspec
def metabench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Return the datasets of this plugin. Called when the plugin is loaded."""


@hookspec
def metabench_learners() -> Iterable[LearnerSpec]:  # type: ignore[empty-body]
    """Return the learners of this plugin. Called when the plugin is loaded."""


@hookspec
def metabench_search_spaces() -> Iterable[SearchSpaceSpec]:  # type: ignore[empty-body]
    """Return the networks of this plugin, fixed and searched. Called when the plugin is loaded."""


@hookspec
def metabench_nas_strategies() -> Iterable[NasStrategySpec]:  # type: ignore[empty-body]
    """Return the NAS strategies of this plugin. Called when the plugin is loaded."""


@hookspec
def metabench_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Return the metrics of this plugin. Called when the plugin is loaded."""


@hookspec
def metabench_suites() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return the suite files (YAML) of this plugin. Called when the plugin is loaded."""


@hookspec
def metabench_references() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return files with tables of papers (YAML). Called when the plugin is loaded."""


@hookspec
def metabench_claims() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return files with claims of papers (YAML). Called when the plugin is loaded."""


@hookspec
def metabench_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """Return the executors of this plugin. Called when the plugin is loaded."""


@hookspec
def metabench_trackers() -> Iterable[TrackerSpec]:  # type: ignore[empty-body]
    """Return the trackers of this plugin. Called when the plugin is loaded."""


@hookspec
def metabench_on_event(event: RunEvent) -> None:
    """Receive an event of a run. Called in the main process; an exception is logged, not raised.

    No run waits until it returns. The command does at its end, but for no event longer than half a
    minute.
    """
