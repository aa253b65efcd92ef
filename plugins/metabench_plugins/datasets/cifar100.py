"""CIFAR-100 and the two few-shot benchmarks derived from it: CIFAR-FS and FC100.

CIFAR-FS (Bertinetto et al. 2019) splits the 100 classes 64/16/20 at random; FC100 (Oreshkin et al.
2018) splits the 20 superclasses 12/4/4, so that classes of different splits are less alike. Both
use all 600 images of a class. One pack serves all three. The pickles of one of the two, which do
not say which images of CIFAR-100 are test images, make a pack of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from metabench import DataError, DatasetSpec, digest
from metabench.data import Archive, Preparation, list_packs, open_pack, read_pickle
from metabench_plugins.datasets.cifar10 import CifarParams
from metabench_plugins.datasets.parts.cifar_files import (
    CITATION,
    LICENCE,
    SIZE,
    contents,
    find_batches,
    find_pickles,
    official,
    scan_batches,
    scan_pickles,
)
from metabench_plugins.datasets.parts.packed import SPLITS, committed_split
from metabench_plugins.datasets.parts.pickled_images import field

if TYPE_CHECKING:
    from metabench import ClassData
    from metabench.data import Contents, Originals, Pack

N_CLASSES = 100
SOURCE = "cifar-100-python.tar.gz"
LAYOUT = (
    f"a folder with {SOURCE}, or with its files train, test and meta, or with "
    "CIFAR_FS_train.pickle, _val.pickle and _test.pickle, or with those of FC100"
)
PER_CLASS = {"train": 500, "test": 100}
BATCHES = {"train": ("train",), "test": ("test",)}


def scan(originals: Originals, *, benchmark: str = "") -> Contents:
    """Find the images in the official files, in which ``meta`` names the classes; or in pickles.

    Args:
        originals: what the user has.
        benchmark: whose pickles are taken. They have the classes of its splits alone, each numbered
            from 0, so they serve no other.

    Raises:
        DataError: there are pickles of another benchmark only, or some of this and not all.
    """
    whole = {"train", "test", "meta"} <= {name.rpartition("/")[2] for name in originals.names}
    if not whole and benchmark and (pickles := find_pickles(originals, benchmark)):
        classes = scan_pickles(originals, pickles)
        parts = dict.fromkeys(pickles, 600)
        return replace(contents(originals, classes, parts), archive=FEW_SHOT[benchmark])
    others = [name for name in FEW_SHOT if not whole and find_pickles(originals, name)]
    if others:
        raise DataError(
            f"{originals.path} has the pickles of {' and of '.join(others)}, which "
            f"have not the splits of {benchmark or ARCHIVE.name}.",
            hint=f"Import them as {' or as '.join(others)}, or give a folder with {SOURCE}.",
        )
    homes = find_batches(originals, {**BATCHES, "names": ("meta",)})
    classes = []
    if homes:
        classes = scan_batches(
            originals,
            BATCHES,
            homes,
            labels=_label_names(originals, homes["meta"]),
            field_name="fine_labels",
        )
    return contents(originals, classes, PER_CLASS)


def _label_names(originals: Originals, name: str) -> list[str]:
    what = f"{name} in {originals.path}"
    found = field(read_pickle(originals, name), "fine_label_names", what)
    if not isinstance(found, list):
        raise DataError(f"{what} does not name 100 classes.", hint="Download it again.")
    known = {label for labels in committed_split("cifar-fs").values() for label in labels}
    names = [text.decode("latin-1") if isinstance(text, bytes) else text for text in found]
    if sorted(map(str, names)) != sorted(known):
        raise DataError(f"{what} names other classes than CIFAR-100.", hint="Download it again.")
    return names


ARCHIVE = Archive(
    name="cifar100",
    # Digest as Keras publishes it for this file.
    files=(
        official(
            SOURCE,
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169001437,
        ),
    ),
    layout=LAYOUT,
    scan=scan,
    parts=dict.fromkeys(PER_CLASS, N_CLASSES),
    per_class=None,
    mode="RGB",
    preparation=Preparation(size=SIZE, resize="lanczos"),
    licence=LICENCE,
    citation=CITATION,
)


CIFAR_FS_ARCHIVE = replace(ARCHIVE, scan=partial(scan, benchmark="cifar-fs"))
FC100_ARCHIVE = replace(ARCHIVE, scan=partial(scan, benchmark="fc100"))

FEW_SHOT = {
    name: replace(ARCHIVE, name=name, files=(), parts=parts)
    for name, parts in {
        "cifar-fs": {"train": 64, "val": 16, "test": 20},
        "fc100": {"train": 60, "val": 20, "test": 20},
    }.items()
}
"""The benchmarks as others pickled them, one file for each split."""


def load(params: CifarParams) -> ClassData:
    """Load the packed images: training images are meta-train, test images meta-test.

    Both splits hold the same classes; see :func:`metabench_plugins.datasets.cifar10.load`.

    Raises:
        DataError: they have not been prepared so, or are damaged.
    """
    from metabench_plugins.datasets.parts.packed import parts_as_splits, upright_classes

    pack = _open(params)
    return upright_classes(pack, parts_as_splits(pack.class_names))


def load_cifar_fs(params: CifarParams) -> ClassData:
    """Load the 100 classes with all their images, split as CIFAR-FS."""
    return _few_shot("cifar-fs", params)


def load_fc100(params: CifarParams) -> ClassData:
    """Load the 100 classes with all their images, split as FC100."""
    return _few_shot("fc100", params)


def _open(params: CifarParams) -> Pack:
    return open_pack(ARCHIVE.name, Preparation(size=params.size, resize=params.resize))


def _few_shot(name: str, params: CifarParams) -> ClassData:
    """All of CIFAR-100 if it is packed; else the benchmark's own pickles, as they are split."""
    from metabench_plugins.datasets.parts.packed import parts_as_splits, upright_classes

    try:
        return _merged(_open(params), committed_split(name))
    except DataError:
        preparation = Preparation(size=params.size, resize=params.resize)
        if str(preparation) not in {folder.name for folder in list_packs(name)}:
            raise
        pack = open_pack(name, preparation)
        return upright_classes(pack, parts_as_splits(pack.class_names))


