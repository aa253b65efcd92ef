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
        NasStrategySpec,
        RunEvent,
        SearchSpaceSpec,
    )

hookspec = pluggy.HookspecMarker("metabench")
hookimpl = pluggy.HookimplMarker("metabench")


@hookspec
def metabench_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Return the datasets of this plugin. Called once, when the catalog is first read."""


@hookspec
def metabench_learners() -> Iterable[LearnerSpec]:  # type: ignore[empty-body]
    """Return the learners of this plugin. Called once, when the catalog is first read."""


@hookspec
def metabench_search_spaces() -> Iterable[SearchSpaceSpec]:  # type: ignore[empty-body]
    """Return the networks of this plugin. Called once, when the catalog is first read."""


@hookspec
def metabench_nas_strategies() -> Iterable[NasStrategySpec]:  # type: ignore[empty-body]
    """Return the strategies of this plugin. Called once, when the catalog is first read."""


@hookspec
def metabench_suites() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return suite files (YAML). Called once, when the suites are first read."""


@hookspec
def metabench_references() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return files of printed results (YAML). Called once, when a report needs them."""


@hookspec
def metabench_claims() -> Iterable[Traversable]:  # type: ignore[empty-body]
    """Return files of papers' claims (YAML). Called once, when they are judged."""


@hookspec
def metabench_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """Return ways to make runs. Called once, when the catalog is first read."""


@hookspec
def metabench_on_event(event: RunEvent) -> None:
    """Take note of an event. Called in the main process; an exception is logged, never raised."""
