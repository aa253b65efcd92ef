"""The file layouts of TieredImagenet that are in use: folders of ILSVRC, of parts, and arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from metabench import DataError, Stamp
from metabench.data import Contents, ImageClass, read_pickle
from metabench_plugins.datasets.parts.npz_images import provide_rows
from metabench_plugins.datasets.parts.packed import SPLITS, each_once
from metabench_plugins.datasets.parts.pickled_images import field, provide_encoded, whole_numbers

if TYPE_CHECKING:
    from metabench.data import Originals

N_IMAGES = {"train": 448_695, "val": 124_261, "test": 206_209}
"""Images of each part, together 779,165 of the training images of ILSVRC 2012."""

_IN_FOLDER = re.compile(
    r"(?:^|/)(?:(?P<part>train|val|test)/)?(?P<label>n\d{8})/[^/.][^/]*\.(?:jpe?g|png)$",
    re.IGNORECASE,
)

Images = dict[str, list[str]]
"""Names of the images of each class."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A class as the split lists it.

    Attributes:
        part: ``train``, ``val`` or ``test``.
        superclass: WordNet id of the category that it belongs to.
        name: as ImageNet calls it, such as ``tabby, tabby cat``.
    """

    part: str
    superclass: str
    name: str


@cache
def listed_classes() -> Mapping[str, Listed]:
    """The classes of the published split, by WordNet id."""
    source = files("metabench_plugins.datasets") / "splits" / "tieredimagenet.json"
    lists = json.loads(source.read_text("utf-8"))
    return {
        label: Listed(split.removeprefix("meta-"), *entry)
        for split in SPLITS
        for label, entry in lists[split].items()
    }


def scan(originals: Originals) -> Contents:
    """Find the images of each class, in whichever layout they come.

    Raises:
        DataError: a pickle cannot be read, a class lies in another part than by Ren et al., or a
            part has more images than were published.
    """
    listed = listed_classes()
    pickles = _find_pickles(originals)
    found = _from_pickles(originals, pickles) if pickles else _from_folders(originals)
    counts = dict.fromkeys(N_IMAGES, 0)
    for label, names in found.items():
        counts[listed[label].part] += len(names)
    for part, n in N_IMAGES.items():
        if counts[part] > n:
            raise DataError(
                f"{originals.path} has {counts[part]:,} {part} images; TieredImagenet has {n:,}.",
                hint="It has the training images of ILSVRC 2012 alone, each once.",
            )
    return Contents(
        [
            ImageClass(
                name=f"{listed[label].part}/{label}",
                group=listed[label].superclass,
                images=tuple(names),
            )
            for label, names in found.items()
        ],
        stamps=(Stamp.SUBSET,) if counts != N_IMAGES else (),
    )


def _find_pickles(originals: Originals) -> dict[str, tuple[str, str]]:
    """Images and labels of each part; the nearest to the top where there are several.

    Raises:
        DataError: one has no other beside it.
    """
    found: dict[str, tuple[str, str]] = {}
    names = set(originals.names)
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        folder, _, file = name.rpartition("/")
        for part in N_IMAGES:
            if file in (f"{part}_images_png.pkl", f"{part}_images.npz") and part not in found:
                labels = f"{folder}/{part}_labels.pkl" if folder else f"{part}_labels.pkl"
                if labels not in names:
                    raise DataError(
                        f"{originals.path} has {name}, but no {part}_labels.pkl beside it.",
                        hint="The labels say which image belongs to which class.",
                    )
                found[part] = (name, labels)
    return found


def _from_pickles(originals: Originals, pickles: Mapping[str, tuple[str, str]]) -> Images:
    """Images in a list or an array; their classes by number, and the classes' names by number."""
    found: Images = {}
    for part, (images_name, labels_name) in pickles.items():
        what = f"{labels_name} in {originals.path}"
        labels = read_pickle(originals, labels_name)
        numbers = whole_numbers(field(labels, "label_specific", what), what)
        classes = _classes_named(field(labels, "label_specific_str", what), part, what)
        if numbers and not 0 <= min(numbers) <= max(numbers) < len(classes):
            raise DataError(f"{what} has images of classes that it does not name.")
        if images_name.endswith(".npz"):
            images = provide_rows(originals, images_name, "images")
        else:
            images = provide_encoded(
                originals, images_name, read_pickle(originals, images_name, many=True)
            )
        if len(images) != len(numbers):
            raise DataError(
                f"{images_name} in {originals.path} holds {len(images):,} images, but "
                f"{labels_name} has {len(numbers):,} labels.",
                hint="Download both again.",
            )
        for image, number in zip(images, numbers, strict=True):
            found.setdefault(classes[number], []).append(image)
    return found


def _classes_named(names: object, part: str, what: str) -> list[str]:
    """WordNet ids of the classes of a part, in the order of their names.

    Raises:
        DataError: they are not the classes of that part, each once.
    """
    by_name = {entry.name: label for label, entry in listed_classes().items() if entry.part == part}
    if not isinstance(names, list):
        raise DataError(f"{what} does not name its classes.", hint="Download it again.")
    texts = [name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in names]
    if strange := [text for text in texts if text not in by_name]:
        raise DataError(
            f"{what} names the class {strange[0]!r}, which is none of {part} in the split of Ren "
            "et al.",
            hint="Results on another split are not comparable; use the published files.",
        )
    if len(set(texts)) < len(texts):
        raise DataError(f"{what} names a class twice.", hint="Download it again.")
    return [by_name[text] for text in texts]


def _from_folders(originals: Originals) -> Images:
    """Class folders: those of ILSVRC, where every class is in train/, or those of three parts."""
    listed = listed_classes()
    matches = [
        (name, match)
        for name in originals.names
        if (match := _IN_FOLDER.search(name)) and match["label"] in listed
    ]
    in_train = {listed[match["label"]].part for _, match in matches if match["part"] == "train"}
    if in_train == N_IMAGES.keys():
        # The validation images of ILSVRC may lie beside them, in folders of the same names.
        return _by_class((name, match) for name, match in matches if match["part"] == "train")
    for _, match in matches:
        part, true = match["part"], listed[match["label"]].part
        if part and part != true:
            raise DataError(
                f"{originals.path} has {match['label']} in {part}; in the split of Ren et al. it "
                f"is in {true}.",
                hint="Results on another split are not comparable; use the published lists.",
            )
    return _by_class(matches)


def _by_class(matches: Iterable[tuple[str, re.Match[str]]]) -> Images:
    found: Images = {}
    for name, match in matches:
        found.setdefault(match["label"], []).append(name)
    return {label: each_once(names) for label, names in found.items()}