def _merged(pack: Pack, split: Mapping[str, Sequence[str]]) -> ClassData:
    """Join the training and the test images of each class; this copies 184 MB."""
    import numpy as np

    from metabench import ClassData

    entries = {entry.name: entry for entry in pack.index.classes}
    names = sorted(name.removeprefix("train/") for name in entries if name.startswith("train/"))
    parts = [entries[f"{part}/{name}"] for name in names for part in PER_CLASS]
    images = pack.images()
    sizes = [part.stop - part.start for part in parts]
    ids = {split_name: [names.index(name) for name in split[split_name]] for split_name in SPLITS}
    return ClassData(
        images=np.concatenate([images[part.start : part.stop] for part in parts]),
        offsets=np.cumsum([0, *sizes], dtype=np.int64)[:: len(PER_CLASS)],
        class_names=tuple(names),
        splits={name: np.array(sorted(found), dtype=np.int64) for name, found in ids.items()},
        fingerprint=digest({"pack": pack.index.digest, "splits": dict(split)}),
        rotations=dict.fromkeys(SPLITS, "none"),
        stamps=pack.index.stamps,
    )


def synthesize(params: CifarParams) -> ClassData:
    """Generate a look-alike: colored strokes, fewer classes, 60 images each."""
    from metabench_plugins.datasets.parts.synthetic import synthetic_classes

    n_classes = {"meta-train": 20, "meta-val": 8, "meta-test": 10}
    return synthetic_classes(n_classes, 60, shape=(params.size, params.size, 3), seed=3)


def _spec(
    name: str, summary: str, *, reference: str, archive: str, factory: str, synthetic: str | None
) -> DatasetSpec:
    home = "metabench_plugins.datasets.cifar100"
    return DatasetSpec(
        name=name,
        version=1,
        summary=summary,
        params="metabench_plugins.datasets.cifar10:CifarParams",
        reference=reference,
        kind="classes",
        factory=f"{home}:{factory}",
        synthetic=synthetic and f"{home}:{synthetic}",
        archive=f"{home}:{archive}",
        licence=LICENCE,
        citation=CITATION,
    )


SPECS = (
    _spec(
        "cifar100",
        "CIFAR-100: 100 classes, each with 500 training and 100 test images of "
        "32x32 pixels; training and test have the same classes.",
        reference="Krizhevsky 2009",
        archive="ARCHIVE",
        factory="load",
        synthetic=None,
    ),
    _spec(
        "cifar-fs",
        "CIFAR-FS: the classes of CIFAR-100 split 64/16/20 at random, 600 images of "
        "32x32 pixels each.",
        reference="Bertinetto et al. 2019",
        archive="CIFAR_FS_ARCHIVE",
        factory="load_cifar_fs",
        synthetic="synthesize",
    ),
    _spec(
        "fc100",
        "FC100: the classes of CIFAR-100 split 60/20/20 by superclass, 600 images "
        "of 32x32 pixels each.",
        reference="Oreshkin et al. 2018",
        archive="FC100_ARCHIVE",
        factory="load_fc100",
        synthetic="synthesize",
    ),
)
