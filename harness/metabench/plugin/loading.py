"""Finding plugins and asking each for what it provides: the one file that talks to pluggy.

Every plugin is imported and called in its own guard, under a pluggy manager of its own, so that a
broken one can neither stop the host nor reach another plugin.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from metabench.data.plain_files import expanded
from metabench.errors import PluginError, UsageError
from metabench.plugin import hookspecs
from metabench.plugin.blame import guarded, on_one_line
from metabench.plugin.fields import flaw_of, in_short
from metabench.plugin.specs import (
    API_VERSION,
    DatasetSpec,
    ExecutorSpec,
    LearnerSpec,
    MetricSpec,
    NasStrategySpec,
    SearchSpaceSpec,
    Spec,
    TrackerSpec,
)

GROUP = "metabench"
HOOKS = {
    "dataset": ("metabench_datasets", DatasetSpec),
    "learner": ("metabench_learners", LearnerSpec),
    "space": ("metabench_search_spaces", SearchSpaceSpec),
    "strategy": ("metabench_nas_strategies", NasStrategySpec),
    "metric": ("metabench_metrics", MetricSpec),
    "executor": ("metabench_executors", ExecutorSpec),
    "tracker": ("metabench_trackers", TrackerSpec),
    "suite": ("metabench_suites", Traversable),
    "reference": ("metabench_references", Traversable),
    "claims": ("metabench_claims", Traversable),
}
"""Per kind of thing, the hook that returns it and the type it must have."""


def kind_in_words(kind: str) -> str:
    """What a user calls things of a kind: a ``space`` is a network.

    >>> kind_in_words("space"), kind_in_words("learner")
    ('network', 'learner')
    """
    return "network" if kind == "space" else kind


_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\+*")
"""Of a plugin, such as maml++. It names folders, so it has no path separator and no dot."""
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that was found but not yet imported.

    Attributes:
        name: name of the entry point, or stem of the file.
        distribution: the package that contains it, or the path of a ``--plugin`` file.
        version: version of that package; empty for a file.
        load: imports it.
        module: that it is imported from; empty for a file.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], Any]
    module: str = ""


@dataclass(frozen=True, slots=True)
class Provided:
    """What a plugin provides: its things by kind and name, and the function for events."""

    things: dict[str, dict[str, Any]]
    listen: Callable[..., Any]
    listens: bool


def discover(files: Iterable[Path] = ()) -> Iterator[Candidate]:
    """Find plugins: the built-in distribution, the others by name, then single files.

    Raises:
        UsageError: a file does not exist.
    """
    found: dict[str, list[Candidate]] = {}
    for distribution in distributions():
        candidates = _candidates(distribution)
        if candidates:
            key = re.sub(r"[-_.]+", "-", candidates[0].distribution).lower()
            # The first copy on the path shadows later ones, as it does for imports.
            found.setdefault(key, candidates)
    for key in sorted(found, key=lambda key: (key != GROUP, key)):
        yield from sorted(found[key], key=lambda candidate: candidate.name)
    for file in files:
        yield _file_candidate(file)


def read(candidate: Candidate) -> Provided:
    """Import a plugin and collect what it provides.

    Raises:
        PluginError: with one sentence that says what is wrong with the plugin.
    """
    plugin = guarded("It cannot be imported", candidate.load, passes=PluginError)
    provided = partial(_provided, plugin, candidate.name)
    return guarded("It cannot be read", provided, passes=PluginError)


def _provided(plugin: Any, name: str) -> Provided:
    _check_api(plugin)
    _check_names(plugin)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"A hook does not match its contract: {on_one_line(error)}") from error
    things = {
        kind: _collect(getattr(manager.hook, hook), hook, kind, wanted)
        for kind, (hook, wanted) in HOOKS.items()
    }
    ear = manager.hook.metabench_on_event
    return Provided(things, ear, listens=bool(ear.get_hookimpls()))


def _candidates(distribution: Distribution) -> list[Candidate]:
    try:
        points = list(distribution.entry_points.select(group=GROUP))
    except Exception:  # a foreign package with damaged entry points is none of our business
        return []
    if not points:
        return []
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
    except Exception:  # damaged metadata: still listed, under the name of its entry point
        name, version = "", ""
    return [
        Candidate(point.name, name or points[0].name, version or "", point.load, _module_of(point))
        for point in points
    ]


def _module_of(point: EntryPoint) -> str:
    try:
        return point.module
    except Exception:  # it is malformed, as each Python says in its own way; loading it says so
        return ""


def _file_candidate(file: Path) -> Candidate:
    path = expanded(file).resolve()
    if not path.is_file():
        raise UsageError(f"There is no plugin file {str(file)!r}.", hint="Check the path.")
    return Candidate(path.stem, str(file), "", lambda: _import_file(path))


def _import_file(path: Path) -> ModuleType:
    name = f"metabench_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes defined in the file are found (and pickled) by this name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_api(plugin: object) -> None:
    wanted = getattr(plugin, "METABENCH_API", API_VERSION)
    if wanted != API_VERSION:
        raise PluginError(
            f"It was written for plugin API {wanted!r}, but this metabench has API {API_VERSION}."
        )


def _check_names(plugin: object) -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("metabench_")]
    for name in dir(plugin):
        value = getattr(plugin, name, None)
        # A module of that prefix is a package's own submodule or an import, not a hook.
        if not name.startswith("metabench_") or isinstance(value, ModuleType):
            continue
        if name not in hooks:
            close = difflib.get_close_matches(name, hooks, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"the hooks are {', '.join(hooks)}."
            raise PluginError(f"There is no hook {name!r}; {hint}")
        if not hasattr(value, "metabench_impl"):
            raise PluginError(f"{name} is not marked with @hookimpl, so it would never be called.")


def _collect(call: pluggy.HookCaller, hook: str, kind: str, wanted: type[Any]) -> dict[str, Any]:
    def gather() -> list[Any]:
        results = call()
        # pluggy leaves out what returns None; the plugin has at most one function per hook.
        if call.get_hookimpls() and not results:
            raise PluginError(
                f"{hook}() returned nothing; "
                f"it must return an iterable of {wanted.__name__} objects."
            )
        return [thing for result in results for thing in _several(result, hook, wanted)]

    things: dict[str, Any] = {}
    for thing in guarded(f"{hook}() failed", gather, passes=PluginError):
        if not isinstance(thing, wanted):
            raise PluginError(
                f"{hook}() returned {in_short(thing)} in its iterable; "
                f"it must return {wanted.__name__} objects."
            )
        name = _spec_name(thing) if isinstance(thing, Spec) else _file_name(thing, hook)
        if name in things:
            raise PluginError(f"{hook}() returned the {kind_in_words(kind)} {name!r} twice.")
        things[name] = thing
    return things


def _several(result: Any, hook: str, wanted: type[Any]) -> Iterable[Any]:
    if isinstance(result, wanted | str) or not isinstance(result, Iterable):
        raise PluginError(
            f"{hook}() returned {in_short(result)}; "
            f"it must return an iterable of {wanted.__name__} objects."
        )
    return result


def _spec_name(spec: Spec) -> str:
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        raise PluginError(
            f"The name {spec.name!r} must consist of lower-case letters, digits and hyphens; plus "
            "signs may follow."
        )
    if not isinstance(spec.version, int) or isinstance(spec.version, bool) or spec.version < 1:
        raise PluginError(
            f"The version of {spec.name!r} is {spec.version!r}; "
            "it must be an integer of at least 1."
        )
    if flaw := flaw_of(spec):
        raise PluginError(flaw)
    return spec.name


def _file_name(file: Traversable, hook: str) -> str:
    stem, _, suffix = file.name.rpartition(".")
    if suffix not in ("yaml", "yml") or not _FILE_NAME.fullmatch(stem):
        raise PluginError(
            f"{hook}() returned the file {file.name!r}; "
            "its name must be NAME.yaml with lower-case letters, digits and hyphens."
        )
    if not file.is_file():
        raise PluginError(f"{hook}() returned the file {file.name!r}, which does not exist.")
    return stem
