"""Files of a user's own: packed at their first use or imported under a name, and their split."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metabench import DataError, Stamp, digest
from metabench.data import DECODING, expanded, files_of, import_archive, open_pack
from metabench_plugins.datasets.parts.class_splits import (
    Splits,
    seeded_split,
    split_by_folder,
    split_from_file,
)
from metabench_plugins.datasets.parts.packed import upright_classes

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Archive, Pack, Preparation

MAX_SLUG = 50
"""Characters of the name of a path that its pack has; a name may have 255 bytes, and those of a
character are up to four."""


def own_pack(
    archive: Archive,
    path: str | None,
    name: str | None,
    *,
    preparation: Preparation | None,
    ignored: Collection[str] = (),
) -> Pack:
    """The pack of a path, which is made where it is new or has changed, or of an imported name.

    Args:
        archive: how the files are read.
        path: of the files; or None.
        name: that they were imported under; or None.
        preparation: of images; None for vectors.
        ignored: suffixes of files that are no reason to make the pack anew.

    Raises:
        DataError: neither or both are given, or the files are missing or cannot be read.
    """
    if (path is None) == (name is None):
        raise DataError(
            f"{archive.name} needs either a path or a name, not both.",
            hint=f"In a suite: params: {{path: my-{archive.examples}}}.",
        )
    if name is not None:
        return _named_pack(archive, name, preparation)
    folder = expanded(path or "")
    if not folder.exists():
        raise DataError(
            f"{folder} does not exist{_from_here(folder)}.", hint=f"path must be {archive.layout}."
        )
    slug = re.sub(r"[^\w-]+", "-", folder.resolve().name)[:MAX_SLUG].strip("-") or archive.examples
    made_from = {"decoding": DECODING, "files": _listing(folder, ignored)}
    own = f"{archive.name}/{slug}-{digest(made_from)}"
    try:
        return open_pack(own, preparation)
    except DataError:
        return import_archive(
            dataclasses.replace(archive, name=own), folder, preparation=preparation
        )


def _from_here(path: Path) -> str:
    """Where a relative path of a suite begins, as the end of a sentence."""
    if path.is_absolute():
        return ""
    return f" in {Path.cwd()}, the folder of the command, in which relative paths begin"


@dataclass(frozen=True, slots=True)
class OwnSplit:
    """How a user's own classes are split.

    Attributes:
        classes: ids by split.
        drawn: whether a seed chose them.
    """

    classes: Splits
    drawn: bool


def own_split(
    file: str | None,
    names: Sequence[str],
    fractions: tuple[float, float, float],
    *,
    seed: int,
) -> OwnSplit:
    """The split of a file; or that which names such as ``train/cats`` make; or a drawn one.

    Args:
        file: see :func:`split_from_file`; or ``torchmeta:NAME``.
        names: of the classes.
        fractions: of the classes in each split, where it is drawn.
        seed: of the drawn split.

    Raises:
        DataError: the file is no split of these classes, or the folders are no sound split.
    """
    if file:
        return OwnSplit(split_from_file(_split_file(file), names), drawn=False)
    if (by_folder := split_by_folder(names)) is not None:
        return OwnSplit(by_folder, drawn=False)
    return OwnSplit(seeded_split(names, fractions, seed=seed), drawn=True)


def own_classes(pack: Pack, split: OwnSplit) -> ClassData:
    """The classes of a pack, with stamps and notes on a drawn split and on repeated pictures."""
    data = upright_classes(pack, split.classes)
    stamps = [*data.stamps, *([Stamp.DRAWN_SPLIT] if split.drawn else [])]
    notes = [*pack.index.notes]
    home = {pack.class_names[c]: part for part, ids in split.classes.items() for c in ids}
    for shared in pack.index.shared:
        parts = [home.get(name) for name in shared.classes]
        if None not in parts and parts[0] != parts[1]:
            stamps.append(Stamp.REPEATED)
            (first, second), (image, other) = parts, shared.images
            notes.append(f"The same picture is in {first} ({image}) and in {second} ({other}).")
    return dataclasses.replace(data, stamps=tuple(dict.fromkeys(stamps)), notes=tuple(notes))


def _split_file(splits: str) -> Path:
    from metabench_plugins.datasets.parts.torchmeta_bridge import split_folder

    owner, _, name = splits.partition(":")
    return split_folder(name) if owner == "torchmeta" else expanded(splits)


def _named_pack(archive: Archive, name: str, preparation: Preparation | None) -> Pack:
    try:
        return open_pack(f"{archive.name}/{name}", preparation)
    except DataError as error:
        size = ""
        if preparation is not None:
            size = f" --size {preparation.size} --resize {preparation.resize}"
        raise DataError(
            error.message,
            hint=f"Run `metabench data import {archive.name} PATH --name {name}{size}`.",
        ) from error


def _listing(path: Path, ignored: Collection[str]) -> list[tuple[str, int, int]]:
    """Name, length and time of change of each file: equal listings are taken for equal files."""
    files = [path]
    if not path.is_file():
        files = [file for file in files_of(path)[0] if file.suffix.lower() not in ignored]
    stats = [(str(file.resolve()), file.stat()) for file in sorted(files)]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
