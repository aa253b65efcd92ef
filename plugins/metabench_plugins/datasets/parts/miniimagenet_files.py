"""The file layouts of MiniImagenet that are in use: lists and images, class folders, pickles."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from metabench import DataError, Stamp
from metabench.data import Contents, ImageClass, read_pickle
from metabench_plugins.datasets.parts.packed import committed_split, each_once
from metabench_plugins.datasets.parts.pickled_images import (
    field,
    images_by_number,
    provide_images,
    texts,
    whole_numbers,
)

if TYPE_CHECKING:
    from metabench.data import Originals

PER_CLASS = 600
SHAPE = (84, 84)
"""Height and width of the images in the caches."""
LAYOUT = (
    "a folder with train.csv, val.csv, test.csv and the images (in images/, in images.zip or "
    "in class folders), or with train/, val/ and test/ of class folders, or with "
    "mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl, or with "
    "miniImageNet_category_split_train_phase_train.pickle, _val.pickle and _test.pickle"
)
PARTS = ("train", "val", "test")
LISTS = {f"{part}.csv": part for part in PARTS}
CACHES = {
    **{f"mini-imagenet-cache-{part}.pkl": part for part in PARTS},
    "mini-imagenet-cache-validation.pkl": "val",
}
BY_CATEGORY = {
    "miniImageNet_category_split_train_phase_train.pickle": "train",
    "miniImageNet_category_split_val.pickle": "val",
    "miniImageNet_category_split_test.pickle": "test",
}
"""File names of each layout, and the part that a file has. By category there are two more files,
``train_phase_val`` and ``train_phase_test``: further images of the training classes, beyond the 600
of each that are MiniImagenet."""

_IMAGE = re.compile(r"(?:^|/)[^/.][^/]*\.(?:jpe?g|png)$", re.IGNORECASE)
_IN_FOLDER = re.compile(r"(?:(?:^|/)(?P<part>train|val|test)/)?(?P<label>n\d{8})/[^/]+$")

Images = dict[str, list[str]]
"""Names of the images of each class."""


def scan(originals: Originals) -> Contents:
    """Find the images of each class, in whichever layout they come.

    Raises:
        DataError: a list cannot be read, a class lies in another part than by Ravi and Larochelle,
            or has more than 600 images.
    """
    part_of = {
        label: split.removeprefix("meta-")
        for split, labels in committed_split("miniimagenet-ravi").items()
        for label in labels
    }
    images = [name for name in originals.names if _IMAGE.search(name)]
    lists = _find_files(originals.names, LISTS)
    rows: list[tuple[str, str]] = []
    notes: tuple[str, ...] = ()
    if caches := _find_files(originals.names, CACHES):
        found = _from_caches(originals, caches, part_of)
    elif pickles := _find_files(originals.names, BY_CATEGORY):
        found = _by_category(originals, pickles, part_of)
    elif lists:
        rows = _listed(originals, lists, part_of)
        found, notes = _from_lists(rows, images)
    else:
        found = _from_folders(images, part_of, originals)
    for label, names in found.items():
        if len(names) > PER_CLASS:
            raise DataError(
                f"{originals.path} has {len(names)} images of {label}; MiniImagenet has 600.",
                hint="Put train.csv, val.csv and test.csv beside the images; they list the 600 "
                "of each class.",
            )
    if len(found) < len(part_of) and (found or images):
        raise _missing(originals, found, part_of, images, rows)
    partial = any(len(names) < PER_CLASS for names in found.values())
    return Contents(
        [
            ImageClass(name=f"{part_of[label]}/{label}", group="", images=tuple(names))
            for label, names in found.items()
        ],
        stamps=(Stamp.SUBSET,) if partial else (),
        notes=notes,
    )


def _find_files(names: Iterable[str], parts: Mapping[str, str]) -> dict[str, str]:
    """The file of each part; the nearest to the top where there are several."""
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        if part := parts.get(name.rpartition("/")[2]):
            found.setdefault(part, name)
    return found


def _from_caches(
    originals: Originals, caches: Mapping[str, str], part_of: Mapping[str, str]
) -> Images:
    """Rows of ``image_data`` by class, as ``class_dict`` lists them."""
    found: Images = {}
    for part, name in caches.items():
        what = f"{name} in {originals.path}"
        cache = read_pickle(originals, name)
        images = provide_images(originals, name, field(cache, "image_data", what), SHAPE)
        classes = field(cache, "class_dict", what)
        if not isinstance(classes, Mapping):
            raise DataError(f"{what} has no classes in class_dict.", hint="Download it again.")
        for key, values in classes.items():
            (label,) = texts([key])
            _check_part(label, part, part_of, what)
            rows = sorted(set(whole_numbers(values, what)))
            if rows and not 0 <= rows[0] <= rows[-1] < len(images):
                raise DataError(f"{what} lists images of {label} that are not there.")
            found[label] = [images[row] for row in rows]
    return found


def _by_category(
    originals: Originals, pickles: Mapping[str, str], part_of: Mapping[str, str]
) -> Images:
    """Rows of ``data`` by the class that ``labels`` has; ``catname2label`` has its number."""
    found: Images = {}
    for part, name in pickles.items():
        what = f"{name} in {originals.path}"
        content = read_pickle(originals, name)
        images = provide_images(originals, name, field(content, "data", what), SHAPE)
        rows = images_by_number(images, field(content, "labels", what), what)
        numbers = field(content, "catname2label", what)
        if not isinstance(numbers, Mapping):
            raise DataError(f"{what} does not name its classes.", hint="Download it again.")
        label_of = dict(zip(numbers.values(), texts(numbers), strict=True))
        for number, own in rows.items():
            label = label_of.get(number, f"class {number}")
            _check_part(label, part, part_of, what)
            found[label] = own
    return found


def _listed(
    originals: Originals, lists: Mapping[str, str], part_of: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Pairs of file name and class of all lists."""
    rows = []
    for part, name in lists.items():
        for file, label in _read_list(originals, name):
            _check_part(label, part, part_of, f"{name} in {originals.path}")
            rows.append((file, label))
    return rows


