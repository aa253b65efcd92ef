"""Tests of weights that are trained already: on other episodes, other shots or other data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.errors import DataError, MetabenchError, UsageError, unknown
from metabench.planning.asked_steps import check_asked_steps, notes_on_asked_steps
from metabench.planning.compatibility import check_data
from metabench.planning.metrics import check_metrics
from metabench.planning.overrides import Changes, changes_of, scope_in_words, written
from metabench.planning.plan import (
    PlannedRun,
    RunRequest,
    plan,
    source_choices,
    sources_with,
    stamps_of_request,
    suite_of,
)
from metabench.planning.runspec import EpisodeProtocol, GivenWeights, RunSpec
from metabench.planning.source_data import DataKind, fingerprint_of, load_data
from metabench.planning.suite import Suite
from metabench.planning.training_identity import training_facts
from metabench.planning.validation import validated
from metabench.plugin.contracts.stamp import Stamp
from metabench.sampling.checks import require_values, task_of
from metabench.values import NAME_PATTERN, NAME_RULE, digest

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog
    from metabench.plugin.contracts.data import ClassData, FunctionFamily

_SCOPES = ("protocol", "data", "learner")
"""Scopes of ``--set`` that concern a test."""
_OF_TRAINING = (
    *("selection", "train_shots", "train_queries"),
    *("val_episodes", "val_shots", "val_queries"),
)
"""Values of the protocol that concern a training alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsTest:
    """How weights are to be tested; what is None is as in their training.

    Attributes:
        suite: its name or the path of its file.
        setting: of the suite; of another suite its first.
        budget: of the suite, for the number of episodes.
        data: real or synthetic.
        limit: meta-test episodes of a source, in place of the suite's number.
        changes: values of ``--set``, of the scopes `protocol`, `data` and `learner`.
        metrics: further ones.
        plugin_files: plugins given by file.
    """

    suite: str | None = None
    setting: str | None = None
    budget: str | None = None
    data: DataKind | None = None
    limit: int | None = None
    changes: Changes = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    plugin_files: tuple[Path, ...] = ()

    @property
    def as_trained(self) -> bool:
        """Whether it names no suite, setting or budget."""
        return self.suite is self.setting is self.budget is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedWeights:
    """Weights of a finished training.

    Attributes:
        path: of their file, or of the folder of their run.
        spec: of the run that trained them.
        digest: of the weights.
        train_classes: classes of the meta-training; None where unknown.
        stamps: of that run.
        facts: what its record says of the training, by the name of the record's field.
    """

    path: Path
    spec: RunSpec
    digest: str
    train_classes: int | None = None
    stamps: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def given(weights: TrainedWeights, catalog: Catalog) -> GivenWeights:
    """What a run that tests the weights is known by."""
    spec = weights.spec
    if spec.weights is not None:  # they were given already
        return spec.weights
    facts = training_facts(spec, catalog)
    del facts["seed"]
    return GivenWeights(
        origin=f"{spec.suite}@{spec.setting}",
        training=digest(facts),
        digest=weights.digest,
        data_fingerprint=spec.data_fingerprint,
        train_classes=weights.train_classes,
    )


def plan_test(weights: TrainedWeights, request: WeightsTest, catalog: Catalog) -> PlannedRun:
    """Plan the test of trained weights.

    Raises:
        UsageError: for unknown names, and for changes that do not concern a test.
        DataError: when data is missing or too small, or a plugin has another version now.
    """
    trained, changes = weights.spec, request.changes
    _check_names(trained, weights.path)
    _check_versions(trained, catalog, weights.path)
    _check_scopes(changes)
    usual = RunRequest(
        learners=(trained.learner.name,),
        suite=request.suite or trained.suite,
        budget=request.budget or trained.budget,
        changes=changes,
        limit=request.limit,
        precision=trained.precision,
    )
    suite = None
    if not request.as_trained or usual.suite in catalog.suites:
        suite = suite_of(usual.suite, catalog)
    tested = trained.model_copy(update=_test(trained, usual, request, suite, catalog))
    loaded = [load_data(choice, catalog, data=tested.data) for choice in tested.sources]
    own = given(weights, catalog)
    tested = tested.model_copy(
        update={
            "learner": _learner(trained, changes, catalog),
            "data_fingerprint": fingerprint_of(loaded),
            "weights": own,
        }
    )
    check_asked_steps(tested, changes, catalog)
    check_data(tested, loaded, catalog)
    _check_examples(trained, tested, loaded, catalog)
    evaluations = {} if suite is None else suite.evaluations
    if evaluations:
        require_values(loaded)
    as_few = request.as_trained and tested.protocol.episodes == trained.protocol.episodes
    stamps = [stamp for stamp in weights.stamps if stamp != Stamp.LIMIT or as_few]
    stamps += stamps_of_request(replace(usual, budget=tested.budget), changes, tested.sources)
    stamps += [stamp for data in loaded for stamp in data.stamps]
    if own.data_fingerprint not in ("", tested.data_fingerprint):
        stamps.append(Stamp.CROSS_DOMAIN)
    return PlannedRun(
        tested,
        tuple(dict.fromkeys(stamps)),
        _command(weights.path, request),
        evaluations,
        changes,
        request.metrics if suite is None else check_metrics(suite, request.metrics, catalog),
        notes_on_asked_steps(tested, changes, catalog),
        told_by=(own.words,),
        weights=weights.path,
        facts=weights.facts,
    )


