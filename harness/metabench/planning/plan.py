"""From a request to runs: every choice is resolved and checked before anything runs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import DataError, UsageError
from metabench.planning.asked_steps import check_asked_steps, notes_on_asked_steps
from metabench.planning.compatibility import (
    check_architecture,
    check_data,
    check_ensemble,
    check_functions_of,
    check_layers,
    check_searchable,
    check_source,
    check_state,
    check_strategy,
    check_vectors,
    refuse_strategy,
)
from metabench.planning.evaluation import Evaluation
from metabench.planning.idle_settings import notes_on_idle_settings
from metabench.planning.metrics import check_metrics
from metabench.planning.overrides import (
    Changes,
    applying,
    changes_of,
    check_names,
    parts_of_scope,
    scope_in_words,
    sweep_in_words,
    written,
)
from metabench.planning.runspec import Choice, Precision, RunSpec, SourceChoice
from metabench.planning.source_data import DataKind, fingerprint_of, load_data
from metabench.planning.suite import Backend, Suite, load_suite
from metabench.planning.suite_defaults import backend_in, defaults_for, params_in
from metabench.planning.tuned import Tuned
from metabench.planning.validation import validated
from metabench.plugin.contracts.episode import TaskKind
from metabench.plugin.contracts.file_param import FileParam, files_of
from metabench.plugin.contracts.stamp import Stamp, stamps_of_budget
from metabench.plugin.specs import DatasetSpec, LearnerSpec, SearchSpaceSpec, Spec
from metabench.sampling.checks import require_values
from metabench.values import canonical_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.data import ClassData, FunctionFamily

MOST_NAMED = 10
"""Things that do not fit, of those that one error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A request for runs on one suite, with one value of each parameter.

    Attributes:
        learners: their names.
        suite: its name or the path of its file.
        settings: of the suite; its first if empty.
        budget: of the suite.
        space: the network of all learners, and after a colon its strategy; None for that of the
            suite.
        strategy: of all learners that search; None for that of the suite.
        seeds: of the runs.
        changes: values of ``--set``.
        data: real or synthetic.
        limit: meta-test episodes of a source, in place of the suite's number.
        metrics: further ones.
        precision: of layers.
        plugin_files: plugins given by file.
        swept: scope and name of each parameter that has other values in the other requests of the
            same grid.
        weights: the file that training starts from; None for the network's own.
    """

    learners: tuple[str, ...]
    suite: str
    settings: tuple[str, ...] = ()
    budget: str = "lite"
    space: str | None = None
    strategy: str | None = None
    seeds: tuple[int, ...] = (0,)
    changes: Changes = field(default_factory=dict)
    data: DataKind = "real"
    limit: int | None = None
    metrics: tuple[str, ...] = ()
    precision: Precision = "float32"
    plugin_files: tuple[Path, ...] = ()
    swept: tuple[tuple[str, str], ...] = ()
    weights: FileParam | None = None

    def backend(self) -> Backend | None:
        """The network that the request names, and the strategy that it names there or by itself.

        Raises:
            UsageError: when it names two strategies.
        """
        if self.space is None:
            return None
        backend = Backend.read(self.space)
        if backend.strategy and self.strategy and backend.strategy != self.strategy:
            raise UsageError(
                f"--network {self.space} and --strategy {self.strategy} name two strategies.",
                hint="Leave one of them out.",
            )
        return Backend(space=backend.space, strategy=backend.strategy or self.strategy)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run that is planned.

    Attributes:
        spec: everything that decides its numbers.
        stamps: how its numbers differ from those of the full benchmark.
        command: the command that repeats this run.
        evaluations: further evaluations of the trained weights.
        changes: the values of its ``--set`` options, by scope and name.
        metrics: further metrics of the meta-test's predictions, by name.
        notes: sentences that the user should read, about the data or about what is set.
        told_by: what tells the run from others of its grid, besides learner, setting and seed.
        plan: digest of the plan file that asks for the run; empty for a command.
        tuned: how its values were chosen, of values from a tuning.
        trial: its number among the trials of a tuning, which judges it on meta-validation: nothing
            is tested. 0 for other runs.
        weights: the file or the run whose weights are tested, where the spec has weights.
        facts: what is known of their training, by the name of the record's field.
        lacks: the data that is missing, with the commands that get it, one sentence each. Then the
            fingerprint of the data is not known, and so neither is the id of the run.
    """

    spec: RunSpec
    stamps: tuple[str, ...]
    command: str
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    told_by: tuple[str, ...] = ()
    plan: str = ""
    tuned: Tuned | None = None
    trial: int = 0
    weights: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()

    def command_into(self, out: Path) -> str:
        """The command that repeats this run and writes to a results folder."""
        return f"{self.command} --out {shlex.quote(str(out))}"

    @property
    def label(self) -> str:
        """The run in words, for messages."""
        spec = self.spec
        return " ".join((spec.learner.name, spec.setting, *self.told_by, f"seed {spec.seed}"))


