"""Omniglot: 1623 handwritten characters from 50 alphabets, 20 drawings each (Lake et al. 2015)."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from metabench import DataError, DatasetSpec, Frozen, digest
from metabench.data import (
    Archive,
    Contents,
    ImageClass,
    Preparation,
    RemoteFile,
    ResizeFilter,
    open_pack,
)
from metabench_plugins.datasets.parts.packed import each_once

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Originals

Rotations = Literal["per-task", "classes", "none"]

LICENCE = "MIT"
CITATION = (
    "B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum (2015). Human-level concept learning through "
    "probabilistic program induction. Science 350(6266), 1332-1338."
)

_MEMBER = re.compile(
    r"(?:^|/)images_(?P<part>background|evaluation)/(?P<alphabet>[^/]+)"
    r"/(?P<character>character\d\d)/\d{4}_\d\d\.png$"
)
_MIRRORS = (
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    "https://github.com/brendenlake/omniglot/raw/master/python/",
)


def _official(name: str, sha256: str, size: int) -> RemoteFile:
    urls = tuple(mirror + name for mirror in _MIRRORS)
    return RemoteFile(name=name, urls=urls, digest=f"sha256:{sha256}", size=size)


def scan(originals: Originals) -> Contents:
    """Find the characters, in the zips or in unpacked folders at any depth."""
    images: dict[tuple[str, str], list[str]] = {}
    for name in originals.names:
        if found := _MEMBER.search(name):
            alphabet = found["alphabet"]
            character = f"{found['part']}/{alphabet}/{found['character']}"
            images.setdefault((character, alphabet), []).append(name)
    return Contents(
        [
            ImageClass(name=character, group=alphabet, images=tuple(each_once(names)))
            for (character, alphabet), names in images.items()
        ]
    )


PER_CLASS = 20

ARCHIVE = Archive(
    name="omniglot",
    # Digests as TensorFlow Datasets and torchvision publish them for these addresses.
    files=(
        _official(
            "images_background.zip",
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            9464212,
        ),
        _official(
            "images_evaluation.zip",
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            6462886,
        ),
    ),
    layout=(
        "a folder with images_background.zip and images_evaluation.zip, or with the folders "
        "images_background and images_evaluation; or the official repository, which has them in "
        "python/"
    ),
    archives=("python/images_background.zip", "python/images_evaluation.zip"),
    scan=scan,
    parts={"background": 964, "evaluation": 659},
    per_class=PER_CLASS,
    mode="L",
    preparation=Preparation(size=28, resize="lanczos"),
    presets={
        # Pillow took the script's Lanczos as nearest, since the originals are of one bit.
        "maml-script": Preparation(size=28, resize="nearest"),
        "torchmeta": Preparation(size=28, resize="bilinear"),
    },
    licence=LICENCE,
    citation=CITATION,
)


class OmniglotParams(Frozen):
    """How Omniglot is split and shown."""

    split: Literal["maml", "vinyals", "background-evaluation"] = Field(
        default="maml",
        description="Number of characters in meta-train, meta-validation and meta-test. maml: "
        "1100/100/423 at random, in the style of MAML (the original draw depends on the order "
        "of a folder listing). vinyals: 1028/172/423, as in torchmeta. background-evaluation: "
        "964/0/659, the two parts that the authors of Omniglot publish.",
    )
    rotations: Rotations = Field(
        default="per-task",
        description="per-task: each class of a task is rotated by a random multiple of 90 "
        "degrees. classes: each of the four rotations of a character is a class. none: no "
        "rotation.",
    )
    test_rotations: Rotations | None = Field(
        default=None,
        description="Rotations in meta-validation and meta-test; null takes `rotations`.",
    )
    invert: bool = Field(
        default=True, description="true: ink is 1 and paper is 0; false: the reverse."
    )
    size: int = Field(
        default=28, ge=8, le=105, description="Height and width of the images in pixels."
    )
    resize: ResizeFilter = Field(
        default="lanczos",
        description="Filter for resizing the images, as 8-bit gray. MAML's script asks for "
        "Lanczos on 1-bit images, for which Pillow silently uses nearest: `nearest` repeats "
        "that.",
    )

    def rotations_by_split(self) -> dict[str, str]:
        """The rotations of each split."""
        at_test = self.test_rotations or self.rotations
        return {"meta-train": self.rotations, "meta-val": at_test, "meta-test": at_test}


def load(params: OmniglotParams) -> ClassData:
    """Load the packed images.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    import numpy as np

    from metabench import ClassData

    pack = open_pack(ARCHIVE.name, Preparation(size=params.size, resize=params.resize))
    splits = split_classes(pack.class_names, params.split)
    rotations = params.rotations_by_split()
    images = pack.images()
    return ClassData(
        images=np.subtract(255, images, dtype=np.uint8) if params.invert else images,
        offsets=pack.offsets(),
        class_names=pack.class_names,
        splits={split: np.array(ids, dtype=np.int64) for split, ids in splits.items()},
        fingerprint=digest(
            {
                "pack": pack.index.digest,
                "splits": splits,
                "rotations": rotations,
                "invert": params.invert,
            }
        ),
        rotations=rotations,
    )


