"""Whether data suffices for episodes of a shape; checked before a run and when it is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabench.errors import DataError, UsageError
from metabench.plugin.contracts.data import ClassData, EvaluableFamily, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape, TaskShape
from metabench.text import counted


def check_classes(name: str, data: ClassData, split: str, shape: EpisodeShape) -> None:
    """Refuse too few classes, and a class with too few images, by name.

    Raises:
        DataError: with the numbers that exist and those that are needed.
    """
    classes = classes_of(data, split)
    if data.supervised and len(classes) != shape.ways:
        raise DataError(
            f"Source {name} is one task of {len(classes)} classes in {split}, not of {shape.ways}.",
            hint=f"Use --set protocol.ways={len(classes)}.",
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
        examples = ("vector", "vectors") if data.images.ndim == 2 else ("image", "images")
        raise DataError(
            f"Class {data.class_names[small]!r} of source {name} has "
            f"{counted(sizes.min(), *examples)}; "
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
            f"Source {name} is a regression task; ways must be 1, not {shape.ways}.",
            hint="Leave out protocol.ways.",
        )


def classes_of(data: ClassData, split: str) -> NDArray[np.int64]:
    """Pairs (class, quarter turns) that count as classes: ``[classes, 2]``."""
    ids = np.asarray(data.splits.get(split, ()), dtype=np.int64)
    turns = range(4) if data.rotations.get(split) == "classes" else range(1)
    return np.concatenate([np.stack([ids, np.full_like(ids, k)], axis=1) for k in turns])


def halved(data: ClassData, split: str) -> bool:
    """Whether support and queries come from different halves of each class."""
    return data.supervised and split == "meta-train"


def require_values(loaded: Sequence[ClassData | FunctionFamily]) -> None:
    """Refuse data without a value at every point of a line, which a grid of queries needs.

    Raises:
        UsageError: for images, functions of several inputs, and families without ``values``.
    """
    for data in loaded:
        if not isinstance(data, EvaluableFamily) or data.inputs != 1:
            raise UsageError(
                "A grid of queries needs functions of one input, which can be evaluated anywhere.",
                hint="Give the family of functions the method `values`.",
            )


def task_of(data: ClassData | FunctionFamily, ways: int) -> TaskShape:
    """What a network must accept and produce for the data of a source."""
    if isinstance(data, ClassData):
        if data.images.ndim == 2:
            return TaskShape("classification", data.images.shape[1:], ways)
        height, width, channels = data.images.shape[1:]
        return TaskShape("classification", (channels, height, width), ways)
    return TaskShape("regression", (data.inputs,), data.outputs)
