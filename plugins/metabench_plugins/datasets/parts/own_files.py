"""Files of a user's own: packed at their first use or imported under a name, and their split."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metabench import DataError, digest
from metabench.data import import_archive, open_pack
from metabench_plugins.datasets.parts.class_splits import (
    Splits,
    seeded_split,
    split_by_folder,
    split_from_file,
)

if TYPE_CHECKING:
    from metabench.data import Archive, Pack, Preparation


def own_pack(
    archive: Archive, path: str | None, name: str | None, *, preparation: Preparation | None
) -> Pack:
    """The pack of a path, which is made where it is new or has changed, or of an imported name.

    Args:
        archive: how the files are read.
        path: of the files; or None.
        name: that they were imported under; or None.
        preparation: of images; None for vectors.

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
    folder = Path(path or "").expanduser()
    if not folder.exists():
        raise DataError(f"{folder} does not exist.", hint=f"path must be {archive.layout}.")
    slug = re.sub(r"[^\w-]+", "-", folder.resolve().name).strip("-") or archive.examples
    own = f"{archive.name}/{slug}-{digest(_listing(folder))}"
    try:
        return open_pack(own, preparation)
    except DataError:
        return import_archive(
            dataclasses.replace(archive, name=own), folder, preparation=preparation
        )


def own_split(
    file: str | None,
    names: Sequence[str],
    fractions: tuple[float, float, float],
    *,
    seed: int,
) -> Splits:
    """The split of a file; or that which names such as ``train/cats`` make; or a drawn one.

    Args:
        file: see :func:`split_from_file`; or ``torchmeta:NAME``.
        names: of the classes.
        fractions: of the classes in each split, where it is drawn.
        seed: of the drawn split.

    Raises:
        DataError: the file is no split of these classes.
    """
    if file:
        return split_from_file(_split_file(file), names)
    return split_by_folder(names) or seeded_split(names, fractions, seed=seed)


def _split_file(splits: str) -> Path:
    from metabench_plugins.datasets.parts.torchmeta_bridge import split_folder

    owner, _, name = splits.partition(":")
    return split_folder(name) if owner == "torchmeta" else Path(splits).expanduser()


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


def _listing(path: Path) -> list[tuple[str, int, int]]:
    """Name, length and time of change of each file: equal listings are taken for equal files."""
    files = [path] if path.is_file() else [Path(top, n) for top, _, ns in os.walk(path) for n in ns]
    stats = [(str(file.resolve()), file.stat()) for file in sorted(files)]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