def plan_foreign(
    path: Path, digest_of_file: str, request: RunRequest, catalog: Catalog
) -> list[PlannedRun]:
    """Plan tests of weights from elsewhere, as the initial weights of a network.

    Args:
        path: of the file.
        digest_of_file: of its weights.
        request: learner, network and test.
        catalog: the plugins.

    Raises:
        UsageError: as :func:`~metabench.planning.plan.plan`.
        DataError: as :func:`~metabench.planning.plan.plan`.
    """
    for scope, values in request.changes.items():
        if scope.partition("[")[0] == "budget" and values:
            raise UsageError(
                f"--set {scope}.{next(iter(values))} belongs to a training, and weights from "
                "elsewhere are tested as they are.",
                hint="Start a training from them with metabench run --weights FILE.",
            )
    _check_protocol(request.changes)
    own = GivenWeights(origin=path.name, digest=digest_of_file)
    unknown_facts = dict.fromkeys(
        ("train_ways", "train_shots", "train_queries", "train_classes", "conditions")
    )
    found = []
    for planned in plan(request, catalog):
        training = planned.spec.training.model_copy(update={"meta_steps": 0})
        spec = planned.spec.model_copy(update={"weights": own, "training": training})
        words = shlex.split(planned.command)[2:]
        at = words.index("--seed")  # of a training; the random draws of this test have seed 0
        words = [*words[:at], *words[at + 2 :]]
        found.append(
            replace(
                planned,
                spec=spec,
                stamps=(*planned.stamps, Stamp.FOREIGN),
                command=shlex.join(["metabench", "evaluate", str(path), *words]),
                told_by=(own.words,),
                weights=path,
                facts=unknown_facts,
            )
        )
    return found


def _test(
    trained: RunSpec,
    usual: RunRequest,
    request: WeightsTest,
    suite: Suite | None,
    catalog: Catalog,
) -> dict[str, Any]:
    """The fields of a spec that say how weights are tested, but for the data itself."""
    limited = {"episodes": request.limit} if request.limit else {}
    changes = {**request.changes.get("protocol", {}), **limited}
    kind = request.data or trained.data
    of_data = request.changes.get("data", {})
    if request.as_trained:
        protocol = {**trained.protocol.model_dump(), **changes}
        return {
            "metric_version": catalog.metric(trained.metric).version,
            "protocol": validated(EpisodeProtocol, protocol, what="protocol"),
            "sources": sources_with(trained.sources, of_data, catalog),
            "data": kind,
        }
    assert suite is not None
    if suite.task != trained.task:
        raise UsageError(
            f"The weights are for {trained.task}, but suite {suite.name} is {suite.task}.",
            hint="Choose another --suite; see metabench list suites.",
        )
    budget = usual.budget
    if request.budget is None and budget not in suite.budgets:
        budget = next(iter(suite.budgets))
    usual_setting = trained.setting if suite.name == trained.suite else next(iter(suite.settings))
    setting = request.setting or usual_setting
    protocol_there = suite.protocol_of(setting, budget, changes)
    of_training = {name: getattr(trained.protocol, name) for name in _OF_TRAINING}
    if (suite.name, suite.version) == (trained.suite, trained.suite_version):
        sources = sources_with(trained.sources, of_data, catalog)
    else:
        sources = source_choices(suite, {**suite.budget(budget).data, **of_data}, catalog)
    return {
        "suite": suite.name,
        "suite_version": suite.version,
        "setting": setting,
        "budget": budget,
        "metric": suite.metric,
        "metric_version": catalog.metric(suite.metric).version,
        "protocol": protocol_there.model_copy(update=of_training),
        "sources": sources,
        "data": kind,
    }


