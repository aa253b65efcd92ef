"""Which data, learner, network and strategy fit together; the rest is refused before a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from metabench.errors import UsageError
from metabench.planning.networks import build_space, build_strategy
from metabench.planning.runspec import Choice, RunSpec
from metabench.plugin.contracts import ClassData, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape, TaskKind, TaskShape
from metabench.plugin.specs import (
    DatasetSpec,
    LearnerSpec,
    NasStrategySpec,
    SearchSpaceSpec,
    resolve,
)
from metabench.sampling.checks import check_classes, check_functions, task_of
from metabench.sampling.seeding import generator

if TYPE_CHECKING:
    from metabench.plugin.catalog import Catalog

HELD: dict[TaskKind, str] = {"classification": "classes", "regression": "functions"}
"""What a dataset must hold for each kind of task."""


def check_source(task: TaskKind, source: str, dataset: DatasetSpec, catalog: Catalog) -> None:
    """Refuse functions where classes are told apart, and classes where values are predicted.

    Raises:
        UsageError: with the datasets that would do.
    """
    if dataset.kind != HELD[task]:
        fitting = (spec.name for spec in catalog.datasets.values() if spec.kind == HELD[task])
        raise UsageError(
            f"Source {source} is dataset {dataset.name}, which holds {dataset.kind}; "
            f"{task} needs {HELD[task]}.",
            hint=f"Datasets of {HELD[task]}: {_list(fitting)}.",
        )


def check_data(
    spec: RunSpec, loaded: Sequence[ClassData | FunctionFamily], catalog: Catalog
) -> None:
    """Refuse data that cannot serve the learner or the episodes of a run.

    Args:
        spec: of the run.
        loaded: the data of its sources, in their order.
        catalog: the plugins.

    Raises:
        UsageError: for another task in every episode under a learner of one task, and for sources
            that no network takes together.
        DataError: for too few classes or images, or several ways in regression.
    """
    from metabench.planning.compatibility import check_episodes

    learner = catalog.learner(spec.learner.name)
    for choice, data in zip(spec.sources, loaded, strict=True):
        if learner.one_task and not getattr(data, "supervised", False):
            _refuse_many_tasks(learner, choice.source, catalog)
    check_episodes(spec, loaded, catalog)


def _refuse_many_tasks(learner: LearnerSpec, source: str, catalog: Catalog) -> NoReturn:
    others = (
        spec.name
        for spec in catalog.learners.values()
        if spec.searches == learner.searches and not spec.one_task
    )
    raise UsageError(
        f"Learner {learner.name} learns one task, and every episode of source {source} is another: "
        "the same label stands for other classes.",
        hint="Choose a suite of supervised data, which is one task, "
        f"or another learner: {_list(others)}.",
    )


def can_search(learner: LearnerSpec) -> bool:
    """Whether a learner takes a searched network."""
    return learner.searches or learner.search_params is not None


def check_searchable(learner: LearnerSpec, space: SearchSpaceSpec, catalog: Catalog) -> None:
    """Refuse a searched network under a learner that cannot search, and a fixed one the other way.

    Raises:
        UsageError: with the names that would do.
    """
    if space.searched and not can_search(learner):
        able = (spec.name for spec in catalog.learners.values() if can_search(spec))
        raise UsageError(
            f"Space {space.name} has choices, and learner {learner.name} does not search.",
            hint=f"Choose a fixed network with --space, or a learner that searches: {_list(able)}.",
        )
    if learner.searches and not space.searched:
        searched = (spec.name for spec in catalog.search_spaces.values() if spec.searched)
        raise UsageError(
            f"Learner {learner.name} searches, and network {space.name} has no choices.",
            hint=f"Searched: {_list(searched)}.",
        )


def refuse_strategy(learner: LearnerSpec, space: Choice | None, catalog: Catalog) -> NoReturn:
    """Say why a strategy was asked for in vain.

    Raises:
        UsageError: always.
    """
    reason, hint = f"Learner {learner.name} does not search", ""
    if space is not None and can_search(learner):
        reason = f"Network {space.name} has no choices"
        searched = (found.name for found in catalog.search_spaces.values() if found.searched)
        hint = f"Choose a searched one with --space: {_list(searched)}."
    raise UsageError(f"{reason}, so --strategy and --set strategy... do not apply.", hint=hint)


def check_strategy(learner: LearnerSpec, strategy: NasStrategySpec, catalog: Catalog) -> None:
    """Refuse a strategy that ignores logits under a learner whose work is to make them.

    Raises:
        UsageError: with the names that would do.
    """
    if learner.makes_logits and not strategy.reads_logits:
        reading = (s.name for s in catalog.nas_strategies.values() if s.reads_logits)
        raise UsageError(
            f"Learner {learner.name} makes logits, and strategy {strategy.name} does not read any.",
            hint=f"Choose another with --strategy: {_list(reading)}.",
        )


def check_architecture(spec: RunSpec, data: ClassData | FunctionFamily, catalog: Catalog) -> None:
    """Let the strategy of a run draw logits for its network, once, before anything runs.

    Args:
        spec: of the run.
        data: of its first source.
        catalog: the plugins.

    Raises:
        UsageError: when the strategy does not fit the network, with the strategy's reason.
    """
    if spec.space is None or spec.strategy is None:
        return
    space = build_space(spec.space, task_of(data, spec.protocol.ways), catalog)
    build_strategy(spec.strategy, catalog).init_arch(space, rng=generator(spec.seed, "init"))


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def check_episodes(
    spec: RunSpec, loaded: Sequence[ClassData | FunctionFamily], catalog: Catalog
) -> None:
    """Refuse a run whose data cannot serve its episodes.

    Args:
        spec: of the run.
        loaded: the data of its sources, in their order.
        catalog: the plugins.

    Raises:
        DataError: for too few classes or images, or several ways in regression.
        UsageError: when no network takes all sources.
    """
    shapes = episode_shapes(spec, catalog)
    for choice, data in zip(spec.sources, loaded, strict=True):
        for split, shape in shapes.items():
            if isinstance(data, ClassData):
                check_classes(choice.source, data, split, shape)
            else:
                check_functions(choice.source, shape)
    common_task(spec, loaded)


def common_task(spec: RunSpec, loaded: Sequence[ClassData | FunctionFamily]) -> TaskShape:
    """What the network of a run must accept and produce.

    Raises:
        UsageError: when no network takes all sources.
    """
    tasks = {task_of(data, spec.protocol.ways) for data in loaded}
    if len(tasks) != 1:
        raise UsageError(
            f"The sources of suite {spec.suite} have different shapes: "
            f"{'; '.join(sorted(f'{task.inputs} to {task.outputs}' for task in tasks))}.",
            hint="One network serves all of them, so give them one size.",
        )
    return tasks.pop()


def episode_shapes(spec: RunSpec, catalog: Catalog) -> Mapping[str, EpisodeShape]:
    """Per split that the run draws from, the shape of its episodes."""
    learner = catalog.learner(spec.learner.name)
    train = spec.protocol.train_shape()
    if learner.train_shape is not None:
        model = learner.params_model(searched=spec.strategy is not None)
        train = resolve(learner.train_shape)(model.model_validate(spec.learner.params), train)
    shapes = {"meta-train": train, "meta-test": spec.protocol.test_shape()}
    if spec.protocol.selection == "meta-val":
        shapes["meta-val"] = shapes["meta-test"]
    return shapes
