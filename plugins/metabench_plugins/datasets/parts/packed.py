"""Shared by all packed datasets: from a pack on disk to the data of a source."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from metabench import digest

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Pack

SPLITS = ("meta-train", "meta-val", "meta-test")


ARCHIVES = (
    *("*.zip", "*.tar", "*.tar.gz", "*.tgz"),
    *("*.tar.bz2", "*.tbz2", "*.tar.xz", "*.txz"),
)
"""Archives that are read if a folder has them, whatever their names are."""


def each_once(files: Iterable[str]) -> list[str]:
    """The images of a class, each once: an unpacked folder may lie beside its archive.

    >>> each_once(["birds/owl/1.jpg", "unpacked/birds/owl/1.jpg"])
    ['birds/owl/1.jpg']
    """
    found: dict[str, str] = {}
    for file in files:
        found.setdefault(file.rpartition("/")[2], file)
    return list(found.values())


def committed_split(name: str) -> dict[str, tuple[str, ...]]:
    """Class names of meta-train, meta-val and meta-test, from ``splits/<name>.json``."""
    source = files("metabench_plugins.datasets") / "splits" / f"{name}.json"
    lists = json.loads(source.read_text("utf-8"))
    return {split: tuple(lists[split]) for split in SPLITS}


def parts_as_splits(names: Iterable[str]) -> dict[str, list[int]]:
    """Class ids by the part that begins each name.

    >>> parts_as_splits(["test/cat", "train/dog", "train/owl"])
    {'meta-train': [1, 2], 'meta-val': [], 'meta-test': [0]}
    """
    splits: dict[str, list[int]] = {split: [] for split in SPLITS}
    for c, name in enumerate(names):
        splits["meta-" + name.partition("/")[0]].append(c)
    return splits


def upright_classes(pack: Pack, splits: Mapping[str, Sequence[int]]) -> ClassData:
    """The classes of a pack as they are, with its stamps.

    Args:
        pack: the prepared images.
        splits: class ids of ``meta-train``, ``meta-val`` and ``meta-test``.

    Raises:
        DataError: the images are missing or damaged.
    """
    import numpy as np

    from metabench import ClassData

    return ClassData(
        images=pack.images(),
        offsets=pack.offsets(),
        class_names=pack.class_names,
        splits={split: np.array(ids, dtype=np.int64) for split, ids in splits.items()},
        fingerprint=digest(
            {
                "pack": pack.index.digest,
                "splits": {split: list(ids) for split, ids in splits.items()},
            }
        ),
        rotations=dict.fromkeys(splits, "none"),
        stamps=pack.index.stamps,
    )
