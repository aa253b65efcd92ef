"""The files of CIFAR-10 and CIFAR-100 as published: pickled batches, or folders of PNG images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench import DataError, Stamp
from metabench.data import Contents, ImageClass, RemoteFile, read_pickle
from metabench_plugins.datasets.parts.packed import each_once
from metabench_plugins.datasets.parts.pickled_images import (
    field,
    images_by_number,
    provide_images,
    whole_numbers,
)

if TYPE_CHECKING:
    from metabench.data import Originals

SIZE = 32
LICENCE = "none stated; research use with citation"
CITATION = (
    "A. Krizhevsky (2009). Learning multiple layers of features from tiny images. Technical "
    "report, University of Toronto."
)

_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_IMAGE = re.compile(r"(?:^|/)(?P<part>train|test)/(?P<label>[^/]+)/[^/.][^/]*\.png$")


def official(name: str, sha256: str, size: int) -> RemoteFile:
    """A published file by its name, on the servers of its author."""
    urls = tuple(mirror + name for mirror in _MIRRORS)
    return RemoteFile(name=name, urls=urls, digest=f"sha256:{sha256}", size=size)


def find_batches(originals: Originals, batches: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Where the batches of these file names lie; empty where there are none.

    Args:
        originals: the user's files.
        batches: file names of the batches of each part.

    Raises:
        DataError: some are there and some are not.
    """
    wanted = [name for names in batches.values() for name in names]
    homes: dict[str, str] = {}
    for home in sorted(originals.names, key=lambda name: (name.count("/"), name)):
        base = home.rpartition("/")[2]
        if base in wanted:
            homes.setdefault(base, home)
    missing = [name for name in wanted if name not in homes]
    if homes and missing:
        raise DataError(
            f"{originals.path} has no {missing[0]}.",
            hint="Unpack or download the published file again.",
        )
    return homes


def scan_batches(
    originals: Originals,
    batches: Mapping[str, Sequence[str]],
    homes: Mapping[str, str],
    *,
    labels: Sequence[str],
    field_name: str,
) -> list[ImageClass]:
    """Find the images of each class of each part, in the order of the batches.

    Args:
        originals: the user's files.
        batches: file names of the batches of each part.
        homes: where these lie.
        labels: the classes, by their number in a batch.
        field_name: what a batch calls the numbers.

    Raises:
        DataError: a batch is damaged.
    """
    images: dict[tuple[str, int], list[str]] = {}
    for part, names in batches.items():
        for name in names:
            what = f"{homes[name]} in {originals.path}"
            batch: Any = read_pickle(originals, homes[name])
            rows = provide_images(originals, homes[name], field(batch, "data", what), (SIZE, SIZE))
            numbers = whole_numbers(field(batch, field_name, what), what)
            if len(numbers) != len(rows) or not all(0 <= n < len(labels) for n in numbers):
                raise DataError(
                    f"{what} has {field_name} that do not match its images.",
                    hint="Download it again.",
                )
            for row, number in zip(rows, numbers, strict=True):
                images.setdefault((part, number), []).append(row)
    return [
        ImageClass(name=f"{part}/{labels[number]}", group="", images=tuple(found))
        for (part, number), found in images.items()
    ]


def find_pickles(originals: Originals, benchmark: str) -> dict[str, str]:
    """Where the pickles of a benchmark lie, by part, such as ``CIFAR_FS_train.pickle``.

    Raises:
        DataError: some are there and some are not.
    """
    start = benchmark.replace("-", "_")
    found: dict[str, str] = {}
    for name in sorted(originals.names, key=lambda name: (name.count("/"), name)):
        for part in ("train", "val", "test"):
            if name.rpartition("/")[2].lower() == f"{start}_{part}.pickle":
                found.setdefault(part, name)
    missing = {"train", "val", "test"} - {*found}
    if found and missing:
        raise DataError(
            f"{originals.path} has {next(iter(found.values()))}, but not that of {min(missing)}.",
            hint="Put the files of train, val and test into one folder.",
        )
    return found


def scan_pickles(originals: Originals, pickles: Mapping[str, str]) -> list[ImageClass]:
    """Find the images of each class: rows of ``data``, by the numbers that ``labels`` has.

    Classes are named by their number, because not all of these files have names.
    """
    classes = []
    for part, name in pickles.items():
        what = f"{name} in {originals.path}"
        content = read_pickle(originals, name)
        rows = provide_images(originals, name, field(content, "data", what), (SIZE, SIZE))
        found = images_by_number(rows, field(content, "labels", what), what)
        classes += [
            ImageClass(name=f"{part}/{number:03d}", group="", images=tuple(images))
            for number, images in found.items()
        ]
    return classes


def scan_folders(originals: Originals, labels: Sequence[str]) -> list[ImageClass]:
    """Find ``train|test/<class>/<image>.png`` at any depth."""
    images: dict[tuple[str, str], list[str]] = {}
    for name in originals.names:
        found = _IMAGE.search(name)
        if found and found["label"] in labels:
            images.setdefault((found["part"], found["label"]), []).append(name)
    return [
        ImageClass(name=f"{part}/{label}", group="", images=tuple(each_once(names)))
        for (part, label), names in images.items()
    ]


def contents(
    originals: Originals, classes: Sequence[ImageClass], per_class: Mapping[str, int]
) -> Contents:
    """The classes, stamped where any has fewer images than were published.

    Raises:
        DataError: one has more.
    """
    partial = False
    for found in classes:
        expected = per_class[found.name.partition("/")[0]]
        if len(found.images) > expected:
            raise DataError(
                f"{originals.path} has {len(found.images)} images of {found.name}, not {expected}.",
                hint="Import a folder that holds the published images only.",
            )
        partial |= len(found.images) < expected
    return Contents(classes, stamps=(Stamp.SUBSET,) if partial else ())
