"""The catalog: the plugins, and what each of them provides."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

from metabench.data.plain_files import expanded
from metabench.errors import PluginError, UsageError, unknown
from metabench.plugin.code import digest_of_code, root_of
from metabench.plugin.loading import HOOKS, Candidate, discover, kind_in_words, read
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

logger = logging.getLogger(__name__)

Kind = Literal[
    "dataset",
    "learner",
    "space",
    "strategy",
    "metric",
    "executor",
    "tracker",
    "suite",
    "reference",
    "claims",
]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin as the user sees it.

    Attributes:
        name: name of its entry point, or stem of its file.
        distribution: the package that contains it, or the path of a ``--plugin`` file.
        version: version of that package; empty for a file.
        status: ``error`` means that the plugin is refused as a whole.
        error: one sentence; empty if the plugin can be used.
        provides: the names that it provides, by kind.
        listens: whether it receives events.
        root: the folder or file of its code; None where it has none.
    """

    name: str
    distribution: str
    version: str
    status: Literal["ok", "error"]
    error: str = ""
    provides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    listens: bool = False
    root: Path | None = None

    @property
    def code(self) -> str:
        """The code in words: package, version and digest of the content."""
        digest = "" if self.root is None else digest_of_code(self.root)
        return " ".join(filter(None, (self.distribution, self.version, digest)))


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the loaded plugins provide, by name.

    Look things up by mapping (``catalog.learners``) or by method (``catalog.learner("maml")``);
    the methods raise :class:`~metabench.errors.UsageError` with the nearest names.
    """

    plugins: tuple[PluginInfo, ...]
    datasets: Mapping[str, DatasetSpec]
    learners: Mapping[str, LearnerSpec]
    search_spaces: Mapping[str, SearchSpaceSpec]
    nas_strategies: Mapping[str, NasStrategySpec]
    metrics: Mapping[str, MetricSpec]
    executors: Mapping[str, ExecutorSpec]
    trackers: Mapping[str, TrackerSpec]
    suites: Mapping[str, Traversable]
    references: Mapping[str, Traversable]
    claims: Mapping[str, Traversable]
    _listeners: tuple[tuple[PluginInfo, Callable[..., Any]], ...] = field(repr=False)
    _deaf: set[str] = field(default_factory=set, repr=False)

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset of that name."""
        return self._find("dataset", self.datasets, name)

    def learner(self, name: str) -> LearnerSpec:
        """The learner of that name."""
        return self._find("learner", self.learners, name)

    def space(self, name: str) -> SearchSpaceSpec:
        """The network of that name."""
        return self._find("space", self.search_spaces, name)

    def strategy(self, name: str) -> NasStrategySpec:
        """The strategy of that name."""
        return self._find("strategy", self.nas_strategies, name)

    def metric(self, name: str) -> MetricSpec:
        """The metric of that name."""
        return self._find("metric", self.metrics, name)

    def executor(self, name: str) -> ExecutorSpec:
        """The executor of that name."""
        return self._find("executor", self.executors, name)

    def tracker(self, name: str) -> TrackerSpec:
        """The tracker of that name."""
        return self._find("tracker", self.trackers, name)

    def suite(self, name: str) -> Traversable:
        """The file of the suite of that name."""
        return self._find("suite", self.suites, name)

    def named(self, kind: Kind) -> Mapping[str, Any]:
        """Everything of one kind, by name."""
        tables: dict[Kind, Mapping[str, Any]] = {
            "dataset": self.datasets,
            "learner": self.learners,
            "space": self.search_spaces,
            "strategy": self.nas_strategies,
            "metric": self.metrics,
            "executor": self.executors,
            "tracker": self.trackers,
            "suite": self.suites,
            "reference": self.references,
            "claims": self.claims,
        }
        return tables[kind]

    def origin(self, kind: Kind, name: str) -> PluginInfo:
        """The plugin that provides this name."""
        return self._find(kind, self._owners(kind), name)

    def code(self, kind: Kind, name: str) -> str:
        """The code of the plugin that provides this name, in words; empty if none provides it."""
        owner = self._owners(kind).get(name)
        return "" if owner is None else owner.code

    def _owners(self, kind: Kind) -> dict[str, PluginInfo]:
        return {name: plugin for plugin in self.plugins for name in plugin.provides.get(kind, ())}

    def listeners(self) -> list[tuple[str, Callable[[RunEvent], None]]]:
        """What hears events, with the name of its plugin.

        The first failure of each is logged, none is raised.
        """
        return [(plugin.name, partial(self._tell, plugin, one)) for plugin, one in self._listeners]

    def _tell(self, plugin: PluginInfo, listen: Callable[..., Any], event: RunEvent) -> None:
        try:
            listen(event=event)
        except BaseException:
            key = f"{plugin.distribution}:{plugin.name}"
            if key not in self._deaf:
                self._deaf.add(key)
                logger.exception(
                    "Plugin %s failed on an event; further failures are not shown.", plugin.name
                )

    def unknown(self, kind: str, name: str, known: Iterable[str]) -> UsageError:
        """Describe an unknown name: the nearest names, and the plugins that could not be loaded."""
        error = unknown(kind, name, known)
        refused = [plugin.name for plugin in self.plugins if plugin.status == "error"]
        if refused:
            error.hint += (
                f" Plugins that could not be loaded: {', '.join(refused)}"
                " (see `metabench plugins list`)."
            )
        return error

    def _find(self, kind: str, table: Mapping[str, T], name: str) -> T:
        if name not in table:
            raise self.unknown(kind_in_words(kind), name, table)
        return table[name]