def _learner(trained: RunSpec, changes: Changes, catalog: Catalog) -> Any:
    """The learner with other parameters of its test."""
    spec = catalog.learner(trained.learner.name)
    own = changes_of(changes, "learner", spec.name)
    free = [name for name in spec.test_only if name in trained.learner.params]
    for name in own:
        if name not in trained.learner.params:
            raise unknown("learner parameter", name, trained.learner.params, of=spec.name)
        if name not in free:
            raise UsageError(
                f"learner.{name} belongs to the training of {spec.name}, which is over.",
                hint=f"Of the test alone are: {', '.join(free) or 'none'}.",
            )
    model = spec.params_model(searched=trained.strategy is not None)
    params = validated(model, {**trained.learner.params, **own}, what="learner", owner=spec.name)
    return trained.learner.model_copy(update={"params": params.model_dump(mode="json")})


def _check_names(spec: RunSpec, path: Path) -> None:
    """Refuse names that are no names of folders: the file may be from somebody else."""
    for name in (spec.suite, spec.setting, spec.budget):
        if re.fullmatch(NAME_PATTERN, name) is None:
            raise DataError(
                f"The record in {path} has the name {name!r}, which is not allowed; {NAME_RULE}.",
                hint="Ask for another file.",
            )


def _check_scopes(changes: Changes) -> None:
    for scope, values in changes.items():
        if values and scope.partition("[")[0] not in _SCOPES:
            raise UsageError(
                f"--set {scope_in_words(scope)}.{next(iter(values))} belongs to the training, "
                "which is over.",
                hint=f"Scopes that concern a test: {', '.join(_SCOPES)}.",
            )
    _check_protocol(changes)


def _check_protocol(changes: Changes) -> None:
    for name in changes.get("protocol", {}):
        if name in _OF_TRAINING:
            raise UsageError(
                f"--set protocol.{name} belongs to a training, which is over.",
                hint=f"Of the training alone are: {', '.join(_OF_TRAINING)}.",
            )


def _check_examples(
    trained: RunSpec,
    tested: RunSpec,
    loaded: Sequence[ClassData | FunctionFamily],
    catalog: Catalog,
) -> None:
    """Refuse data whose examples have another shape than those of the training.

    Where the data of the training is not on this machine, the weights themselves tell, when they
    are loaded.
    """
    if tested.sources == trained.sources and tested.data == trained.data:
        return
    try:
        before = load_data(trained.sources[0], catalog, data=trained.data)
    except MetabenchError:
        return
    ways = tested.protocol.ways
    there, here = (task_of(data, ways).inputs for data in (before, loaded[0]))
    if there != here:
        raise UsageError(
            f"The weights were trained on examples of shape {there}, but those of "
            f"{tested.suite}@{tested.setting} have shape {here}.",
            hint="Test them on a suite whose examples have the shape of the training.",
        )


def _check_versions(spec: RunSpec, catalog: Catalog, path: Path) -> None:
    """Refuse plugins that may compute otherwise than in the training."""
    found = [(spec.learner, catalog.learner(spec.learner.name).version)]
    if spec.space is not None:
        found.append((spec.space, catalog.space(spec.space.name).version))
    if spec.strategy is not None:
        found.append((spec.strategy, catalog.strategy(spec.strategy.name).version))
    for choice, version in found:
        if choice.version != version:
            raise DataError(
                f"The weights in {path} were trained with version {choice.version} of "
                f"{choice.name}; installed is version {version}.",
                hint="Install the versions in their record, or train anew.",
            )


def _command(path: Path, request: WeightsTest) -> str:
    words = ["metabench", "evaluate", str(path)]
    for option in ("suite", "setting", "budget", "data", "limit"):
        value = getattr(request, option)
        words += [f"--{option}", str(value)] if value is not None else []
    words += ["--metric", ",".join(request.metrics)] if request.metrics else []
    for file in request.plugin_files:
        words += ["--plugin", str(file)]
    for scope, values in request.changes.items():
        for name, value in values.items():
            words += ["--set", f"{scope_in_words(scope)}.{name}={written(value)}"]
    return shlex.join(words)
