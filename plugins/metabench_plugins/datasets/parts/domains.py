"""Shared by the datasets of color images: loading a pack with its splits, and synthetic data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from metabench import Frozen, digest
from metabench.data import Crop, Preparation, ResizeFilter, open_pack
from metabench_plugins.datasets.parts.packed import SPLITS

if TYPE_CHECKING:
    from metabench import ClassData

SIZE = 84


class DomainParams(Frozen):
    """How the images of a domain are prepared."""

    size: int = Field(
        default=SIZE, ge=8, le=512, description="Height and width of the images in pixels."
    )
    resize: ResizeFilter = Field(default="lanczos", description="Filter for resizing the images.")

    def preparation(self) -> Preparation:
        """What must have been done to the images."""
        return Preparation(size=self.size, resize=self.resize)


class BoxedParams(DomainParams):
    """The same for a domain that knows where in an image its object is."""

    crop: Crop = Field(
        default="box",
        description="box: crop each image to the bounding box of its object; none: use the "
        "whole image.",
    )

    def preparation(self) -> Preparation:
        """What must have been done to the images."""
        return Preparation(size=self.size, resize=self.resize, crop=self.crop)


def open_domain(name: str, preparation: Preparation, *, domain: str = "") -> ClassData:
    """Open the classes of one domain, under the one split that its pack holds.

    Args:
        name: the dataset whose pack it is.
        preparation: what must have been done to the images.
        domain: the domain wanted of a pack of several; named like the dataset if empty.

    Returns:
        Upright images, memory-mapped, stamped as the pack is.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    import numpy as np

    from metabench import ClassData

    pack = open_pack(name, preparation)
    domain = domain or name
    entries = [entry for entry in pack.index.classes if entry.name.startswith(f"{domain}/")]
    first, last = entries[0].start, entries[-1].stop  # Sorted by name, so they lie together.
    (split,) = pack.index.splits.values()
    ids = {entry.name: c for c, entry in enumerate(entries)}
    return ClassData(
        images=pack.images()[first:last],
        offsets=np.array([0, *(entry.stop - first for entry in entries)], dtype=np.int64),
        class_names=tuple(ids),
        splits={
            part: np.array([ids[c] for c in split[part] if c in ids], dtype=np.int64)
            for part in SPLITS
        },
        fingerprint=digest({"pack": pack.index.digest, "domain": domain}),
        rotations=dict.fromkeys(SPLITS, "none"),
        stamps=pack.index.stamps,
    )


def look_alike(n_per_split: tuple[int, int, int], *, size: int, seed: int) -> ClassData:
    """Generate classes of color drawings in place of a domain.

    Args:
        n_per_split: how many classes meta-train, meta-val and meta-test have.
        size: height and width in pixels.
        seed: each domain has its own, so that no two show the same drawings.
    """
    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    counts = dict(zip(SPLITS, n_per_split, strict=True))
    return synthetic_classes(counts, PER_CLASS, shape=(size, size, 3), seed=seed)


PER_CLASS = 24
"""Drawings per class of a look-alike: 5 shots and 15 queries fit."""