def plan(request: RunRequest, catalog: Catalog) -> list[PlannedRun]:
    """Resolve a request into runs, learner by learner, setting by setting, seed by seed.

    Raises:
        UsageError: for unknown names, values out of bounds and combinations that do not fit.
        DataError: when data is missing, or too small for the episodes.
    """
    suites = {request.suite: suite_of(request.suite, catalog)}
    return plan_all([request], catalog, suites=suites)


def notes_of(runs: Iterable[PlannedRun]) -> list[str]:
    """What the user should read about some runs before they are made, each sentence once."""
    return list(dict.fromkeys(note for run in runs for note in run.notes))


def plan_all(
    requests: Sequence[RunRequest],
    catalog: Catalog,
    *,
    suites: Mapping[str, Suite],
    opened: dict[str, Loaded] | None = None,
    without_data: bool = False,
) -> list[PlannedRun]:
    """Resolve several requests; a run that two of them ask for is planned once.

    Args:
        requests: what is asked for.
        catalog: the plugins.
        suites: those of the requests, by the name or path that was given.
        opened: data that an earlier call loaded; it gets what this one loads.
        without_data: plan runs whose data is missing as well; they say what they lack.

    Raises:
        UsageError: as :func:`plan`. Where several learners or suites do not fit, it names each.
        DataError: as :func:`plan`.
    """
    misfits: list[UsageError] = []
    parts: list[_Part] = []
    for request in requests:
        with _collected(misfits):
            parts.append(_resolved(request, suites[request.suite], catalog, misfits))
    _raise_misfits(misfits)
    named = _names_by_scope(spec for part in parts for spec in part.specs)
    for request in requests:
        check_names(request.changes, named)
    # Data last: a wrong name is reported before missing data is.
    opened = {} if opened is None else opened
    runs: dict[str, PlannedRun] = {}
    for part in parts:
        lacks = _missing_data(part, catalog) if without_data else ()
        loaded = [] if lacks else _loaded(part, catalog, opened)
        for planned in _planned(part, loaded, catalog, misfits, several_suites=len(suites) > 1):
            runs.setdefault(planned.spec.run_id, replace(planned, lacks=lacks))
    _raise_misfits(misfits)
    return list(runs.values())


@dataclass(frozen=True, slots=True)
class _Part:
    """The runs of one request, without data."""

    request: RunRequest
    suite: Suite
    sources: tuple[SourceChoice, ...]
    metrics: tuple[str, ...]
    specs: list[RunSpec]


