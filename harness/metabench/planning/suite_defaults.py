"""Values that a plugin brings for suites that it does not own, for what it provides itself.

They have the form of a suite file. A user's ``--set`` wins over a learner's preset, the preset over
the suite file, the suite file over the plugin's values, and these over the defaults of parameters;
each parameter by itself. They become part of the resolved run, as all values do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from metabench.errors import MetabenchError, UsageError, unknown
from metabench.planning.suite import Backend, Overrides, Suite, SuiteKind, load_suite
from metabench.planning.validation import validated
from metabench.planning.yaml_files import read_mapping
from metabench.plugin.specs import LearnerSpec, NasStrategySpec, SearchSpaceSpec, Spec
from metabench.values import Frozen

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog, Kind


class PluginLayer(Frozen):
    """Parameters that a plugin gives for a suite, a setting or a budget; the later layer wins."""

    learners: Overrides = Field(default_factory=dict)
    spaces: Overrides = Field(default_factory=dict)
    strategies: Overrides = Field(default_factory=dict)


class SettingTraining(Frozen):
    """Lengths of training in one setting at a budget, by learner."""

    training: Overrides = Field(default_factory=dict)


class BudgetValues(PluginLayer):
    """What a plugin gives for a budget: parameters, and its learners' lengths of training."""

    training: Overrides = Field(default_factory=dict)
    settings: dict[str, SettingTraining] = Field(default_factory=dict)


class SuiteDefaults(PluginLayer):
    """What a plugin gives for one suite."""

    backends: dict[str, Backend] = Field(default_factory=dict)
    settings: dict[str, PluginLayer] = Field(default_factory=dict)
    budgets: dict[str, BudgetValues] = Field(default_factory=dict)

    def layers(self) -> Iterator[tuple[str, PluginLayer]]:
        """Where each layer applies, in words, and the layer; the later wins."""
        yield "suite", self
        yield from ((f"setting {name}", layer) for name, layer in self.settings.items())
        yield from ((f"budget {name}", layer) for name, layer in self.budgets.items())

    def params_of(self, kind: SuiteKind, name: str, *, setting: str, budget: str) -> dict[str, Any]:
        """The parameters of one plugin in a setting at a budget."""
        layers = (self, self.settings.get(setting), self.budgets.get(budget))
        found = (getattr(layer, kind).get(name, {}) for layer in layers if layer is not None)
        return {key: value for params in found for key, value in params.items()}

    def training_of(self, learner: str, *, setting: str, budget: str) -> dict[str, Any]:
        """The length of a learner's training in a setting at a budget, as far as it says it."""
        values = self.budgets.get(budget, BudgetValues())
        here = values.settings.get(setting, SettingTraining())
        return {**values.training.get(learner, {}), **here.training.get(learner, {})}


_KINDS: dict[type[Spec], tuple[SuiteKind, Kind, str]] = {
    LearnerSpec: ("learners", "learner", "learner"),
    SearchSpaceSpec: ("spaces", "space", "network"),
    NasStrategySpec: ("strategies", "strategy", "strategy"),
}
"""The field of a suite, the word of the catalog and that of a user for each kind of description."""


def own_defaults(spec: Spec) -> Mapping[str, SuiteDefaults]:
    """What a description brings for suites, by the name of the suite.

    Raises:
        UsageError: when it has another form than a suite file.
    """
    given: Mapping[str, Any] | Traversable | None = getattr(spec, "suite_defaults", None)
    if given is None:
        return {}
    if isinstance(given, Traversable):
        given = read_mapping(given, of="values for suites")
    if not isinstance(given, Mapping):
        raise UsageError(
            f"The {_owner(spec)} brings values for suites that are neither a mapping nor a file.",
            hint="suite_defaults is a mapping by suite, or a YAML file of one.",
        )
    return {
        str(suite): validated(
            SuiteDefaults, values or {}, what=f"The values of {_owner(spec)} for suite {suite}:"
        )
        for suite, values in given.items()
    }


def defaults_for(spec: Spec, suite: Suite) -> SuiteDefaults:
    """What a description brings for one suite; nothing if it does not name the suite.

    Raises:
        UsageError: as :func:`own_defaults`.
    """
    return defaults_of(spec, suite.name)


def defaults_of(spec: Spec, suite: str) -> SuiteDefaults:
    """What a description brings for the suite of a name; raises as :func:`own_defaults`."""
    return own_defaults(spec).get(suite, SuiteDefaults())


def params_in(spec: Spec, suite: Suite, *, setting: str, budget: str) -> dict[str, Any]:
    """The parameters of a plugin in a suite: the suite's values over the plugin's own."""
    kind, _, _ = _words(spec)
    own = defaults_for(spec, suite)
    return {
        **own.params_of(kind, spec.name, setting=setting, budget=budget),
        **suite.params_of(kind, spec.name, setting=setting, budget=budget),
    }


