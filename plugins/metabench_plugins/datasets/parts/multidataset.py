"""Multi-datasets of HSML (Yao et al., ICML 2019): what its four sources share.

The authors released their images, resized, with a split; the originals come without one. A pack
made of the originals is split in the style of HSML and stamped ``rebuilt-split``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metabench import DataError, Stamp
from metabench.data import Contents, ImageClass
from metabench_plugins.datasets.parts.packed import SPLITS, committed_split

if TYPE_CHECKING:
    from metabench.data import Box, Originals

STAMP = Stamp.REBUILT_SPLIT
REFERENCE = "Yao et al., HSML, ICML 2019"
RELEASED_ARCHIVES = ("*eta-*ataset*.zip", "*eta-*ataset*.tar", "*eta-*ataset*.tar.gz")
"""How the authors' archive is called in circulation: Meta-Dataset, meta-dataset."""

Boxes = Mapping[str, "Box"]
Classes = dict[str, list[str]]
"""Names of the image files of each class."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One of the four sources.

    Attributes:
        name: name of the dataset, and first component of the names of its classes.
        released: its folder in the authors' release.
        sizes: how many classes meta-train, meta-val and meta-test have.
    """

    name: str
    released: str
    sizes: tuple[int, int, int]

    def scan_released(self, originals: Originals) -> Contents | None:
        """The classes of the authors' release, split as its folders are; None if it is another.

        Raises:
            DataError: a class lies in two splits, or there are more or fewer than there should be.
        """
        member = re.compile(
            rf"(?:^|/){self.released}/(train|val|test)/([^/]+)/[^/.][^/]*\.(?:jpe?g|png)$", re.I
        )
        classes: Classes = {}
        splits: dict[str, list[str]] = {split: [] for split in SPLITS}
        for file in originals.names:
            if found := member.search(file):
                name, split = found[2], splits[f"meta-{found[1].lower()}"]
                classes.setdefault(name, []).append(file)
                if not split or split[-1] != name:
                    split.append(name)
        if not classes:
            return None
        sizes = tuple(len(names) for names in splits.values())
        if sizes != self.sizes or len(classes) != sum(sizes):
            raise DataError(
                f"{self.released} in {originals.path} has {_words(sizes)} classes in train, val "
                f"and test, not {_words(self.sizes)}, or has a class twice.",
                hint="Unpack or download the release again.",
            )
        return self.contents(classes, splits, scheme="released")

    def rebuilt(self, classes: Classes, boxes: Boxes | None = None) -> Contents:
        """The originals under the committed split; classes that it does not draw are left out.

        Raises:
            DataError: an image has no box, where boxes are given.
        """
        split = committed_split(f"{self.name}-rebuilt")
        return self.contents(classes, split, scheme="rebuilt", boxes=boxes)

    def contents(
        self,
        classes: Classes,
        splits: Mapping[str, Sequence[str]],
        *,
        scheme: str,
        boxes: Boxes | None = None,
    ) -> Contents:
        """Describe the classes of a split, under names that begin with the domain's."""
        used = {name for names in splits.values() for name in names}
        files = [file for name in used for file in classes.get(name, ())]
        if boxes is not None and (without := set(files) - set(boxes)):
            raise DataError(
                f"{min(without)} has no bounding box.", hint="Unpack or download the files again."
            )
        return Contents(
            [
                ImageClass(
                    name=f"{self.name}/{name}",
                    group="",
                    images=tuple(files),
                    boxes=tuple(boxes[file] for file in files) if boxes else (),
                )
                for name, files in classes.items()
                if name in used
            ],
            splits={
                scheme: {
                    split: tuple(f"{self.name}/{name}" for name in names)
                    for split, names in splits.items()
                }
            },
            stamps=() if scheme == "released" else (STAMP,),
        )


def draw_split(
    names: Iterable[str], sizes: Sequence[int], *, seed: int
) -> dict[str, tuple[str, ...]]:
    """Draw classes in the style of HSML: sorted, shuffled with its seed, and cut.

    The authors' own draw depends on the order in which a folder was listed.

    Args:
        names: the classes that may be drawn.
        sizes: how many classes meta-train, meta-val and meta-test get.
        seed: 1 for birds and textures, 2 for aircraft and fungi.
    """
    order = sorted(names)
    random.Random(seed).shuffle(order)
    splits = {}
    for split, size in zip(SPLITS, sizes, strict=True):
        splits[split], order = tuple(sorted(order[:size])), order[size:]
    return splits


def read_tables(
    originals: Originals, columns: Mapping[str, int], *, layout: str
) -> tuple[str, dict[str, list[list[str]]]]:
    """Read lists that lie in one folder of the originals.

    Args:
        originals: where they are.
        columns: how many columns each file has, by its name; only the last may hold spaces.
        layout: what is expected, for messages.

    Returns:
        The folder, empty or ending in ``/``, and the rows of each file.

    Raises:
        DataError: a file is missing, or is not such a list.
    """
    first = next(iter(columns))
    homes = [n.removesuffix(first) for n in originals.names if f"/{n}".endswith(f"/{first}")]
    home = min(homes, key=len, default="")
    wanted = {home + file: file for file in columns}
    if absent := sorted(set(wanted) - set(originals.names)):
        raise DataError(
            f"{originals.path} does not hold {absent[0]}.", hint=f"PATH must be {layout}."
        )
    tables = {}
    for name in originals.in_stored_order(wanted):
        file = wanted[name]
        lines = originals.read(name).decode("utf-8", "replace").splitlines()
        rows = [line.split(maxsplit=columns[file] - 1) for line in lines if line.strip()]
        if any(len(row) != columns[file] for row in rows):
            raise DataError(
                f"{name} in {originals.path} is not a list of {columns[file]} columns.",
                hint="Unpack or download the files again.",
            )
        tables[file] = rows
    return home, tables


def numbers(row: Sequence[str], *, what: str) -> list[int]:
    """The whole pixels nearest to the columns of a row, but for its first, which is a name.

    Raises:
        DataError: a column is no number.
    """
    try:
        return [round(float(column)) for column in row[1:]]
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{what} has no bounding box of four numbers for {row[0]}.",
            hint="Unpack or download the files again.",
        ) from error


def _words(sizes: Sequence[int]) -> str:
    return "/".join(str(size) for size in sizes)
