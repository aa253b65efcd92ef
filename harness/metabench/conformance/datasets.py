"""Checks of a dataset: images or vectors sorted by class, or a family of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from metabench.conformance.base import Check, Skip, require
from metabench.conformance.descriptions import default_params
from metabench.conformance.samples import untouched_randomness
from metabench.errors import DataError, UsageError
from metabench.plugin.contracts.data import ClassData, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.plugin.contracts.stamp import Stamp
from metabench.plugin.specs import DatasetSpec, resolve

SPLITS = ("meta-train", "meta-val", "meta-test")
ROTATIONS = ("none", "classes", "per-task")


def dataset_checks(spec: DatasetSpec) -> Iterator[Check]:
    """Yield the checks of a dataset and of its look-alike; those of absent data are skipped."""
    bodies = CLASS_CHECKS if spec.kind == "classes" else FUNCTION_CHECKS
    makers = {"real": spec.factory}
    if spec.synthetic is not None:
        makers["synthetic"] = spec.synthetic
    for data, maker in makers.items():
        yield Check(f"{data}: the data is available", partial(_load, spec, maker))
        for name, body in bodies.items():
            yield Check(
                f"{data}: {name}",
                partial(body, partial(_loaded, spec, maker)),
            )
    if spec.synthetic is not None:
        synthetic = spec.synthetic
        yield Check(
            "synthetic: it has the stamp synthetic", lambda: _stamped(_load(spec, synthetic))
        )


def _load(spec: DatasetSpec, maker: Any) -> Any:
    try:
        return resolve(maker)(default_params(spec))
    except (DataError, UsageError) as error:
        # UsageError: an optional package that it needs is not installed.
        raise Skip(error.in_full) from error


def _loaded(spec: DatasetSpec, maker: Any) -> Any:
    """As :func:`_load`, with a short reason: another check says what is missing."""
    try:
        return _load(spec, maker)
    except Skip as skip:
        raise Skip("the data is not available.") from skip


def _stamped(data: ClassData) -> None:
    require(
        Stamp.SYNTHETIC in data.stamps,
        f"the stamps are {data.stamps}; 'synthetic' must be among them.",
    )


def _images(load: Callable[[], ClassData]) -> None:
    images = load().images
    require(
        {4: "uint8", 2: "float32"}.get(images.ndim) == images.dtype.name,
        f"images are {images.dtype} {images.shape}; "
        "they must be uint8 [n, height, width, channels], or vectors, float32 [n, features].",
    )
    if images.ndim == 2:
        require(bool(np.isfinite(images).all()), "a vector is not finite.")


def _classes(load: Callable[[], ClassData]) -> None:
    data = load()
    offsets = np.asarray(data.offsets)
    require(
        len(offsets) == len(data.class_names) + 1,
        f"there are {len(data.class_names)} class names and {len(offsets)} offsets; "
        "there must be one offset more than names.",
    )
    require(
        offsets[0] == 0 and offsets[-1] == len(data.images) and bool((np.diff(offsets) > 0).all()),
        f"offsets must rise from 0 to {len(data.images)}, with no class empty.",
    )
    require(len(set(data.class_names)) == len(data.class_names), "a class name occurs twice.")


def _splits(load: Callable[[], ClassData]) -> None:
    data = load()
    require(
        set(data.splits) == set(SPLITS),
        f"splits are {sorted(data.splits)}; they must be {', '.join(SPLITS)}.",
    )
    ids = np.concatenate([np.asarray(data.splits[split]) for split in SPLITS])
    require(len(np.unique(ids)) == len(ids), "a class is in two splits, or twice in one.")
    inside = bool(((ids >= 0) & (ids < len(data.class_names))).all())
    require(inside, "a split names a class that does not exist.")
    empty = [split for split in ("meta-train", "meta-test") if len(data.splits[split]) == 0]
    require(not empty, f"{' and '.join(empty)} is empty.")


def _rotations(load: Callable[[], ClassData]) -> None:
    data = load()
    rotations = data.rotations
    if data.images.ndim == 2:
        require(set(rotations.values()) == {"none"}, "vectors cannot be turned.")
    require(
        set(rotations) == set(SPLITS) and set(rotations.values()) <= set(ROTATIONS),
        f"rotations are {dict(rotations)}; each split must have one of {', '.join(ROTATIONS)}.",
    )


def _fingerprint(load: Callable[[], ClassData | FunctionFamily]) -> None:
    first, second = load().fingerprint, load().fingerprint
    require(
        isinstance(first, str) and first,
        f"the fingerprint is {first!r}; it must be a string that is not empty.",
    )
    require(first == second, "the fingerprint changes when the data is loaded again.")


def _same_images(load: Callable[[], ClassData]) -> None:
    with untouched_randomness():
        first, second = load(), load()
    require(
        np.array_equal(first.images, second.images),
        "the images change when the data is loaded again.",
    )


def _words(family: FunctionFamily, shape: EpisodeShape) -> Any:
    return np.random.default_rng(0).integers(
        0, 2**64, size=(3, family.n_words(shape)), dtype=np.uint64
    )


def _points(load: Callable[[], FunctionFamily]) -> None:
    family = load()
    for shape in (EpisodeShape(1, 5, 10), EpisodeShape(1, 1, 1)):
        for split in SPLITS:
            x, y = family.sample(_words(family, shape), shape, split=split)
            n_points = shape.shots + shape.queries
            for name, found, width in (("x", x, family.inputs), ("y", y, family.outputs)):
                wanted = (3, n_points, width)
                require(
                    found.shape == wanted, f"{name} has shape {found.shape} instead of {wanted}."
                )
                require(np.isfinite(found).all(), f"{name} is not finite in {split}.")


def _only_words(load: Callable[[], FunctionFamily]) -> None:
    family, shape = load(), EpisodeShape(1, 5, 10)
    words = _words(family, shape)
    other = words.copy()
    other[1] = words[1][::-1]
    with untouched_randomness():
        first, second, third = (
            family.sample(w, shape, split="meta-train") for w in (words, words, other)
        )
    require(
        all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)),
        "the same words give different points the second time.",
    )
    require(
        all(np.array_equal(a[[0, 2]], b[[0, 2]]) for a, b in zip(first, third, strict=True)),
        "the words of one task change the points of another.",
    )
    require(not np.array_equal(first[1][1], third[1][1]), "different words give the same points.")


CLASS_CHECKS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "images are uint8 with channels last, or finite vectors": _images,
    "offsets divide the images into named classes": _classes,
    "no class is in two splits": _splits,
    "rotations are known": _rotations,
    "the fingerprint is stable": _fingerprint,
    "the images are the same every time": _same_images,
}
FUNCTION_CHECKS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "points have the right shape and are finite": _points,
    "all randomness comes from the words": _only_words,
    "the fingerprint is stable": _fingerprint,
}