def backend_in(learner: LearnerSpec, suite: Suite) -> Backend:
    """The network of a learner in a suite, unless the user names another.

    What the suite says of the learner wins over what its plugin says of the suite, this over the
    learner's own network for the kind of task, and this over the network of the suite.
    """
    own = learner.networks.get(suite.task)
    known = {learner.name: Backend.read(own)} if own else {}
    of_plugin = {**known, **defaults_for(learner, suite).backends}
    return suite.backend_of(learner.name, of_plugin=of_plugin)


def doubts_about(spec: Spec, catalog: Catalog) -> list[str]:
    """A sentence for each name in a description's values for suites that leads nowhere.

    Raises:
        UsageError: as :func:`own_defaults`.
    """
    found: list[str] = []
    owner = _owner(spec)
    for name, own in own_defaults(spec).items():
        if name not in catalog.suites:
            error = unknown("suite", name, catalog.suites)
            found.append(f"In the values of {owner} for suites: {error.in_full}")
            continue
        found += (
            f"In the values of {owner} for suite {name}: {said}"
            for said in (
                *_lost(own, load_suite(catalog.suites[name])),
                *_foreign(own, spec, catalog, suite=name),
            )
        )
    return found


def all_doubts(catalog: Catalog) -> dict[str, str]:
    """Per plugin's thing with values for suites that cannot be used as they are: why, in words."""
    found: dict[str, str] = {}
    for spec in bringing(catalog):
        try:
            sentences = doubts_about(spec, catalog)
        except MetabenchError as error:
            sentences = [error.in_full]
        if sentences:
            found[_owner(spec)] = " ".join(sentences)
    return found


def bringing(catalog: Catalog) -> Iterator[LearnerSpec | SearchSpaceSpec | NasStrategySpec]:
    """The learners, networks and strategies that bring values for suites."""
    tables = (catalog.learners, catalog.search_spaces, catalog.nas_strategies)
    for table in tables:
        yield from (spec for spec in table.values() if spec.suite_defaults is not None)


def _lost(own: SuiteDefaults, suite: Suite) -> Iterator[str]:
    """Settings and budgets that the suite does not have."""
    settings = [*own.settings, *(name for b in own.budgets.values() for name in b.settings)]
    for kind, names, known in (
        ("setting", settings, suite.settings),
        ("budget", [*own.budgets], suite.budgets),
    ):
        for name in dict.fromkeys(names):
            if name not in known:
                error = unknown(kind, name, known)
                yield error.in_full


def _foreign(own: SuiteDefaults, spec: Spec, catalog: Catalog, *, suite: str) -> Iterator[str]:
    """Names whose values are not used: each thing has what its own description brings for it."""
    named, provided = _named_in(own), _provided_beside(spec, catalog)
    tables: Mapping[SuiteKind, Mapping[str, Spec]] = {
        "learners": catalog.learners,
        "spaces": catalog.search_spaces,
        "strategies": catalog.nas_strategies,
    }
    for field, kind, word in _KINDS.values():
        for name in dict.fromkeys(named[field]):
            if name not in provided.get(kind, ()):
                yield f"The plugin does not provide the {word} {name!r}; its values are not used."
                continue
            other = tables[field].get(name)
            if other is not None and name not in _named_in(defaults_of(other, suite))[field]:
                yield (
                    f"The {word} {name!r} does not bring these values itself, so they are not "
                    "used; give them in its own description."
                )


def _named_in(own: SuiteDefaults) -> dict[SuiteKind, list[str]]:
    """The things that values for a suite are about."""
    return {
        "learners": [
            *(name for _, layer in own.layers() for name in layer.learners),
            *own.backends,
            *(name for b in own.budgets.values() for name in b.training),
            *(n for b in own.budgets.values() for s in b.settings.values() for n in s.training),
        ],
        "spaces": [name for _, layer in own.layers() for name in layer.spaces],
        "strategies": [name for _, layer in own.layers() for name in layer.strategies],
    }


def _provided_beside(spec: Spec, catalog: Catalog) -> Mapping[str, tuple[str, ...]]:
    """What the plugin of a description provides; the description alone if it is not installed."""
    _, kind, _ = _words(spec)
    owners = (plugin for plugin in catalog.plugins if spec.name in plugin.provides.get(kind, ()))
    owner = next(owners, None)
    return {kind: (spec.name,)} if owner is None else owner.provides


def _owner(spec: Spec) -> str:
    return f"{_words(spec)[2]} {spec.name}"


def _words(spec: Spec) -> tuple[SuiteKind, Kind, str]:
    return next(words for kind, words in _KINDS.items() if isinstance(spec, kind))
