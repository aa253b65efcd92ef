"""How a configuration differs from what its suite gives its learner today, and from the sources.

A paper's row corresponds to a learner as the suite sets it up. Records have every parameter, and
the suite's are resolved again, as for a run of the same names without ``--set``. Reading a
learner's parameters imports its module, and so torch.

What suite and learner do otherwise than their sources is written in their descriptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from metabench.errors import MetabenchError
from metabench.papers.protocols import differences
from metabench.papers.reference import PrintedRow, Reference
from metabench.planning.plan import RunRequest, resolve, suite_file
from metabench.planning.runspec import Choice, RunSpec
from metabench.planning.source_deviations import holds
from metabench.planning.suite import Suite, load_suite
from metabench.planning.suite_defaults import backend_in
from metabench.plugin.source_deviation import SourceDeviation
from metabench.reports.tables import OtherVersion, Row
from metabench.results.configurations import Configuration
from metabench.results.labels import NETWORK, in_words
from metabench.values import canonical_json

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

Scope = Literal["learner", "space", "strategy"]
SCOPES: tuple[Scope, ...] = ("learner", "space", "strategy")
_KINDS: dict[Scope, str] = {"learner": "learner", "space": NETWORK, "strategy": "strategy"}
"""The words that a user meets for the scopes of a record."""

_LONGEST = 40
"""Characters of a value that is shown; a genotype has hundreds."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference from the suite.

    Attributes:
        name: of the parameter with its scope, ``learner.order``; of a plugin or suite, its version.
        label: how a row shows it, ``order=first``.
        reason: ``learner.order=first, but the suite has second``.
        version: the version that was used, where another one is installed.
    """

    name: str
    label: str
    reason: str
    version: OtherVersion | None = None


class Deviations:
    """Looks configurations up against the installed suites and plugins.

    Args:
        catalog: them; those that are installed if absent, read when the first is needed.
    """

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._given = catalog
        self._suites: dict[str, Suite] = {}
        self._found: dict[str, tuple[Deviation, ...]] = {}

    @cached_property
    def _catalog(self) -> Catalog:
        from metabench.plugin.catalog import load_catalog

        return load_catalog() if self._given is None else self._given

    def of(self, config: Configuration) -> tuple[Deviation, ...]:
        """How a configuration differs from the same plugins and suite without a change.

        A parameter that the record lacks came later and has, by the rule of versions, a default
        that leaves older numbers as they were.

        Raises:
            UsageError: when the suite, its setting or budget, or a plugin is not there any more.
            PluginError: when the plugin cannot be read.
        """
        key = canonical_json([config.config_id, config.changes])
        if key not in self._found:
            self._found[key] = self._of(config)
        return self._found[key]

    def _of(self, config: Configuration) -> tuple[Deviation, ...]:
        spec = config.spec
        suite = self._suite(spec.suite)
        backend = backend_in(self._catalog.learner(spec.learner.name), suite)
        today = _spec_of_suite(spec, suite, self._catalog)
        name = f"suite {suite.name}"
        found = [*_versions(name, spec.suite_version, suite.version, whose="suite")]
        names: dict[Scope, str | None] = {"space": backend.space, "strategy": backend.strategy}
        for scope, theirs in names.items():
            mine = getattr(spec, scope)
            if mine is not None and mine.name != theirs:
                found.append(_other_choice(scope, mine.name, theirs or "none"))
        if spec.weights is not None:
            words = spec.weights.words
            found.append(Deviation("weights", words, f"the row tests {words}"))
        if spec.start is not None:
            words = f"training starts from {spec.start.name}"
            found.append(Deviation("start", words, words))
        for scope in SCOPES:
            mine, installed = getattr(spec, scope), getattr(today, scope)
            if mine is not None and installed is not None:
                of_suite = scope == "learner" or mine.name == names[scope]
                by_user = config.changes.get(scope, {})
                installed = self._completed(scope, installed)
                found += _params(scope, mine, installed, by_user=by_user, of_suite=of_suite)
        return tuple(found)

    def _completed(self, scope: Scope, choice: Choice) -> Choice:
        """A choice with the defaults of parameters that it leaves out while they are off."""
        if scope != "space":
            return choice
        fields = self._catalog.space(choice.name).params_model().model_fields
        defaults = {n: f.get_default() for n, f in fields.items() if not f.is_required()}
        return choice.model_copy(update={"params": defaults | choice.params})

    def from_sources(self, config: Configuration) -> tuple[SourceDeviation, ...]:
        """What learner and suite do otherwise than their sources, as it concerns a configuration.

        Of a learner or suite that is not there any more nothing is known.
        """
        spec = config.spec
        learner = self._catalog.learners.get(spec.learner.name)
        known = [*(learner.deviations if learner else ())]
        with suppress(MetabenchError):
            known += self._suite(spec.suite).deviations
        return tuple(deviation for deviation in known if holds(deviation, spec))

    def _suite(self, name: str) -> Suite:
        if name not in self._suites:
            self._suites[name] = load_suite(suite_file(name, self._catalog))
        return self._suites[name]


def _spec_of_suite(spec: RunSpec, suite: Suite, catalog: Catalog) -> RunSpec:
    """What the suite gives for the names in ``spec``, without sources and data."""
    request = RunRequest(
        learners=(spec.learner.name,),
        suite=spec.suite,
        settings=(spec.setting,),
        budget=spec.budget,
        space=None if spec.space is None else spec.space.name,
        strategy=None if spec.strategy is None else spec.strategy.name,
    )
    learner = catalog.learner(spec.learner.name)
    return resolve(request, suite, learner, catalog, setting=spec.setting, seed=spec.seed)


def _versions(name: str, mine: int, installed: int, *, whose: str) -> Iterator[Deviation]:
    if mine != installed:
        said = f"{name} version {mine}"
        yield Deviation(
            f"{name} version",
            said,
            f"our runs used {said}, but version {installed} is installed",
            OtherVersion(fact=said, whose=whose, number=mine),
        )


def _other_choice(scope: Scope, mine: str, theirs: str) -> Deviation:
    kind = _KINDS[scope]
    return Deviation(kind, f"{kind}={mine}", f"{kind}={mine}, but the suite has {theirs}")


def _params(
    scope: Scope, mine: Choice, today: Choice, *, by_user: Mapping[str, Any], of_suite: bool
) -> Iterator[Deviation]:
    whose = "learner" if scope == "learner" else mine.name
    yield from _versions(mine.name, mine.version, today.version, whose=whose)
    for name, value in sorted(mine.params.items()):
        full, label = f"{_KINDS[scope]}.{name}", f"{name}={_shortened(value)}"
        here = f"{full}={_shortened(value)}"
        if name not in today.params:
            reason = f"{here}, but {mine.name} no longer has this parameter"
            yield Deviation(full, label, reason)
        elif value != today.params[name]:
            theirs = _shortened(today.params[name])
            reason = f"{here}, but {'the suite has' if of_suite else 'the default is'} {theirs}"
            if name not in by_user:
                now = "the suite now has" if of_suite else "the default is now"
                reason = f"{here}, which the run's command does not set; {now} {theirs}"
            yield Deviation(full, label, reason)


def _shortened(value: object) -> str:
    text = in_words(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def deviations_from_paper(
    reference: Reference,
    printed: PrintedRow,
    row: Row,
    config: Configuration,
    deviations: Deviations,
) -> list[str]:
    """Stamps, budget, substitutes, protocol, and changed parameters, in words.

    Args:
        reference: the table.
        printed: its row.
        row: ours that belongs to it.
        config: the runs behind ours.
        deviations: looks up what their suite gives.
    """
    found = [f"our runs are stamped {', '.join(row.stamps)}"] if row.stamps else []
    if row.budget != reference.budget and row.budget not in row.stamps:
        found.append(f"our budget is {row.budget}, not {reference.budget}")
    if config.spec.suite in reference.substitutes:
        theirs = reference.substitutes[config.spec.suite]
        found.append(f"our suite is {config.spec.suite}, but the paper's is {theirs}")
    conditions = reference.conditions_of(printed, config.spec.setting)
    found += differences(conditions, config)
    return [*found, *_changes(printed, config, deviations)]


def unasked_deviations(
    printed: PrintedRow, config: Configuration, deviations: Deviations
) -> tuple[Deviation, ...]:
    """Deviations from the suite, except those that the row asks for.

    Raises:
        MetabenchError: as :meth:`metabench.papers.deviations.Deviations.of`.
    """
    asked = {f"learner.{name}" for name in printed.learner_params}
    asked |= {f"{NETWORK}.{name}" for name in printed.network_params}
    if printed.network is not None:
        asked.add(NETWORK)
    return tuple(found for found in deviations.of(config) if found.name not in asked)


def _changes(printed: PrintedRow, config: Configuration, deviations: Deviations) -> Iterator[str]:
    try:
        yield from (found.reason for found in unasked_deviations(printed, config, deviations))
    except MetabenchError as error:
        why = error.message.rstrip(".")
        yield f"our parameters cannot be compared with those of the suite ({why})"