def split_classes(names: Sequence[str], split: str) -> dict[str, list[int]]:
    """Class ids of meta-train, meta-val and meta-test, each sorted.

    Args:
        names: all classes, ``part/alphabet/character``.
        split: as :attr:`OmniglotParams.split`.

    Raises:
        DataError: ``names`` are not the classes of Omniglot.
    """
    if split == "background-evaluation":
        background = [c for c, name in enumerate(names) if name.startswith("background/")]
        evaluation = [c for c, name in enumerate(names) if name.startswith("evaluation/")]
        return {"meta-train": background, "meta-val": [], "meta-test": evaluation}
    if len(names) != sum(ARCHIVE.parts.values()):
        raise DataError(f"The {split} split needs all 1,623 characters; {len(names):,} are there.")
    return _maml_split(names) if split == "maml" else _vinyals_split(names)


def _maml_split(names: Sequence[str]) -> dict[str, list[int]]:
    # MAML merges the two parts, so that characters are sorted by alphabet across them.
    order = sorted(range(len(names)), key=lambda c: names[c].partition("/")[2])
    random.Random(1).shuffle(order)
    return {
        "meta-train": sorted(order[:1100]),
        "meta-val": sorted(order[1100:1200]),
        "meta-test": sorted(order[1200:]),
    }


def _vinyals_split(names: Sequence[str]) -> dict[str, list[int]]:
    source = files("metabench_plugins.datasets") / "splits" / "omniglot-vinyals.json"
    lists = json.loads(source.read_text("utf-8"))
    ids = {name: c for c, name in enumerate(names)}
    return {
        split: sorted(
            ids[f"{alphabet}/character{number:02d}"]
            for alphabet, (first, last) in lists[split].items()
            for number in range(first, last + 1)
        )
        for split in ("meta-train", "meta-val", "meta-test")
    }


def synthesize(params: OmniglotParams) -> ClassData:
    """Generate a look-alike: other strokes, fewer classes, 20 drawings each."""
    import dataclasses

    import numpy as np

    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n_val = 0 if params.split == "background-evaluation" else 20
    drawn = synthetic_classes(
        {"meta-train": 60, "meta-val": n_val, "meta-test": 40},
        PER_CLASS,
        shape=(params.size, params.size, 1),
        seed=0,
    )
    rotations = params.rotations_by_split()
    return dataclasses.replace(
        drawn,
        images=drawn.images if params.invert else np.subtract(255, drawn.images, dtype=np.uint8),
        rotations=rotations,
        fingerprint=digest(
            {"drawn": drawn.fingerprint, "rotations": rotations, "invert": params.invert}
        ),
    )


SPEC = DatasetSpec(
    name=ARCHIVE.name,
    version=1,
    summary="Omniglot: 1,623 handwritten characters from 50 alphabets, 20 drawings each.",
    params="metabench_plugins.datasets.omniglot:OmniglotParams",
    reference="Lake et al. 2015",
    kind="classes",
    factory="metabench_plugins.datasets.omniglot:load",
    synthetic="metabench_plugins.datasets.omniglot:synthesize",
    archive="metabench_plugins.datasets.omniglot:ARCHIVE",
    licence=LICENCE,
    citation=CITATION,
)