def load_catalog(plugin_files: Iterable[Path] = ()) -> Catalog:
    """Load every installed plugin, and plugins in single files.

    A plugin with any error is refused as a whole and listed with its error; with the environment
    variable ``METABENCH_STRICT_PLUGINS=1`` it stops the program.

    Args:
        plugin_files: Python files that are plugins without packaging.

    Raises:
        UsageError: a plugin file does not exist.
        PluginError: a plugin is broken and strictness was asked for.
    """
    plugins: list[PluginInfo] = []
    things: dict[str, dict[str, Any]] = {kind: {} for kind in HOOKS}
    listeners: list[tuple[PluginInfo, Callable[..., Any]]] = []
    for candidate in discover(plugin_files):
        try:
            provided = read(candidate)
            _check_duplicates(provided.things, plugins)
        except PluginError as error:
            plugins.append(_info(candidate, error=error.message))
            continue
        info = _info(candidate, things=provided.things, listens=provided.listens)
        plugins.append(info)
        if provided.listens:
            listeners.append((info, provided.listen))
        for kind, named in provided.things.items():
            things[kind].update(named)
    if os.environ.get("METABENCH_STRICT_PLUGINS") == "1":
        _raise_first(plugins)
    return Catalog(
        plugins=tuple(plugins),
        datasets=things["dataset"],
        learners=things["learner"],
        search_spaces=things["space"],
        nas_strategies=things["strategy"],
        metrics=things["metric"],
        executors=things["executor"],
        trackers=things["tracker"],
        suites=things["suite"],
        references=things["reference"],
        claims=things["claims"],
        _listeners=tuple(listeners),
    )


def _info(
    candidate: Candidate,
    *,
    error: str = "",
    things: Mapping[str, Mapping[str, Any]] | None = None,
    listens: bool = False,
) -> PluginInfo:
    module, file = candidate.module, candidate.distribution
    root = root_of(module) if module else expanded(file).resolve()
    return PluginInfo(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        status="error" if error else "ok",
        error=error,
        provides={kind: tuple(named) for kind, named in (things or {}).items() if named},
        listens=listens,
        root=root,
    )


def _check_duplicates(
    things: Mapping[str, Mapping[str, Any]], plugins: Sequence[PluginInfo]
) -> None:
    for kind, named in things.items():
        for plugin in plugins:
            for name in named.keys() & set(plugin.provides.get(kind, ())):
                raise PluginError(
                    f"It provides the {kind_in_words(kind)} {name!r}, "
                    f"which {plugin.distribution} provides already."
                )


def _raise_first(plugins: Sequence[PluginInfo]) -> None:
    for plugin in plugins:
        if plugin.status == "error":
            raise PluginError(
                f"Plugin {plugin.name!r} of {plugin.distribution}: {plugin.error}",
                hint="Repair or uninstall the plugin, or unset METABENCH_STRICT_PLUGINS.",
            )
