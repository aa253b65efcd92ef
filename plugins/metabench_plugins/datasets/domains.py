"""What the colour image domains share: from a pack and its splits to data, and look-alikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from metabench.data import Pack, ResizeFilter
from metabench.runspec import Frozen, digest

if TYPE_CHECKING:
    from metabench.protocols import ClassData

SPLITS = ("meta-train", "meta-val", "meta-test")
SIZE = 84


class DomainParams(Frozen):
    """How the images of a domain are prepared."""

    size: int = Field(default=SIZE, ge=8, le=512, description="Height and width in pixels.")
    resize: ResizeFilter = Field(default="lanczos", description="Filter of the resizing.")


def packed_domain(pack: Pack, *, domain: str) -> ClassData:
    """The classes of one domain of a pack, under the one split that the pack holds.

    Args:
        pack: of one domain or of several; class names begin with ``domain/``.
        domain: which classes are wanted.

    Returns:
        Upright images, memory-mapped, stamped as the pack is.
    """
    import numpy as np

    from metabench.protocols import ClassData

    entries = [entry for entry in pack.index.classes if entry.name.startswith(f"{domain}/")]
    first, last = entries[0].start, entries[-1].stop  # Sorted by name, so they lie together.
    (split,) = pack.index.splits.values()
    ids = {entry.name: c for c, entry in enumerate(entries)}
    return ClassData(
        images=pack.images()[first:last],
        offsets=np.array([0, *(entry.stop - first for entry in entries)], dtype=np.int64),
        class_names=tuple(ids),
        splits={
            name: np.array([ids[c] for c in split[name] if c in ids], dtype=np.int64)
            for name in SPLITS
        },
        fingerprint=digest({"pack": pack.index.digest, "domain": domain}),
        rotations=dict.fromkeys(SPLITS, "none"),
        stamps=pack.index.stamps,
    )


def look_alike(n_per_split: tuple[int, int, int], *, size: int, seed: int) -> ClassData:
    """Generate classes of colour drawings in place of a domain.

    Args:
        n_per_split: how many classes meta-train, meta-val and meta-test have.
        size: height and width in pixels.
        seed: each domain has its own, so that no two show the same drawings.
    """
    from metabench_plugins.datasets.synthetic import synthetic_classes

    counts = dict(zip(SPLITS, n_per_split, strict=True))
    return synthetic_classes(counts, PER_CLASS, shape=(size, size, 3), seed=seed)


PER_CLASS = 24
"""Drawings per class of a look-alike: 5 shots and 15 queries fit."""