def _resolved(
    request: RunRequest, suite: Suite, catalog: Catalog, misfits: list[UsageError]
) -> _Part:
    """The runs of one request; what does not fit is added to ``misfits``."""
    metrics = check_metrics(suite, request.metrics, catalog)
    settings = request.settings or (next(iter(suite.settings)),)
    data = {**suite.budget(request.budget).data, **request.changes.get("data", {})}
    sources = source_choices(suite, data, catalog)
    specs: list[RunSpec] = []
    for learner in request.learners:
        with _collected(misfits):
            spec = catalog.learner(learner)
            found = [
                resolve(request, suite, spec, catalog, setting=setting, seed=seed)
                for setting in settings
                for seed in request.seeds
            ]
            for one in found[:1]:
                check_asked_steps(one, request.changes, catalog)
            specs += found
    return _Part(request, suite, sources, metrics, specs)


Loaded = list["ClassData | FunctionFamily"]
"""The data of the sources of a suite, in their order."""


def _loaded(part: _Part, catalog: Catalog, opened: dict[str, Loaded]) -> Loaded:
    """The data of a request; requests with equal sources share it."""
    kind = part.request.data
    sources = [(source.model_dump(mode="json"), source.files) for source in part.sources]
    key = canonical_json([kind, sources])
    if key not in opened:
        opened[key] = [load_data(choice, catalog, data=kind) for choice in part.sources]
    if part.suite.evaluations:
        require_values(opened[key])
    return opened[key]


def _missing_data(part: _Part, catalog: Catalog) -> tuple[str, ...]:
    """The data of a request that is missing, and how to get it."""
    found = []
    for source in part.sources:
        try:
            load_data(source, catalog, data=part.request.data)
        except DataError as error:
            found.append(error.in_full)
    return tuple(dict.fromkeys(found))


def _check_training(spec: RunSpec, loaded: Loaded, catalog: Catalog) -> None:
    """Refuse a learner, and weights that it starts from, that do not fit."""
    # They need torch, which commands that only read results do without.
    from metabench.planning.learners import check_learner
    from metabench.planning.starting_weights import check_start, start_of

    check_start(spec)
    check_learner(spec, loaded, catalog, start=start_of(spec, catalog))


def _planned(
    part: _Part,
    loaded: Loaded,
    catalog: Catalog,
    misfits: list[UsageError],
    *,
    several_suites: bool,
) -> Iterator[PlannedRun]:
    """The runs of one request whose network, learner and data fit; without data nothing is held."""
    request = part.request
    fingerprint = fingerprint_of(loaded) if loaded else ""
    known = {"sources": part.sources, "data_fingerprint": fingerprint}
    of_data = [stamp for data in loaded for stamp in data.stamps]
    notes = tuple(note for data in loaded for note in getattr(data, "notes", ()))
    for spec in (spec.model_copy(update=known) for spec in part.specs):
        if loaded and spec.seed == request.seeds[0]:
            with _collected(misfits):
                check_data(spec, loaded, catalog)
                check_ensemble(spec, catalog)
                check_vectors(spec, loaded[0], catalog)
                check_layers(spec, loaded[0], catalog)
                check_state(spec, loaded[0], catalog)
                check_architecture(spec, loaded[0], catalog)
                _check_training(spec, loaded, catalog)
                check_functions_of(spec, catalog)
        names = {scope: name for scope, (name,) in _names_by_scope([spec]).items()}
        changes = applying(request.changes, names)
        swept = request.swept
        idle: tuple[str, ...] = ()
        if not catalog.learner(spec.learner.name).trains:
            idle = tuple(changes.pop("budget", {}))
            swept = tuple(one for one in swept if parts_of_scope(one[0])[0] != "budget")
        lengths = (
            f"Learner {spec.learner.name} does not train, so budget.{name} changes nothing of it."
            for name in idle
        )
        stamps = dict.fromkeys((*stamps_of_request(request, changes, spec.sources), *of_data))
        told = sweep_in_words(request.changes, swept, names)
        yield PlannedRun(
            spec,
            tuple(stamps),
            _command(request, spec, changes),
            part.suite.evaluations,
            changes,
            part.metrics,
            (
                *notes,
                *notes_on_asked_steps(spec, changes, catalog),
                *notes_on_idle_settings(spec, changes, catalog),
                *lengths,
            ),
            told_by=(*([part.suite.name] if several_suites else []), *told),
        )


