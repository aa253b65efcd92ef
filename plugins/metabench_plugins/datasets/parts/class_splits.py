"""The split of a user's own classes into meta-train, meta-validation and meta-test."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from metabench import DataError, digest, unknown
from metabench.data import read_plain
from metabench_plugins.datasets.parts.packed import SPLITS

MAX_SPLIT = 2**24
"""No file with a split is larger (bytes)."""
PARTS = ("train", "val", "test")
Splits = dict[str, list[int]]
"""Class ids of each split, sorted."""

FOLDERS = {
    **dict.fromkeys(("train", "training", "base", "meta-train"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "meta-val"), "val"),
    **dict.fromkeys(("test", "testing", "novel", "meta-test"), "test"),
}
"""What people call the folder of each split, in small letters."""


def _add_up(fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError("fractions must be at least 0 and sum to 1")
    return fractions


Fractions = Annotated[
    tuple[float, float, float],
    AfterValidator(_add_up),
    Field(
        description="Fractions of the classes in meta-train, meta-validation and meta-test, if "
        "they are split at random."
    ),
]
"""The parameter ``fractions`` of a dataset whose classes may be split at random."""
MOSTLY_TRAIN: Fractions = (0.64, 0.16, 0.2)
"""Its default: 64, 16 and 20 of 100 classes, as in MiniImagenet."""
SplitSeed = Annotated[int, Field(ge=0, description="Seed of the random split.")]
"""The parameter ``seed`` of such a dataset."""


def split_by_folder(names: Sequence[str]) -> Splits | None:
    """The split that folders such as ``train``, ``val`` and ``test`` make; None without them.

    >>> split_by_folder(["Base/cat", "Base/dog", "novel/owl"])
    {'meta-train': [0, 1], 'meta-val': [], 'meta-test': [2]}

    Raises:
        DataError: only some classes lie in such folders, two folders are the same split, or a class
            is in two splits.
    """
    homes = [name.partition("/")[0] if "/" in name else "" for name in names]
    parts = [FOLDERS.get(home.lower()) for home in homes]
    if not any(parts):
        return None
    used = {home: part for home, part in zip(homes, parts, strict=True) if part}
    if None in parts:
        raise DataError(
            f"The folders {_listing(used)} are splits, but the class {names[parts.index(None)]!r} "
            "is in none of them.",
            hint="Put each class into one of them, or name a file with the `splits`.",
        )
    for part in PARTS:
        doubled = [home for home, its in used.items() if its == part]
        if len(doubled) > 1:
            raise DataError(
                f"The folders {_listing(doubled)} are all meta-{part}.",
                hint="Keep one of them, or name a file with the `splits`.",
            )
    _check_disjoint(names)
    return {
        split: [c for c, part in enumerate(parts) if split == f"meta-{part}"] for split in SPLITS
    }


def _check_disjoint(names: Sequence[str]) -> None:
    """Refuse the folders of ordinary classification, in which every split has all classes."""
    first: dict[str, str] = {}
    for name in names:
        home, _, own = name.partition("/")
        if (other := first.setdefault(own, home)) != home:
            raise DataError(
                f"The class {own!r} is both in {other} and in {home}.",
                hint="In meta-learning no class is in two splits. Put all images of a class into "
                "one folder without train, val and test, or name a file with the `splits`.",
            )


def _listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def seeded_split(
    names: Sequence[str], fractions: tuple[float, float, float], *, seed: int
) -> Splits:
    """Draw a split; a class that joins later does not shuffle the others.

    >>> seeded_split(["a", "b", "c", "d"], (0.5, 0.25, 0.25), seed=0)["meta-val"]
    [1]
    """
    order = sorted(range(len(names)), key=lambda c: digest({"seed": seed, "class": names[c]}))
    first = round(fractions[0] * len(names))
    second = round((fractions[0] + fractions[1]) * len(names))
    parts = (order[:first], order[first:second], order[second:])
    return {split: sorted(part) for split, part in zip(SPLITS, parts, strict=True)}


def split_from_file(file: Path, names: Sequence[str]) -> Splits:
    """Read a split; classes that it does not list are not used.

    Args:
        file: JSON or YAML ``{train: [...], val: [...], test: [...]}``, CSV with the columns class
            and split, or a folder with ``train.json``, ``val.json`` and ``test.json``.
        names: of the classes that there are.

    Raises:
        DataError: the file is missing, is no split, or lists a class twice or one that is not
            there.
    """
    ids = {name: c for c, name in enumerate(names)}
    splits: Splits = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for part, name in _pairs(file):
        if name not in ids:
            problem = unknown("class", name, names)
            raise DataError(f"{file}: {problem.message}", hint=problem.hint)
        if name in seen:
            raise DataError(f"{file} lists the class {name!r} twice.")
        seen.add(name)
        splits[part].append(ids[name])
    return {split: sorted(found) for split, found in splits.items()}


def _pairs(file: Path) -> Iterable[tuple[str, str]]:
    """Pairs of split and class."""
    import yaml

    from metabench import read_yaml

    try:
        if file.is_dir():
            return [(f"meta-{part}", name) for part in PARTS for name in _listed(file, part)]
        text = read_plain(file, MAX_SPLIT).decode("utf-8-sig")
        rows = _csv_rows(text) if file.suffix.lower() == ".csv" else _mapped(read_yaml(text))
        return [(_split_name(split), str(name)) for split, name in rows]
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from error
    except (csv.Error, yaml.YAMLError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DataError(
            f"{file} does not say which classes are in train, val and test.",
            hint="Write {train: [...], val: [...], test: [...]}, or a CSV file with the columns "
            "class and split.",
        ) from error


def _listed(folder: Path, part: str) -> list[str]:
    """The classes of one split; a name may be a list, such as superclass and class."""
    names = json.loads(read_plain(folder / f"{part}.json", MAX_SPLIT))
    if not isinstance(names, list):
        raise TypeError("no list")
    return [name if isinstance(name, str) else "/".join(name) for name in names]


def _csv_rows(text: str) -> list[tuple[str, str]]:
    rows = csv.DictReader(text.splitlines(), restval="")
    return [(row["split"].strip(), row["class"].strip()) for row in rows]


def _mapped(values: Any) -> list[tuple[Any, Any]]:
    if not isinstance(values, dict) or not all(isinstance(v, list) for v in values.values()):
        raise TypeError("no mapping to lists")
    return [(split, name) for split, names in values.items() for name in names]


def _split_name(split: object) -> str:
    name = f"meta-{str(split).removeprefix('meta-')}"
    if name not in SPLITS:
        raise ValueError(f"{split} is no split")
    return name
