"""A user's own images as a source, one folder per class.

A suite file of a few lines turns them into a benchmark, which is run by its path
(``metabench run --suite photos.yaml --budget smoke``)::

    name: photos
    version: 1
    task: classification
    metric: accuracy
    space: conv4
    sources: [{name: photos, dataset: image-folder, params: {path: photos, size: 32}}]
    protocol: {ways: 5, shots: 1, queries: 5}
    settings: {5w1s: {}}
    budgets: {smoke: {meta_steps: 20, meta_batch: 4}}
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from metabench import DataError, DatasetSpec, Frozen, digest
from metabench.data import (
    Archive,
    Contents,
    ImageClass,
    Preparation,
    ResizeFilter,
    import_archive,
    open_pack,
)
from metabench_plugins.datasets.parts.class_splits import (
    seeded_split,
    split_by_folder,
    split_from_file,
)

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Originals, Pack

LICENCE = "the owner's"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


def scan(originals: Originals) -> Contents:
    """Take each folder of images for a class, named by its path below what all have in common."""
    images: dict[str, list[str]] = {}
    for name in originals.names:
        folder, _, base = name.rpartition("/")
        if folder and base.lower().endswith(SUFFIXES) and not base.startswith("."):
            images.setdefault(folder, []).append(name)
    homes = {posixpath.dirname(folder) for folder in images}
    common = posixpath.commonpath(homes) if homes else ""
    return Contents(
        [
            ImageClass(posixpath.relpath(folder, common or "."), "", tuple(names))
            for folder, names in images.items()
        ]
    )


ARCHIVE = Archive(
    name="image-folder",
    files=(),
    layout="a folder, a zip or a tarball with one folder of images per class",
    scan=scan,
    parts={},
    per_class=None,
    mode="RGB",
    preparation=Preparation(size=84, resize="lanczos"),
    licence=LICENCE,
    named=True,
)


class ImageFolderParams(Frozen):
    """Which images, how they are split, and how they are prepared."""

    path: str | None = Field(
        default=None,
        description="A folder, a zip file or a tarball with one folder of images per class. It "
        "is packed at its first use, and again when its files change.",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="Instead of path: the name that the images were given in `metabench data "
        "import image-folder`.",
    )
    splits: str | None = Field(
        default=None,
        description="A JSON or YAML file with the classes of `train`, `val` and `test`, a CSV "
        "file with the columns class and split, or `torchmeta:NAME` for a split of torchmeta, "
        "such as `torchmeta:cub`. Without it the folders train, val and test are the splits; "
        "without these folders classes are split at random by `fractions` and `seed`.",
    )
    fractions: tuple[float, float, float] = Field(
        default=(0.64, 0.16, 0.2),
        description="Fractions of the classes in meta-train, meta-validation and meta-test, if "
        "they are split at random.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the random split.")
    size: int = Field(
        default=84, ge=8, le=512, description="Height and width of the images in pixels."
    )
    resize: ResizeFilter = Field(default="lanczos", description="Filter for resizing the images.")

    @model_validator(mode="after")
    def _check(self) -> ImageFolderParams:
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError("fractions must be at least 0 and sum to 1")
        return self

    def preparation(self) -> Preparation:
        """What must have been done to the images."""
        return Preparation(size=self.size, resize=self.resize)


def load(params: ImageFolderParams) -> ClassData:
    """Load the images of a path or of an imported name, packing a path that is new.

    Raises:
        DataError: there are no images, some cannot be read, or the split does not fit them.
    """
    from metabench_plugins.datasets.parts.packed import upright_classes

    pack = _pack(params)
    names = pack.class_names
    if params.splits:
        splits = split_from_file(_split_file(params.splits), names)
    else:
        splits = split_by_folder(names) or seeded_split(names, params.fractions, seed=params.seed)
    # Equal pixels and classes are equal data, wherever they lay.
    content = {"images": pack.index.images_sha256, "classes": [*names], "splits": splits}
    return dataclasses.replace(
        upright_classes(pack, splits),
        fingerprint=digest({**content, "offsets": pack.offsets().tolist()}),
    )


def _split_file(splits: str) -> Path:
    from metabench_plugins.datasets.parts.torchmeta_bridge import split_folder

    owner, _, name = splits.partition(":")
    return split_folder(name) if owner == "torchmeta" else Path(splits).expanduser()


def _pack(params: ImageFolderParams) -> Pack:
    if (params.path is None) == (params.name is None):
        raise DataError(
            "image-folder needs either a path or a name, not both.",
            hint="In a suite: params: {path: my-photos}.",
        )
    if params.name is not None:
        return _named_pack(params.name, params.preparation())
    path = Path(params.path or "").expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist.", hint=f"path must be {ARCHIVE.layout}.")
    slug = re.sub(r"[^\w-]+", "-", path.resolve().name).strip("-") or "images"
    name = f"{ARCHIVE.name}/{slug}-{digest(_listing(path))}"
    try:
        return open_pack(name, params.preparation())
    except DataError:
        archive = dataclasses.replace(ARCHIVE, name=name)
        return import_archive(archive, path, preparation=params.preparation())


def _named_pack(name: str, preparation: Preparation) -> Pack:
    try:
        return open_pack(f"{ARCHIVE.name}/{name}", preparation)
    except DataError as error:
        raise DataError(
            error.message,
            hint=f"Run `metabench data import {ARCHIVE.name} PATH --name {name} "
            f"--size {preparation.size} --resize {preparation.resize}`.",
        ) from error


def _listing(path: Path) -> list[tuple[str, int, int]]:
    """Name, length and time of change of each file: equal listings are taken for equal files."""
    files = [path] if path.is_file() else [Path(top, n) for top, _, ns in os.walk(path) for n in ns]
    stats = [(str(file.resolve()), file.stat()) for file in sorted(files)]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def synthesize(params: ImageFolderParams) -> ClassData:
    """Generate classes of colored strokes instead."""
    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n_classes = {"meta-train": 20, "meta-val": 8, "meta-test": 10}
    return synthetic_classes(n_classes, 24, shape=(params.size, params.size, 3), seed=4)


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=1,
    summary="Your own images, one folder per class; a file, the folders or a seed "
    "determine the split.",
    params="metabench_plugins.datasets.image_folder:ImageFolderParams",
    kind="classes",
    factory="metabench_plugins.datasets.image_folder:load",
    synthetic="metabench_plugins.datasets.image_folder:synthesize",
    archive="metabench_plugins.datasets.image_folder:ARCHIVE",
    licence=LICENCE,
)
