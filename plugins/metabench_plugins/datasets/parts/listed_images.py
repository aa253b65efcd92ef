"""Lists of a user's own images: ``labels.csv``, or ``train.csv``, ``val.csv`` and ``test.csv``."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metabench import DataError

if TYPE_CHECKING:
    from metabench.data import Originals

LISTS = {
    "labels.csv": "",
    "train.csv": "train",
    "val.csv": "val",
    "valid.csv": "val",
    "validation.csv": "val",
    "test.csv": "test",
}
"""File names of lists, and the split of what they list; that of labels.csv is open."""
FILE = ("filename", "file_name", "file", "image", "path")
LABEL = ("label", "class")
"""What the columns are called, in small letters."""


@dataclass(slots=True)
class Listed:
    """What lists say of the images of a folder.

    Attributes:
        classes: images of each class, by its name; with several lists, ``train/cat``.
        notes: a sentence on listed images that are missing.
    """

    classes: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def by_lists(originals: Originals, images: Sequence[str]) -> Listed | None:
    """The classes that lists give; None without lists, and where one says what the folders say.

    Args:
        originals: the user's files.
        images: names of the images among them.

    Raises:
        DataError: a list cannot be read, an image has two labels, a label is no text of one line,
            or none of the listed images is there although all images lie in one folder, or lists
            say the split.
    """
    lists = _lists(originals)
    rows = [(part, file, label) for part, pairs in lists.items() for file, label in pairs]
    homes, folders = _homes(images), {_folder(image) for image in images}
    found = Listed()
    label_of: dict[str, str] = {}
    absent = []
    for part, file, label in rows:
        image = _image(file, homes, folders)
        if image is None:
            absent.append(file)
            continue
        name = f"{part}/{label}" if len(lists) > 1 else label
        if label_of.setdefault(image, name) != name:
            raise DataError(
                f"{image} in {originals.path} is listed as {label_of[image]} and as {name}.",
                hint="An image has one class. Remove one of the two lines.",
            )
        found.classes.setdefault(name, []).append(image)
    if not label_of:
        in_one_folder = len({posixpath.dirname(image) for image in images}) == 1
        if rows and images and (in_one_folder or len(lists) > 1):
            raise DataError(
                f"None of the {len(rows):,} images that lists in {originals.path} name is there: "
                f"{absent[0]!r} is listed, {images[0]!r} is there.",
                hint="Give the files the names that the lists have, or correct the lists.",
            )
        return None
    own_folders = (_folder(image) == name.rpartition("/")[2] for image, name in label_of.items())
    if len(lists) == 1 and all(own_folders):
        return None
    found.classes = {name: list(dict.fromkeys(own)) for name, own in found.classes.items()}
    if absent:
        found.notes = (
            f"{len(absent):,} of the {len(rows):,} listed images are missing, such as {absent[0]}.",
        )
    return found


def _lists(originals: Originals) -> dict[str, list[tuple[str, str]]]:
    """Pairs of file and label by split; a labels.csv that is a list is the only one."""
    places: dict[str, str] = {}
    for name in sorted(originals.names, key=lambda name: (name.count("/"), name)):
        if (base := posixpath.basename(name).lower()) in LISTS:
            places.setdefault(LISTS[base], name)
    whole = places.pop("", None)
    if whole is not None and (rows := _read(originals, whole)) is not None:
        return {"": rows}
    found = {part: _read(originals, name) for part, name in places.items()}
    return {part: rows for part, rows in found.items() if rows is not None}


def _read(originals: Originals, name: str) -> list[tuple[str, str]] | None:
    """Pairs of file and label; None where the first line does not name these columns."""
    data = originals.read(name)
    first = data.partition(b"\n")[0].decode("utf-8-sig", "replace")
    separator = next((sign for sign in ",;\t" if sign in first), ",")
    columns = [head.strip(' "\r').lower() for head in first.split(separator)]
    file, label = (
        next((i for i, column in enumerate(columns) if column in known), None)
        for known in (FILE, LABEL)
    )
    if file is None or label is None:
        return None
    try:
        rows = list(csv.reader(data.decode("utf-8-sig").splitlines(), delimiter=separator))[1:]
        pairs = [(row[file].strip(), row[label].strip()) for row in rows if row]
    except (UnicodeDecodeError, csv.Error, IndexError) as error:
        raise DataError(
            f"{name} in {originals.path} is no list of images.",
            hint="Save it as CSV in UTF-8, with the name of a file and a label in each line.",
        ) from error
    for _, text in pairs:
        if not text or not text.isprintable():
            raise DataError(
                f"{name} in {originals.path} has the label {text!r}.",
                hint="A label is text of one line.",
            )
    return pairs


def _homes(images: Iterable[str]) -> Mapping[str, list[str]]:
    homes: dict[str, list[str]] = {}
    for image in images:
        homes.setdefault(posixpath.basename(image), []).append(image)
    return homes


def _image(file: str, homes: Mapping[str, list[str]], folders: Container[str]) -> str | None:
    """The image of a line: what ends as the line says, if one does; else the one of that name.

    It lies in the folder that the line names, where there is such a folder: ``cat/0.png`` that is
    absent is not ``dog/0.png``.
    """
    wanted = posixpath.normpath(file.replace("\\", "/"))
    candidates = homes.get(posixpath.basename(wanted), [])
    own = [image for image in candidates if f"/{image}".endswith(f"/{wanted}")]
    home = _folder(wanted)
    fitting = own or [one for one in candidates if home not in folders or _folder(one) == home]
    return fitting[0] if len(fitting) == 1 else None


def _folder(image: str) -> str:
    return posixpath.basename(posixpath.dirname(image))
