"""A user's own images as a source: one folder per class, or a list with the class of each image.

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
import posixpath
import unicodedata
from typing import TYPE_CHECKING

from pydantic import Field

from metabench import PLACE, DatasetSpec, Frozen, digest
from metabench.data import (
    Archive,
    Contents,
    ImageClass,
    Preparation,
    ResizeFilter,
)
from metabench_plugins.datasets.parts.class_splits import MOSTLY_TRAIN, Fractions, SplitSeed
from metabench_plugins.datasets.parts.listed_images import by_lists
from metabench_plugins.datasets.parts.own_files import own_classes, own_pack, own_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from metabench import ClassData
    from metabench.data import Originals

LICENCE = "the owner's"
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".tif", ".tiff"),
)
NO_IMAGES = ("", ".txt", ".md", ".csv", ".json", ".yaml", ".yml", ".xml", ".pdf", ".html", ".ini")
"""Suffixes of files that people lay beside images; they are left out without a word."""


def scan(originals: Originals) -> Contents:
    """Find the classes that lists give, or take each folder of images for a class.

    A class is named as in the list, or by its path below what all folders have in common.

    Raises:
        DataError: an image is listed in two classes, or no listed image is there.
    """
    pictures = [name for name in originals.names if posixpath.splitext(name)[1].lower() in SUFFIXES]
    if (listed := by_lists(originals, pictures)) is not None:
        classes = [ImageClass(name, "", tuple(own)) for name, own in listed.classes.items()]
        n_left = len(pictures) - sum(len(one.images) for one in classes)
        left = (f"Images left out: {n_left:,} that no list names.",) if n_left else ()
        return Contents(classes, notes=(*listed.notes, *left, *_alike(listed.classes)))
    images: dict[str, list[str]] = {}
    for name in pictures:
        images.setdefault(posixpath.dirname(name), []).append(name)
    loose = images.pop("", [])
    homes = {posixpath.dirname(folder) for folder in images}
    common = posixpath.commonpath(homes) if homes else ""
    classes = [
        ImageClass(posixpath.relpath(folder, common or "."), "", tuple(names))
        for folder, names in images.items()
    ]
    notes = [*_left_out(originals, images.keys())]
    if loose:
        what = f"{len(loose):,} in no folder of a class, such as {loose[0]}"
        notes.append(f"Images left out: {what}.")
    if empty := originals.empty_folders:
        notes.append(f"Empty folders: {len(empty):,}, such as {empty[0]}; they are no classes.")
    return Contents(classes, notes=(*notes, *_alike(one.name for one in classes)))


def _alike(names: Iterable[str]) -> Iterator[str]:
    """A sentence on classes that may be one, which two systems named."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    twins = [own for own in found.values() if len(own) > 1]
    if twins:
        yield (
            "Classes whose names differ only in capitals or in the code of an accent: "
            f"{sum(map(len, twins)):,}, such as {' and '.join(twins[0])}."
        )


def _left_out(originals: Originals, folders: Iterable[str]) -> Iterator[str]:
    """Sentences on the files that are no images, as far as can be told."""
    others: dict[str, list[str]] = {}
    for name in originals.names:
        suffix = posixpath.splitext(name)[1].lower()
        if suffix not in (*NO_IMAGES, *SUFFIXES):
            others.setdefault(suffix, []).append(name)
    with_images = {above for folder in folders for above in _and_above(folder)}
    for suffix, names in sorted(others.items()):
        lost = sorted({posixpath.dirname(name) for name in names} - with_images)
        more = f" and of {len(lost) - 1:,} more folders" if len(lost) > 1 else ""
        unmade = f" No class is made of {lost[0]}{more}, where nothing else is." if lost else ""
        yield f"Files left out: {len(names):,} of type {suffix}, such as {names[0]}.{unmade}"
    if originals.skipped:
        yield f"Files left out: {originals.skipped:,} that are hidden or a system's own."


def _and_above(folder: str) -> Iterator[str]:
    """A folder, and all in which it lies; the last is "", that of the user."""
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""


ARCHIVE = Archive(
    name="image-folder",
    files=(),
    layout="a folder, a zip or a tarball with one folder of images per class, or with images and "
    "a labels.csv (or train.csv, val.csv and test.csv) with the columns filename and label",
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
        json_schema_extra=PLACE,
        description="A folder, a zip file or a tarball with one folder of images per class, or "
        "with images and a list: labels.csv, or train.csv, val.csv and test.csv, with the columns "
        "filename and label. It is packed at its first use, and again when its files change. "
        "A relative path begins in the folder of the command.",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="Instead of path: the name that the images were given in `metabench data "
        "import image-folder`.",
    )
    splits: str | None = Field(
        default=None,
        json_schema_extra=PLACE,
        description="A JSON or YAML file with the classes of `train`, `val` and `test`, a CSV "
        "file with the columns class and split, or `torchmeta:NAME` for a split of torchmeta, "
        "such as `torchmeta:cub`. Without it the folders train, val and test (or base, val and "
        "novel) are the splits; without these folders classes are split at random by `fractions` "
        "and `seed`, and results are stamped drawn-split.",
    )
    fractions: Fractions = MOSTLY_TRAIN
    seed: SplitSeed = 0
    size: int = Field(
        default=84, ge=8, le=512, description="Height and width of the images in pixels."
    )
    resize: ResizeFilter = Field(default="lanczos", description="Filter for resizing the images.")

    def preparation(self) -> Preparation:
        """What must have been done to the images."""
        return Preparation(size=self.size, resize=self.resize)


def load(params: ImageFolderParams) -> ClassData:
    """Load the images of a path or of an imported name, packing a path that is new.

    Raises:
        DataError: there are no images, some cannot be read, or the split does not fit them.
    """
    pack = own_pack(
        ARCHIVE,
        params.path,
        params.name,
        preparation=params.preparation(),
        ignored={*NO_IMAGES} - {".csv"},
    )
    names = pack.class_names
    split = own_split(params.splits, names, params.fractions, seed=params.seed)
    # Equal pixels and classes are equal data, wherever they lay.
    content = {"images": pack.index.images_sha256, "classes": [*names], "splits": split.classes}
    return dataclasses.replace(
        own_classes(pack, split),
        fingerprint=digest({**content, "offsets": pack.offsets().tolist()}),
    )


def synthesize(params: ImageFolderParams) -> ClassData:
    """Generate classes of colored strokes instead."""
    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n_classes = {"meta-train": 20, "meta-val": 8, "meta-test": 10}
    return synthetic_classes(n_classes, 24, shape=(params.size, params.size, 3), seed=4)


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=4,
    summary="Your own images, one folder per class or with a list; a file, the folders, the lists "
    "or a seed determine the split.",
    params="metabench_plugins.datasets.image_folder:ImageFolderParams",
    kind="classes",
    factory="metabench_plugins.datasets.image_folder:load",
    synthetic="metabench_plugins.datasets.image_folder:synthesize",
    archive="metabench_plugins.datasets.image_folder:ARCHIVE",
    licence=LICENCE,
)
