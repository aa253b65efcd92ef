"""Checks of a dataset: images or vectors sorted by class, or a family of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from metabench.conformance.base import Check, Skip, refuse, require
from metabench.conformance.descriptions import default_params
from metabench.conformance.samples import untouched_randomness
from metabench.errors import DataError, UsageError
from metabench.plugin.contracts.data import ClassData, EvaluableFamily, FunctionFamily
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.plugin.contracts.stamp import Stamp
from metabench.plugin.specs import DatasetSpec, resolve
from metabench.sampling.flaws import (
    SPLITS,
    flaw_of_classes,
    flaw_of_examples,
    flaw_of_facts,
    flaw_of_family,
    flaw_of_points,
    flaw_of_rotations,
    flaw_of_splits,
    flaw_of_type,
)

N_TASKS = 32
"""Functions that are compared with their values."""


def dataset_checks(spec: DatasetSpec) -> Iterator[Check]:
    """Yield the checks of a dataset and of its look-alike; those of absent data are skipped."""
    bodies = CLASS_CHECKS if spec.kind == "classes" else FUNCTION_CHECKS
    makers = {"real": spec.factory}
    if spec.synthetic is not None:
        makers["synthetic"] = spec.synthetic
    for data, maker in makers.items():
        yield Check(f"{data}: the data is available", partial(_load, spec, maker))
        yield Check(f"{data}: it holds what its kind says", partial(_kind, spec, maker))
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


def _kind(spec: DatasetSpec, maker: Any) -> None:
    refuse(flaw_of_type(_available(spec, maker), spec.kind))


def _available(spec: DatasetSpec, maker: Any) -> Any:
    """As :func:`_load`, with a short reason: another check says what is missing or raised."""
    try:
        return _load(spec, maker)
    except Exception as error:
        raise Skip("the data is not available.") from error


def _loaded(spec: DatasetSpec, maker: Any) -> Any:
    """As :func:`_available`, of the right type: another check says what it is."""
    data = _available(spec, maker)
    if flaw_of_type(data, spec.kind):
        raise Skip("it does not hold what its kind says.")
    return data


def _stamped(data: ClassData) -> None:
    require(
        Stamp.SYNTHETIC in data.stamps,
        f"the stamps are {data.stamps}; 'synthetic' must be among them.",
    )


def _images(load: Callable[[], ClassData]) -> None:
    data = load()
    refuse(flaw_of_examples(data))
    if data.images.ndim == 2:
        require(bool(np.isfinite(data.images).all()), "a vector is not finite.")


def _classes(load: Callable[[], ClassData]) -> None:
    refuse(flaw_of_classes(load()))


def _splits(load: Callable[[], ClassData]) -> None:
    data = load()
    refuse(flaw_of_splits(data))
    empty = [split for split in ("meta-train", "meta-test") if len(data.splits[split]) == 0]
    require(not empty, f"{' and '.join(empty)} is empty.")


def _rotations(load: Callable[[], ClassData]) -> None:
    refuse(flaw_of_rotations(load()))


def _fingerprint(load: Callable[[], ClassData | FunctionFamily]) -> None:
    first, second = load(), load()
    refuse(flaw_of_facts(first))
    require(
        first.fingerprint == second.fingerprint,
        "the fingerprint changes when the data is loaded again.",
    )


def _same_images(load: Callable[[], ClassData]) -> None:
    with untouched_randomness():
        first, second = load(), load()
    require(
        np.array_equal(first.images, second.images),
        "the images change when the data is loaded again.",
    )
    require(
        np.array_equal(first.offsets, second.offsets) and first.class_names == second.class_names,
        "the classes change when the data is loaded again.",
    )
    changed = [s for s in SPLITS if not np.array_equal(first.splits[s], second.splits[s])]
    require(
        not changed, f"the classes of {', '.join(changed)} change when the data is loaded again."
    )


def _words(family: FunctionFamily, shape: EpisodeShape, n_tasks: int = 3) -> Any:
    n_words = family.n_words(shape)
    require(
        isinstance(n_words, int) and n_words >= 1,
        f"n_words returned {n_words!r}; it must be an integer of at least 1.",
    )
    rng = np.random.default_rng(0)
    return rng.integers(0, 2**64, size=(n_tasks, n_words), dtype=np.uint64)


def _points(load: Callable[[], FunctionFamily]) -> None:
    family = load()
    refuse(flaw_of_family(family))
    for shape in (EpisodeShape(1, 5, 10), EpisodeShape(1, 1, 1)):
        for split in SPLITS:
            points = family.sample(_words(family, shape), shape, split=split)
            refuse(flaw_of_points(points, family, n_tasks=3, shape=shape))


def _only_words(load: Callable[[], FunctionFamily]) -> None:
    family, shape = load(), EpisodeShape(1, 5, 10)
    words = _words(family, shape)
    other = words.copy()
    other[1] = words[1][::-1]
    before = words.copy()
    with untouched_randomness():
        first, second, third = (
            family.sample(w, shape, split="meta-train") for w in (words, words, other)
        )
    require(np.array_equal(words, before), "sample changes the words that it is given.")
    require(
        all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)),
        "the same words give different points the second time.",
    )
    require(
        all(np.array_equal(a[[0, 2]], b[[0, 2]]) for a, b in zip(first, third, strict=True)),
        "the words of one task change the points of another.",
    )
    require(not np.array_equal(first[1][1], third[1][1]), "different words give the same points.")


def _place(load: Callable[[], FunctionFamily]) -> None:
    family, shape = load(), EpisodeShape(1, 5, 10)
    words = _words(family, shape)
    together = family.sample(words, shape, split="meta-train")
    for n_before in range(len(words)):
        alone = family.sample(words[n_before:], shape, split="meta-train")
        require(
            all(np.allclose(a[0], b[n_before]) for a, b in zip(alone, together, strict=True)),
            "the same words give other points at another place in a batch.",
        )


def _values(load: Callable[[], FunctionFamily]) -> None:
    family, shape = load(), EpisodeShape(1, 5, 10)
    if not isinstance(family, EvaluableFamily):
        raise Skip("it has no values, which is optional.")
    words = _words(family, shape, N_TASKS)
    x, y = family.sample(words, shape, split="meta-train")
    before = words.copy()
    with untouched_randomness():
        together = family.values(words, x[0])
    require(np.array_equal(words, before), "values changes the words that it is given.")
    wanted = (N_TASKS, x.shape[1], family.outputs)
    require(
        together.shape == wanted,
        f"values returned shape {tuple(together.shape)}; it must be {wanted}, "
        "[tasks, points, outputs].",
    )
    require(np.isfinite(together).all(), "values returned a value that is not finite.")
    alone = np.concatenate([family.values(words[i : i + 1], x[i]) for i in range(N_TASKS)])
    require(
        np.allclose(together[0], alone[0]), "the values of a function change with those beside it."
    )
    require(np.ptp(alone) > 0, "values returns the same number for all functions and points.")
    slope, shift = np.polyfit(alone.ravel(), y.ravel(), 1)
    require(
        abs(slope - 1) <= TOLERANCE and abs(shift) <= TOLERANCE * alone.std(),
        "values returns other functions than sample draws from the same words: its targets are "
        f"{slope:.2g} times the values, plus {shift:.2g}.",
    )


TOLERANCE = 0.25
"""By which noise may seem to scale or shift functions."""


CLASS_CHECKS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "images are uint8 with channels last, or finite vectors": _images,
    "offsets divide the images into named classes": _classes,
    "no class is in two splits": _splits,
    "rotations are known": _rotations,
    "the fingerprint is stable": _fingerprint,
    "images, classes and splits are the same every time": _same_images,
}
FUNCTION_CHECKS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "points have the right shape and are finite": _points,
    "all randomness comes from the words": _only_words,
    "points do not depend on the place in a batch": _place,
    "values are those of the functions that are drawn": _values,
    "the fingerprint is stable": _fingerprint,
}
