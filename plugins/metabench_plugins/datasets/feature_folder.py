"""A user's own vectors as a source: frozen features, text embeddings, or the rows of a table.

``features.npy`` holds one vector per row and ``labels.npy`` the class of each. A suite file of a
few lines turns them into a benchmark::

    name: embeddings
    version: 1
    task: classification
    metric: accuracy
    space: mlp
    sources: [{name: embeddings, dataset: feature-folder, params: {path: embeddings.npz}}]
    protocol: {ways: 5, shots: 1, queries: 5}
    settings: {5w1s: {}}
    budgets: {smoke: {meta_steps: 20, meta_batch: 4}}
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from metabench import PLACE, DataError, DatasetSpec, Frozen, digest
from metabench.data import Archive, Contents, ImageClass
from metabench_plugins.datasets.parts.array_files import (
    MAX_FEATURES,
    MAX_ROWS,
    ArrayFile,
    open_array,
)
from metabench_plugins.datasets.parts.class_splits import MOSTLY_TRAIN, Fractions, SplitSeed
from metabench_plugins.datasets.parts.own_files import own_classes, own_pack, own_split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from metabench import ClassData, Scaling
    from metabench.data import Originals

LICENCE = "the owner's"
LAYOUT = "a folder or an .npz file with features.npy and labels.npy (or labels.txt)"
MAX_LABEL = 256
"""No label is longer, in characters."""


def scan(originals: Originals) -> Contents:
    """Take the rows of each label for a class.

    Raises:
        DataError: the files are missing or no arrays, or there is not one label per row.
    """
    name = _only(originals, "features.npy")
    features = open_array(originals.open(name), f"{name} in {originals.path}")
    if len(features.shape) != 2 or features.dtype.kind not in "fiu":
        raise DataError(
            f"{features.what} is {features.dtype} {list(features.shape)}.",
            hint="It must hold numbers, [examples, features].",
        )
    n, width = features.shape
    if not (0 < n <= MAX_ROWS and 0 < width <= MAX_FEATURES):
        raise DataError(
            f"{features.what} has {n:,} rows of {width:,} numbers.",
            hint=f"It may have 1 to {MAX_ROWS:,} rows of 1 to {MAX_FEATURES:,} numbers.",
        )
    labels = _labels(originals)
    if len(labels) != n:
        raise DataError(
            f"{features.what} has {n:,} rows, but there are {len(labels):,} labels.",
            hint="Give each row one label.",
        )
    rows: dict[str, list[str]] = {}
    for index, label in enumerate(labels):
        if not label or len(label) > MAX_LABEL or not label.isprintable():
            raise DataError(
                f"Label {index} in {originals.path} is {label[:40]!r}.",
                hint=f"A label is printable text of 1 to {MAX_LABEL} characters, or a number.",
            )
        row = f"{name}/{index}"
        originals.provide(row, partial(features.row, index), of=name, place=index)
        rows.setdefault(label, []).append(row)
    return Contents([ImageClass(label, "", tuple(own)) for label, own in rows.items()])


def _only(originals: Originals, *names: str) -> str:
    """The only file of one of these names."""
    found = [name for name in originals.names if name.rpartition("/")[2] in names]
    if len(found) != 1:
        raise DataError(
            f"{originals.path} holds {len(found) or 'no'} {' or '.join(names)}.",
            hint=f"PATH must be {LAYOUT}.",
        )
    return found[0]


def _labels(originals: Originals) -> list[str]:
    name = _only(originals, "labels.npy", "labels.txt")
    what = f"{name} in {originals.path}"
    if name.endswith(".txt"):
        try:
            return originals.read(name).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{what} is not text in UTF-8.", hint="Save it as UTF-8.") from error
    labels: ArrayFile = open_array(originals.open(name), what)
    fits = 0 < labels.dtype.itemsize <= 4 * MAX_LABEL
    if len(labels.shape) != 1 or labels.dtype.kind not in "iuU" or not fits:
        raise DataError(
            f"{what} is {labels.dtype} {list(labels.shape)}.",
            hint=f"It must hold one integer, or one text of at most {MAX_LABEL} characters, for "
            "each row of features.npy.",
        )
    return [str(label) for label in labels.all().tolist()]


ARCHIVE = Archive(
    name="feature-folder",
    files=(),
    layout=LAYOUT,
    scan=scan,
    parts={},
    per_class=None,
    mode="vectors",
    preparation=None,
    licence=LICENCE,
    named=True,
)


class FeatureFolderParams(Frozen):
    """Which vectors, how they are split, and how they are scaled."""

    path: str | None = Field(
        default=None,
        json_schema_extra=PLACE,
        description="A folder or an .npz file with features.npy, numbers [examples, features], "
        "and labels.npy or labels.txt, the class of each row. It is packed at its first use, and "
        "again when its files change. A relative path begins in the folder of the command.",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="Instead of path: the name that the vectors were given in `metabench data "
        "import feature-folder`.",
    )
    splits: str | None = Field(
        default=None,
        json_schema_extra=PLACE,
        description="A JSON or YAML file with the classes of `train`, `val` and `test`, or a CSV "
        "file with the columns class and split. Without it, labels such as train/cats, val/dogs "
        "and test/eels are the splits; without such labels classes are split at random by "
        "`fractions` and `seed`, and results are stamped drawn-split.",
    )
    fractions: Fractions = MOSTLY_TRAIN
    seed: SplitSeed = 0
    scaling: Literal["none", "standard"] = Field(
        default="none",
        description="What is done to the vectors. none: nothing; standard: each feature gets mean "
        "0 and standard deviation 1 over the vectors of the meta-train classes.",
    )


def load(params: FeatureFolderParams) -> ClassData:
    """Load the vectors of a path or of an imported name, packing a path that is new.

    Raises:
        DataError: there are no vectors, some are not finite, or the split does not fit them.
    """
    pack = own_pack(ARCHIVE, params.path, params.name, preparation=None)
    names = pack.class_names
    split = own_split(params.splits, names, params.fractions, seed=params.seed)
    # Equal vectors and classes are equal data, wherever they lay.
    content = {"features": pack.index.images_sha256, "classes": [*names], "splits": split.classes}
    content |= {"offsets": pack.offsets().tolist(), "scaling": params.scaling}
    return _scaled(
        dataclasses.replace(own_classes(pack, split), fingerprint=digest(content)),
        params.scaling,
    )


def _scaled(data: ClassData, scaling: str) -> ClassData:
    if scaling == "none":
        return data
    return dataclasses.replace(data, scaling=_standard(data))


def _standard(data: ClassData) -> Scaling:
    """Mean 0 and deviation 1 over the meta-train classes; a constant feature becomes 0."""
    import numpy as np

    from metabench import Scaling

    count, total, squares = 0, np.zeros(data.images.shape[1]), np.zeros(data.images.shape[1])
    center: NDArray[np.float64] | None = None
    for c in data.splits["meta-train"]:
        rows = data.images[data.offsets[c] : data.offsets[c + 1]].astype(np.float64)
        center = rows.mean(axis=0) if center is None else center  # against cancellation
        count += len(rows)
        total += (rows - center).sum(axis=0)
        squares += np.square(rows - center).sum(axis=0)
    if center is None:
        return Scaling()
    shift = total / count
    variance = squares / count - np.square(shift)
    deviation = np.sqrt(np.maximum(variance, 0))
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-12)
    offset = -(center + shift) * scale
    return Scaling(scale.astype(np.float32), offset.astype(np.float32))


def synthesize(params: FeatureFolderParams) -> ClassData:
    """Generate clouds of vectors instead."""
    from metabench_plugins.datasets.parts.synthetic import synthetic_vectors

    n_classes = {"meta-train": 20, "meta-val": 8, "meta-test": 10}
    drawn = synthetic_vectors(n_classes, 24, features=64, seed=6)
    content = {"drawn": drawn.fingerprint, "scaling": params.scaling}
    return _scaled(dataclasses.replace(drawn, fingerprint=digest(content)), params.scaling)


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=1,
    summary="Your own vectors with a label each; a file, the labels or a seed determine the split.",
    params="metabench_plugins.datasets.feature_folder:FeatureFolderParams",
    kind="classes",
    factory="metabench_plugins.datasets.feature_folder:load",
    synthetic="metabench_plugins.datasets.feature_folder:synthesize",
    archive="metabench_plugins.datasets.feature_folder:ARCHIVE",
    licence=LICENCE,
)
