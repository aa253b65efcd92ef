"""CIFAR-10: 10 classes of 5,000 training and 1,000 test images, 32x32 pixels (Krizhevsky 2009)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pydantic import Field

from metabench import DatasetSpec, Frozen, digest
from metabench.data import Archive, Preparation, ResizeFilter, open_pack
from metabench_plugins.datasets.parts.cifar_files import (
    CITATION,
    LICENCE,
    SIZE,
    contents,
    find_batches,
    official,
    scan_batches,
    scan_folders,
)

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Contents, Originals

NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
"""The classes by number."""
PER_CLASS = {"train": 5000, "test": 1000}
BATCHES = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}


def scan(originals: Originals) -> Contents:
    """Find the images, in the official batches or in folders of PNG files."""
    if homes := find_batches(originals, BATCHES):
        classes = scan_batches(originals, BATCHES, homes, labels=NAMES, field_name="labels")
    else:
        classes = scan_folders(originals, NAMES)
    return contents(originals, classes, PER_CLASS)


ARCHIVE = Archive(
    name="cifar10",
    # Digest as Keras publishes it for this file.
    files=(
        official(
            "cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            170498071,
        ),
    ),
    layout=(
        "a folder with cifar-10-python.tar.gz, with data_batch_1 to data_batch_5 and test_batch, "
        "or with PNG images in train/<class>/ and test/<class>/, which may be zipped"
    ),
    scan=scan,
    parts=dict.fromkeys(PER_CLASS, len(NAMES)),
    per_class=None,
    mode="RGB",
    preparation=Preparation(size=SIZE, resize="lanczos"),
    licence=LICENCE,
    citation=CITATION,
    archives=("*.zip",),
)


class CifarParams(Frozen):
    """How the images are prepared; at 32 pixels they are as published."""

    size: int = Field(
        default=SIZE, ge=8, le=512, description="Height and width of the images in pixels."
    )
    resize: ResizeFilter = Field(default="lanczos", description="Filter for resizing the images.")


def load(params: CifarParams) -> ClassData:
    """Load the packed images: training images are meta-train, test images meta-test.

    Both splits hold the same ten classes, as ``train/cat`` and ``test/cat``, always in the same
    order: this is ordinary classification of new images, not few-shot learning of new classes.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    from metabench_plugins.datasets.parts.packed import parts_as_splits, upright_classes

    pack = open_pack(ARCHIVE.name, Preparation(size=params.size, resize=params.resize))
    data = upright_classes(pack, parts_as_splits(pack.class_names))
    return dataclasses.replace(data, supervised=True)


def synthesize(params: CifarParams) -> ClassData:
    """Generate a look-alike: ten classes of colored strokes, 100 + 20 images each."""
    import numpy as np

    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n, n_train, shape = len(NAMES), 100, (params.size, params.size, 3)
    drawn = synthetic_classes({"meta-train": n}, 120, shape=shape, seed=2)
    by_class = drawn.images.reshape(n, 120, *shape)
    parts = {"train": by_class[:, :n_train], "test": by_class[:, n_train:]}
    sizes = [images.shape[1] for images in parts.values() for _ in NAMES]
    return dataclasses.replace(
        drawn,
        images=np.concatenate([images.reshape(-1, *shape) for images in parts.values()]),
        offsets=np.cumsum([0, *sizes], dtype=np.int64),
        class_names=tuple(f"{part}/{name}" for part in parts for name in NAMES),
        splits={
            "meta-train": np.arange(n),
            "meta-val": np.arange(0),
            "meta-test": np.arange(n, 2 * n),
        },
        rotations=dict.fromkeys(("meta-train", "meta-val", "meta-test"), "none"),
        fingerprint=digest({"drawn": drawn.fingerprint, "train": n_train}),
        supervised=True,
    )


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=2,
    summary="CIFAR-10: 10 classes, each with 5,000 training and 1,000 test images of "
    "32x32 pixels; training and test have the same classes.",
    params="metabench_plugins.datasets.cifar10:CifarParams",
    reference="Krizhevsky 2009",
    kind="classes",
    factory="metabench_plugins.datasets.cifar10:load",
    synthetic="metabench_plugins.datasets.cifar10:synthesize",
    archive="metabench_plugins.datasets.cifar10:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