@contextmanager
def _collected(misfits: list[UsageError]) -> Iterator[None]:
    """Keep what does not fit, so that all of it is named at once."""
    try:
        yield
    except UsageError as error:
        if (error.message, error.hint) not in [(one.message, one.hint) for one in misfits]:
            misfits.append(error)


def _raise_misfits(misfits: Sequence[UsageError]) -> None:
    """Raise what does not fit, if anything; several as one error that names each."""
    if len(misfits) == 1:
        raise misfits[0]
    if misfits:
        lines = [one.in_full for one in misfits]
        more = [f"and {len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else []
        listed = "".join(f"\n  - {line}" for line in [*lines[:MOST_NAMED], *more])
        raise UsageError(
            f"{len(lines)} things do not fit, so nothing was run:{listed}",
            hint="Name the learners, networks and parameters that fit, or make one command each.",
        )


def _names_by_scope(specs: Iterable[RunSpec]) -> dict[str, set[str]]:
    """What some runs have, by the scopes of ``--set`` that may name it."""
    found: dict[str, set[str]] = {}
    for spec in specs:
        choices = {"learner": spec.learner, "space": spec.space, "strategy": spec.strategy}
        for scope, choice in {**choices, "budget": spec.learner}.items():
            if choice is not None:
                found.setdefault(scope, set()).add(choice.name)
    return found


def suite_file(name: str, catalog: Catalog) -> Traversable:
    """The file of a suite, by name or by path."""
    if name.endswith((".yaml", ".yml")):
        file = Path(name)
        if not file.is_file():
            raise UsageError(f"There is no suite file {name}.", hint="Check the path.")
        return file
    return catalog.suite(name)


def suite_of(name: str, catalog: Catalog) -> Suite:
    """The suite of that name or path.

    Records, tables and papers know a suite by its name, so a file may not give another suite the
    name of an installed one.
    """
    file = suite_file(name, catalog)
    suite = load_suite(file)
    installed = catalog.suites.get(suite.name, file)
    if file != installed and suite != load_suite(installed):
        raise UsageError(
            f"The suite file {name} differs from the installed suite {suite.name}, whose name it "
            "has.",
            hint=f"Give it another name, or run the installed one with --suite {suite.name}.",
        )
    return suite


def resolve(
    request: RunRequest,
    suite: Suite,
    learner: LearnerSpec,
    catalog: Catalog,
    *,
    setting: str,
    seed: int,
) -> RunSpec:
    """One run of a request with every parameter, still without sources and data.

    Raises:
        UsageError: as :func:`plan`.
    """
    changes = request.changes
    budget = suite.budget(request.budget)
    limited = {"episodes": request.limit} if request.limit else {}
    protocol = suite.protocol_of(
        setting, request.budget, {**changes.get("protocol", {}), **limited}
    )
    if suite.task not in learner.kinds:
        raise UsageError(
            f"Learner {learner.name} is for {' and '.join(learner.kinds)}, "
            f"but suite {suite.name} is {suite.task}.",
            hint=_for_task("Learners", catalog.learners.values(), suite.task),
        )
    space = _space(request, suite, learner, catalog, setting=setting)
    strategy = _strategy(request, suite, learner, space, catalog, setting=setting)
    of_plugin = defaults_for(learner, suite).training_of(
        learner.name, setting=setting, budget=request.budget
    )
    length = partial(budget.training_of, learner.name, setting=setting, of_plugin=of_plugin)
    training = length(changes_of(changes, "budget", learner.name))
    if not learner.trains:  # what a user sets of its training is valid, and no part of the run
        training = length({}).model_copy(update={"meta_steps": 0})
    if training.ensemble is not None and protocol.selection != "meta-val":
        raise UsageError(
            f"An ensemble of {training.ensemble} weights needs their meta-validation scores, but "
            f"the weights to test are those of the last meta-step.",
            hint="Use --set protocol.selection=meta-val, or leave budget.ensemble out.",
        )
    return RunSpec(
        suite=suite.name,
        suite_version=suite.version,
        setting=setting,
        budget=request.budget,
        task=suite.task,
        metric=suite.metric,
        metric_version=catalog.metric(suite.metric).version,
        sources=(),
        protocol=protocol,
        training=training,
        learner=_learner(request, suite, learner, setting=setting, searched=strategy is not None),
        space=space,
        strategy=strategy,
        data=request.data,
        data_fingerprint="",
        seed=seed,
        precision=request.precision,
        start=request.weights,
    )


def _learner(
    request: RunRequest, suite: Suite, learner: LearnerSpec, *, setting: str, searched: bool
) -> Choice:
    model = learner.params_model(searched=searched)
    params = params_in(learner, suite, setting=setting, budget=request.budget)
    # What a suite says about searching does not apply to fixed networks.
    on_searched = (
        learner.params_model(searched=True).model_fields.keys() - model.model_fields.keys()
    )
    params = {name: value for name, value in params.items() if name not in on_searched}
    chosen = {**params, **learner.preset, **changes_of(request.changes, "learner", learner.name)}
    return Choice(
        name=learner.name,
        version=learner.version,
        **_checked(model, chosen, what="learner", owner=learner.name),
    )


def _space(
    request: RunRequest, suite: Suite, learner: LearnerSpec, catalog: Catalog, *, setting: str
) -> Choice | None:
    changes = request.changes.get("space", {})
    if not learner.needs_space:
        if request.space or changes:
            raise UsageError(
                f"Learner {learner.name} has its own network, so --network and --set network... "
                "do not apply.",
                hint="Leave them out.",
            )
        return None
    space = catalog.space((request.backend() or backend_in(learner, suite)).space)
    if suite.task not in space.kinds:
        raise UsageError(
            f"Network {space.name} is for {' and '.join(space.kinds)}, "
            f"but suite {suite.name} is {suite.task}.",
            hint=_for_task("Networks", catalog.search_spaces.values(), suite.task),
        )
    check_searchable(learner, space, catalog)
    params = params_in(space, suite, setting=setting, budget=request.budget)
    changes = changes_of(request.changes, "space", space.name)
    return _choice(space, {**params, **changes}, what="network")


def _strategy(
    request: RunRequest,
    suite: Suite,
    learner: LearnerSpec,
    space: Choice | None,
    catalog: Catalog,
    *,
    setting: str,
) -> Choice | None:
    changes = request.changes.get("strategy", {})
    backend = request.backend()
    asked = request.strategy if backend is None else backend.strategy
    searched = space is not None and catalog.space(space.name).searched
    if not (searched or learner.searches):
        if asked or changes:
            refuse_strategy(learner, space, catalog)
        return None
    name = asked or backend_in(learner, suite).strategy
    if name is None:
        raise UsageError(
            f"Learner {learner.name} needs a strategy to search with, "
            f"and suite {suite.name} names none.",
            hint=f"Choose one with --strategy: {', '.join(sorted(catalog.nas_strategies))}.",
        )
    strategy = catalog.strategy(name)
    check_strategy(learner, strategy, catalog)
    params = params_in(strategy, suite, setting=setting, budget=request.budget)
    changes = changes_of(request.changes, "strategy", strategy.name)
    return _choice(strategy, {**params, **changes}, what="strategy")


def _for_task(kind: str, specs: Iterable[LearnerSpec | SearchSpaceSpec], task: TaskKind) -> str:
    names = sorted(spec.name for spec in specs if task in spec.kinds)
    return f"{kind} for {task}: {', '.join(names) or 'none'}."


def _choice(spec: Spec, params: Mapping[str, Any], *, what: str) -> Choice:
    checked = _checked(spec.params_model(), params, what=what, owner=spec.name)
    return Choice(name=spec.name, version=spec.version, **checked)


def _checked(
    model: type[BaseModel], params: Mapping[str, Any], *, what: str, owner: str
) -> dict[str, Any]:
    """The fields ``params`` and ``files`` of a choice."""
    checked = validated(model, params, what=what, owner=owner)
    for name, value in checked.model_dump().items():
        if not _finite(value):
            raise UsageError(
                f"{what}.{name}={value} is not valid for {owner}: a record holds finite numbers.",
                hint=f"Use --set {what}.{name}=VALUE with finite numbers.",
            )
    return {"params": checked.model_dump(mode="json"), "files": files_of(checked)}


def _finite(value: Any) -> bool:
    """Whether all numbers in a value of a parameter are finite."""
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def source_choices(
    suite: Suite, changes: Mapping[str, Any], catalog: Catalog
) -> tuple[SourceChoice, ...]:
    """The sources of a suite with every parameter; ``changes`` apply to all sources and win."""
    choices = []
    for source in suite.sources:
        spec = catalog.dataset(source.dataset)
        check_source(suite.task, source.name, spec, catalog)
        choices.append(_source(source.name, spec, {**source.params, **changes}))
    return tuple(choices)


def sources_with(
    sources: Sequence[SourceChoice], changes: Mapping[str, Any], catalog: Catalog
) -> tuple[SourceChoice, ...]:
    """The sources of a run as they are, in the versions of now; ``changes`` apply to all."""
    found = []
    for choice in sources:
        spec = catalog.dataset(choice.name)
        now = choice.model_copy(update={"version": spec.version})
        if changes:
            now = _source(choice.source, spec, {**choice.params, **choice.places, **changes})
            own = f"{choice.source}."
            files = {key: path for key, path in choice.files.items() if not key.startswith(own)}
            now = now.model_copy(update={"files": {**files, **now.files}})
        found.append(now)
    return tuple(found)


def _source(name: str, spec: DatasetSpec, params: Mapping[str, Any]) -> SourceChoice:
    model = spec.params_model()
    checked = _checked(model, params, what="data", owner=f"source {name}")
    return SourceChoice.with_places(
        model, source=name, name=spec.name, version=spec.version, **checked
    )


def stamps_of_request(
    request: RunRequest, changes: Changes, sources: Sequence[SourceChoice]
) -> tuple[str, ...]:
    """The stamps of runs that depart from the suite or from the budget of the papers.

    Where the data of a source lies is no departure: its fingerprint says what it holds.
    """
    stamps = [*stamps_of_budget(request.budget)]
    if request.limit:
        stamps.append(Stamp.LIMIT)
    places = {name for source in sources for name in source.places}
    of_data = changes.get("data", {}).keys() - places
    if of_data or changes.get("protocol") or changes.get("budget"):
        stamps.append(Stamp.CUSTOM)
    if request.precision != "float32":
        stamps.append(Stamp(request.precision))
    if request.weights is not None:
        stamps.append(Stamp.FOREIGN)
    return tuple(stamps)


def _command(request: RunRequest, spec: RunSpec, changes: Changes) -> str:
    """The command that repeats this one run, without ``--out`` and ``--device``."""
    words = ["metabench", "run", "--learner", spec.learner.name, "--suite", request.suite]
    words += ["--setting", spec.setting, "--budget", spec.budget, "--seed", str(spec.seed)]
    for option, value in (("--network", request.space), ("--strategy", request.strategy)):
        words += [option, value] if value else []
    words += ["--data", "synthetic"] if request.data == "synthetic" else []
    words += ["--limit", str(request.limit)] if request.limit else []
    words += ["--metric", ",".join(request.metrics)] if request.metrics else []
    words += ["--weights", request.weights.given] if request.weights is not None else []
    words += ["--precision", request.precision] if request.precision != "float32" else []
    for file in request.plugin_files:
        words += ["--plugin", str(file)]
    for scope, values in changes.items():
        for name, value in values.items():
            words += ["--set", f"{scope_in_words(scope)}.{name}={written(value)}"]
    return shlex.join(words)
