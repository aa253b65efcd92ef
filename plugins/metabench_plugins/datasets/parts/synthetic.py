"""Synthetic images of classes: a class is a few strokes, which each image draws a bit differently.

They and synthetic vectors replace real data, so that everything runs without any. They are no
benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metabench import ClassData, Stamp, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Raised when the same arguments give other images."""

STROKES = 3
POINTS = 24
"""Points along a stroke at which ink is laid."""


def synthetic_classes(
    n_per_split: Mapping[str, int], per_class: int, *, shape: tuple[int, int, int], seed: int
) -> ClassData:
    """Draw classes of images that a small network can learn to tell apart.

    Args:
        n_per_split: how many classes each split has.
        per_class: images per class.
        shape: height, width and channels of an image.
        seed: equal seeds give equal images.

    Returns:
        Upright images with bright strokes on a dark ground, stamped ``synthetic``.
    """
    import numpy as np

    n_classes = sum(n_per_split.values())
    images = np.empty((n_classes * per_class, *shape), dtype=np.uint8)
    for c in range(n_classes):
        # A generator of its own, so that a class does not depend on how many there are.
        rng = np.random.default_rng([seed, c])
        images[c * per_class : (c + 1) * per_class] = _draw_class(rng, per_class, shape)
    content = {"per_class": per_class, "shape": shape, "seed": seed}
    return _stamped(images, n_per_split, per_class, {"synthetic": VERSION, **content})


def synthetic_vectors(
    n_per_split: Mapping[str, int], per_class: int, *, features: int, seed: int
) -> ClassData:
    """Draw classes of vectors: normal clouds of deviation 1 around normal centers of deviation 0.5.

    Args:
        n_per_split: how many classes each split has.
        per_class: vectors per class.
        features: numbers in each vector.
        seed: equal seeds give equal vectors.

    Returns:
        Vectors, stamped ``synthetic``.
    """
    import numpy as np

    n_classes = sum(n_per_split.values())
    vectors = np.empty((n_classes * per_class, features), dtype=np.float32)
    for c in range(n_classes):
        rng = np.random.default_rng([seed, c])
        cloud = 0.5 * rng.normal(size=features) + rng.normal(size=(per_class, features))
        vectors[c * per_class : (c + 1) * per_class] = cloud
    content = {"per_class": per_class, "features": features, "seed": seed}
    return _stamped(vectors, n_per_split, per_class, {"vectors": VERSION, **content})


def _stamped(
    examples: NDArray[Any], n_per_split: Mapping[str, int], per_class: int, content: dict[str, Any]
) -> ClassData:
    import numpy as np

    n_classes = sum(n_per_split.values())
    bounds = np.cumsum([0, *n_per_split.values()])
    return ClassData(
        images=examples,
        offsets=np.arange(n_classes + 1, dtype=np.int64) * per_class,
        class_names=tuple(f"synthetic/{c:04d}" for c in range(n_classes)),
        splits={
            split: np.arange(first, last, dtype=np.int64)
            for split, first, last in zip(n_per_split, bounds[:-1], bounds[1:], strict=True)
        },
        fingerprint=digest({**content, "classes": dict(n_per_split)}),
        rotations=dict.fromkeys(n_per_split, "none"),
        stamps=(Stamp.SYNTHETIC,),
    )


def _draw_class(rng: np.random.Generator, n: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """``n`` drawings of one random prototype, ``[n, *shape]``."""
    import numpy as np

    height, width, channels = shape
    # Quadratic Bezier curves: [strokes, control points, (x, y)] in the unit square.
    prototype = rng.uniform(0.15, 0.85, (STROKES, 3, 2))
    hand = prototype + rng.normal(0.0, 0.03, (n, STROKES, 3, 2))
    hand += rng.normal(0.0, 0.03, (n, 1, 1, 2))
    t = np.linspace(0.0, 1.0, POINTS)[:, None]
    basis = np.hstack([(1 - t) ** 2, 2 * t * (1 - t), t**2])
    path = basis @ hand  # [n, strokes, points, 2]
    # A round pen is the product of its profiles along x and y, so a stroke is a matrix product.
    across = _pen(path[..., 0], width)
    down = _pen(path[..., 1], height)
    ink = np.minimum(np.swapaxes(down, -1, -2) @ across, 1.0)  # [n, strokes, height, width]
    color = rng.uniform(0.4, 1.0, (STROKES, channels)) if channels > 1 else np.ones((STROKES, 1))
    picture = (ink[..., None] * color[:, None, None, :]).max(axis=1)
    drawn: NDArray[np.uint8] = np.rint(255.0 * picture).astype(np.uint8)
    return drawn


def _pen(center: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """Profile of the pen at each pixel, ``[..., points, pixels]``."""
    import numpy as np

    grid = (np.arange(pixels) + 0.5) / pixels
    profile: NDArray[np.float64] = np.exp(-(((grid - center[..., None]) / 0.035) ** 2))
    return profile
