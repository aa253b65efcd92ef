"""Whether data can serve episodes of a shape, asked before a run and again where it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.errors import DataError, UsageError
from metabench.planning.source_data import task_of
from metabench.plugin.contracts import ClassData, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.text import counted

if TYPE_CHECKING:
    from metabench.planning.runspec import RunSpec
    from metabench.plugin.catalog import Catalog


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
    shapes = _shapes(spec, catalog)
    for choice, data in zip(spec.sources, loaded, strict=True):
        for split, shape in shapes.items():
            if isinstance(data, ClassData):
                check_classes(choice.source, data, split, shape)
            else:
                check_functions(choice.source, shape)
    tasks = {task_of(data, spec.protocol.ways) for data in loaded}
    if len(tasks) != 1:
        raise UsageError(
            f"The sources of suite {spec.suite} have different shapes: "
            f"{'; '.join(sorted(f'{task.inputs} to {task.outputs}' for task in tasks))}.",
            hint="One network serves all of them, so give them one size.",
        )


def _shapes(spec: RunSpec, catalog: Catalog) -> Mapping[str, EpisodeShape]:
    """Per split that the run draws from, the shape of its episodes."""
    from metabench.plugin.specs import resolve
    from metabench.running.build import test_shape, train_shape

    learner = catalog.learner(spec.learner.name)
    train = train_shape(spec.protocol)
    if learner.train_shape is not None:
        model = learner.params_model(searched=spec.strategy is not None)
        train = resolve(learner.train_shape)(model.model_validate(spec.learner.params), train)
    shapes = {"meta-train": train, "meta-test": test_shape(spec.protocol)}
    if spec.protocol.selection == "meta-val":
        shapes["meta-val"] = shapes["meta-test"]
    return shapes


def check_classes(name: str, data: ClassData, split: str, shape: EpisodeShape) -> None:
    """Refuse too few classes, and a class with too few images, by name.

    Raises:
        DataError: with the numbers that are there and those that are needed.
    """
    classes = classes_of(data, split)
    if data.supervised and len(classes) != shape.ways:
        raise DataError(
            f"Source {name} is one task of {len(classes)} classes in {split}, not of {shape.ways}.",
            hint=f"Set the ways to {len(classes)}.",
        )
    if len(classes) < shape.ways:
        raise DataError(
            f"Source {name} has {counted(len(classes), 'class', 'classes')} in {split}; "
            f"{shape.ways} ways need {shape.ways}.",
            hint="Choose a split with more classes or a setting with fewer ways.",
        )
    need = shape.shots + shape.queries
    sizes = np.diff(data.offsets)[classes[:, 0]]
    if halved(data, split):
        need = 2 * max(shape.shots, shape.queries)
    if sizes.min() < need:
        small = classes[sizes.argmin(), 0]
        raise DataError(
            f"Class {data.class_names[small]!r} of source {name} has "
            f"{counted(sizes.min(), 'image', 'images')}; "
            f"{counted(shape.shots, 'shot', 'shots')} and "
            f"{counted(shape.queries, 'query', 'queries')} need {need}.",
            hint="Choose fewer shots or queries.",
        )


def check_functions(name: str, shape: EpisodeShape) -> None:
    """Refuse more than one way.

    Raises:
        DataError: with the number of ways that is right.
    """
    if shape.ways != 1:
        raise DataError(
            f"Source {name} is a regression task; ways must be 1, and not {shape.ways}.",
            hint="Leave protocol.ways out.",
        )


def classes_of(data: ClassData, split: str) -> NDArray[np.int64]:
    """Pairs (class, quarter turns) that count as classes: ``[classes, 2]``."""
    ids = np.asarray(data.splits.get(split, ()), dtype=np.int64)
    turns = range(4) if data.rotations.get(split) == "classes" else range(1)
    return np.concatenate([np.stack([ids, np.full_like(ids, k)], axis=1) for k in turns])


def halved(data: ClassData, split: str) -> bool:
    """Whether support and queries come from different halves of each class."""
    return data.supervised and split == "meta-train"
