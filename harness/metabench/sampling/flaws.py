"""What the data of a source must be, before an episode is drawn from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metabench.errors import PluginError
from metabench.plugin.contracts.data import ClassData, FunctionFamily, Scaling
from metabench.plugin.contracts.episode import EpisodeShape

SPLITS = ("meta-train", "meta-val", "meta-test")
ROTATIONS = ("none", "classes", "per-task")
EXAMPLES = (
    "they must be uint8 [n, height, width, channels], or vectors, float32 [n, features]. Images "
    "in floating point are not scaled: give their pixels as uint8, and say by `scaling` what is "
    "done to pixels in [0, 1]."
)
"""What examples must be, as the end of a sentence."""


def flaw_of_examples(data: ClassData) -> str:
    """What is wrong with the examples, in a sentence; "" if nothing is."""
    images = data.images
    if not isinstance(images, np.ndarray):
        return f"images is a {type(images).__name__}; it must be a NumPy array."
    if {4: "uint8", 2: "float32"}.get(images.ndim) != images.dtype.name:
        return f"images are {images.dtype} {list(images.shape)}; {EXAMPLES}"
    if 0 in images.shape:
        return f"images have the shape {list(images.shape)}, so there are none."
    return _flaw_of_scaling(data)


def _flaw_of_scaling(data: ClassData) -> str:
    if data.scaling is None:
        return ""
    if not isinstance(data.scaling, Scaling):
        return f"scaling is a {type(data.scaling).__name__}; it must be a metabench.Scaling."
    n = data.images.shape[-1]
    for name in ("scale", "offset"):
        values = np.asarray(getattr(data.scaling, name))
        if values.dtype.kind not in "iuf" or values.size not in (1, n) or values.ndim > 1:
            return (
                f"the {name} of scaling has shape {list(values.shape)}; it must be a number, or "
                f"one for each of the {n} channels or features."
            )
        if not np.isfinite(values).all():
            return f"the {name} of scaling is not finite."
    return ""


def flaw_of_classes(data: ClassData) -> str:
    """What is wrong with the names and places of the classes."""
    offsets, names = np.asarray(data.offsets), data.class_names
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        return f"offsets are {offsets.dtype} {list(offsets.shape)}; they must be integers [n + 1]."
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        return "class_names is not a tuple of texts."
    if len(offsets) != len(names) + 1:
        return (
            f"there are {len(names)} class names and {len(offsets)} offsets; "
            "there must be one offset more than names."
        )
    rising = bool((np.diff(offsets.astype(np.int64)) > 0).all())
    if offsets[0] != 0 or offsets[-1] != len(data.images) or not rising:
        return f"offsets must rise from 0 to {len(data.images)}, with no class empty."
    return "a class name occurs twice." if len(set(names)) < len(names) else ""


def flaw_of_splits(data: ClassData) -> str:
    """What is wrong with the classes of the splits."""
    if set(data.splits) != set(SPLITS):
        return f"splits are {sorted(data.splits)}; they must be {', '.join(SPLITS)}."
    parts = [np.asarray(data.splits[split]) for split in SPLITS]
    for split, part in zip(SPLITS, parts, strict=True):
        if part.ndim != 1 or (part.size and part.dtype.kind not in "iu"):
            return f"{split} is {part.dtype} {list(part.shape)}; it must be ids of classes [n]."
    ids = np.concatenate([part.astype(np.int64) for part in parts])
    if len(np.unique(ids)) < len(ids):
        return "a class is in two splits, or twice in one."
    known = bool(((ids >= 0) & (ids < len(data.class_names))).all())
    return "" if known else "a split names a class that does not exist."


def flaw_of_rotations(data: ClassData) -> str:
    """What is wrong with the quarter turns."""
    rotations = data.rotations
    if set(rotations) != set(SPLITS) or not set(rotations.values()) <= set(ROTATIONS):
        return (
            f"rotations are {dict(rotations)}; each split must have one of {', '.join(ROTATIONS)}."
        )
    if data.images.ndim == 2 and set(rotations.values()) != {"none"}:
        return "vectors cannot be turned."
    height, width = data.images.shape[1:3] if data.images.ndim == 4 else (1, 1)
    if height != width and set(rotations.values()) != {"none"}:
        return f"images of {height} x {width} pixels cannot be turned by a quarter."
    return ""


def flaw_of_facts(data: ClassData | FunctionFamily) -> str:
    """What is wrong with the fingerprint and the stamps."""
    fingerprint, stamps = data.fingerprint, data.stamps
    if not isinstance(fingerprint, str) or not fingerprint:
        return f"the fingerprint is {fingerprint!r}; it must be a string that is not empty."
    if isinstance(stamps, str) or not isinstance(stamps, Sequence):
        return f"the stamps are {stamps!r}; they must be a tuple of texts."
    return ""


def flaw_of_family(family: FunctionFamily) -> str:
    """What is wrong with the sizes of a family of functions."""
    for name in ("inputs", "outputs"):
        size = getattr(family, name)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            return f"{name} is {size!r}; it must be an integer of at least 1."
    return ""


def flaw_of_points(
    points: Any, family: FunctionFamily, *, n_tasks: int, shape: EpisodeShape
) -> str:
    """What is wrong with what ``sample`` returned for some tasks."""
    if not (isinstance(points, tuple) and len(points) == 2):
        return f"sample returned a {type(points).__name__}; it must be a pair (x, y)."
    sizes = {"x": family.inputs, "y": family.outputs}
    for (name, width), found in zip(sizes.items(), points, strict=True):
        if not isinstance(found, np.ndarray):
            return f"{name} is a {type(found).__name__}; it must be a NumPy array."
        wanted = (n_tasks, shape.shots + shape.queries, width)
        if found.shape != wanted:
            return f"{name} has shape {found.shape} instead of {wanted}."
        if found.dtype.kind not in "buif" or not np.isfinite(found).all():
            return f"{name} is not finite."
    return ""


def flaw_of_type(data: Any, kind: str) -> str:
    """What a dataset returned in place of what its description says.

    Args:
        data: what its factory returned.
        kind: ``classes`` or ``functions``.
    """
    wanted = _TYPES[kind]
    if isinstance(data, wanted):
        return ""
    return (
        f"its factory returned a {type(data).__name__}, but its description says kind={kind!r}, "
        f"which is a {wanted.__name__}."
    )


def refuse_flaws(data: Any, kind: str, *, dataset: str) -> None:
    """Refuse data that is not what its contract says.

    Args:
        data: what the factory of a dataset returned.
        kind: ``classes`` or ``functions``.
        dataset: its name.

    Raises:
        PluginError: with what is wrong first.
    """
    found = (test(data) for test in _TESTS[kind])
    if flaw := flaw_of_type(data, kind) or next(filter(None, found), ""):
        raise PluginError(
            f"The data of {dataset} cannot be used: {flaw}",
            hint=f"`metabench plugins check {dataset}` tells all that is wrong with it.",
        )


_TYPES: dict[str, type] = {"classes": ClassData, "functions": FunctionFamily}
_TESTS: dict[str, tuple[Callable[[Any], str], ...]] = {
    "classes": (
        flaw_of_examples,
        flaw_of_classes,
        flaw_of_splits,
        flaw_of_rotations,
        flaw_of_facts,
    ),
    "functions": (flaw_of_family, flaw_of_facts),
}