def _from_lists(
    rows: Iterable[tuple[str, str]], images: Iterable[str]
) -> tuple[Images, tuple[str, ...]]:
    homes: dict[str, list[str]] = {}
    for name in images:
        homes.setdefault(name.rpartition("/")[2], []).append(name)
    found: dict[str, set[str]] = {}
    n_rows = n_absent = 0
    for file, label in rows:
        n_rows += 1
        candidates = homes.get(file.rpartition("/")[2], [])
        # In class folders the same file name may stand for several images, also of other classes.
        own = [home for home in candidates if home.endswith(f"{label}/{file}")] or [
            home
            for home in candidates
            if (folder := _IN_FOLDER.search(home)) is None or folder["label"] == label
        ]
        if own:
            found.setdefault(label, set()).add(own[0])
        else:
            n_absent += 1
    note = f"{n_absent:,} of the {n_rows:,} listed images are missing."
    ordered = {label: sorted(names) for label, names in found.items()}
    return ordered, (note,) if n_absent else ()


def _read_list(originals: Originals, name: str) -> list[tuple[str, str]]:
    """Pairs of file name and class."""
    what = f"{name} in {originals.path}"
    try:
        rows = list(csv.DictReader(originals.read(name).decode("utf-8-sig").splitlines()))
        pairs = [(row["filename"].strip(), row["label"].strip()) for row in rows]
    except (UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise DataError(
            f"{what} is not a list of images: it needs the columns filename and label.",
            hint="Download it again.",
        ) from error
    return pairs


def _from_folders(
    images: Iterable[str], part_of: Mapping[str, str], originals: Originals
) -> Images:
    found: Images = {}
    for name in images:
        folder = _IN_FOLDER.search(name)
        if folder and folder["label"] in part_of:
            if folder["part"]:
                _check_part(folder["label"], folder["part"], part_of, str(originals.path))
            found.setdefault(folder["label"], []).append(name)
    return {label: each_once(names) for label, names in found.items()}


def _missing(
    originals: Originals,
    found: Images,
    part_of: Mapping[str, str],
    images: Sequence[str],
    rows: Iterable[tuple[str, str]],
) -> DataError:
    """The refusal of files that lack classes: one name that is sought, and one that is there."""
    label = next(label for label in part_of if label not in found)
    part = part_of[label]
    n_all, n = (sum(part_of[one] == part for one in labels) for labels in (part_of, found))
    sought = next((file for file, its in rows if its == label), f"{label}/")
    used = {name for names in found.values() for name in names}
    strange = next((name for name in images if name not in used), "") or next(iter(images), "")
    beside = f" {sought!r} is sought, {strange!r} is there." if strange else ""
    return DataError(
        f"{originals.path} holds {n or 'none'} of the {n_all} {part} classes of MiniImagenet; "
        f"{label} is missing.{beside}",
        hint=f"PATH must be {LAYOUT}.",
    )


def _check_part(label: str, part: str, part_of: Mapping[str, str], what: str) -> None:
    if part_of.get(label) != part:
        truth = f"in {part_of[label]}" if label in part_of else "not a class of MiniImagenet"
        raise DataError(
            f"{what} has {label} in {part}; in the split of Ravi and Larochelle it is {truth}.",
            hint="Results on another split are not comparable; use the published lists.",
        )
