"""TieredImagenet as folders of ILSVRC or of three parts, and as the pickles of its authors."""

from __future__ import annotations

import io
import pickle
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metabench.data import Pack, Preparation, fetch_archive, import_archive
from metabench.errors import DataError
from metabench.values import digest
from metabench_plugins.datasets.parts import tieredimagenet_files
from metabench_plugins.datasets.parts.packed import SPLITS, committed_split
from metabench_plugins.datasets.parts.tieredimagenet_files import N_IMAGES, listed_classes
from metabench_plugins.datasets.tieredimagenet import (
    ARCHIVE,
    TieredImagenetParams,
    load,
    synthesize,
)

LISTED = listed_classes()
CLASSES = {part: [c for c, entry in LISTED.items() if entry.part == part] for part in N_IMAGES}
PER_CLASS = 2
SMALL = Preparation(size=8, resize="box")
COMPLETE = {part: PER_CLASS * len(labels) for part, labels in CLASSES.items()}


def images_of(label: str) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pixels of a few images of a class."""
    rng = np.random.default_rng(int(label[1:]))
    for number in range(PER_CLASS):
        low = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        yield f"{label}_{number}.png", np.kron(low, np.ones((8, 8, 1), dtype=np.uint8))


def encoded(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "png")
    return sink.getvalue()


def write_images(folder: Path, place: str) -> None:
    """Write all images to where ``place`` says, from part, class and file."""
    for part, labels in CLASSES.items():
        for label in labels:
            for file, pixels in images_of(label):
                path = folder / place.format(part=part, label=label, file=file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(pixels))


def ilsvrc(folder: Path) -> None:
    """Class folders, a class that the split lacks among them."""
    write_images(folder, "{label}/{file}")
    (folder / "n03126707").mkdir()
    (folder / "n03126707" / "crane.JPEG").write_bytes(b"never read")


def ilsvrc_with_validation(folder: Path) -> None:
    """Every class in train/, and other images of the same classes in val/, as some sort them."""
    write_images(folder, "ILSVRC/train/{label}/{file}")
    for labels in CLASSES.values():
        for label in labels:
            (folder / "ILSVRC" / "val" / label).mkdir(parents=True)
            (folder / "ILSVRC" / "val" / label / "x.JPEG").write_bytes(b"never read")


def parts_of_class_folders(folder: Path) -> None:
    write_images(folder, "tiered/{part}/{label}/{file}")


def tarball(folder: Path) -> None:
    parts_of_class_folders(folder)
    with tarfile.open(folder / "tiered.tar", "w") as archive:
        archive.add(folder / "tiered", "tiered")
    shutil.rmtree(folder / "tiered")


def labels_of(part: str) -> dict[str, Any]:
    """As the authors have them: classes in an order of their own, superclasses beside."""
    labels = CLASSES[part][::-1]
    groups = sorted({LISTED[label].superclass for label in labels})
    repeated = np.repeat(np.arange(len(labels), dtype=np.int32), PER_CLASS)
    return {
        "label_specific": repeated,
        "label_general": np.array([groups.index(LISTED[labels[c]].superclass) for c in repeated]),
        "label_specific_str": [LISTED[label].name for label in labels],
        "label_general_str": groups,
    }


def images_of_part(part: str, *, column: bool) -> list[np.ndarray]:
    files = [encoded(pixels) for label in CLASSES[part][::-1] for _, pixels in images_of(label)]
    arrays = [np.frombuffer(file, dtype=np.uint8).copy() for file in files]
    return [array[:, None] for array in arrays] if column else arrays


def write_pickles(
    folder: Path, *, protocol: int = 4, column: bool = True, keys_of_bytes: bool = False
) -> None:
    folder.mkdir(exist_ok=True)
    for part in CLASSES:
        labels: dict[Any, Any] = labels_of(part)
        if keys_of_bytes:
            names = [name.encode() for name in labels["label_specific_str"]]
            labels = {k.encode(): v for k, v in labels.items()} | {b"label_specific_str": names}
        (folder / f"{part}_labels.pkl").write_bytes(pickle.dumps(labels, protocol))
        images = images_of_part(part, column=column)
        (folder / f"{part}_images_png.pkl").write_bytes(pickle.dumps(images, protocol))


def pickles(folder: Path) -> None:
    write_pickles(folder / "tiered-imagenet")
    (folder / "tiered-imagenet" / "synsets.txt").write_text("")


def pickles_of_today(folder: Path) -> None:
    """OpenCV now encodes to one dimension, and Python's default protocol may be the fifth."""
    write_pickles(folder, protocol=5, column=False)


def pickles_with_keys_of_bytes(folder: Path) -> None:
    write_pickles(folder, keys_of_bytes=True)


def arrays(folder: Path, *, compress: bool = True, parts: Iterable[str] = CLASSES) -> None:
    folder.mkdir(exist_ok=True)
    save = np.savez_compressed if compress else np.savez
    for part in parts:
        (folder / f"{part}_labels.pkl").write_bytes(pickle.dumps(labels_of(part), 2))
        images = [pixels for label in CLASSES[part][::-1] for _, pixels in images_of(label)]
        # decompress() of the authors stores what cv2.imdecode() returns: blue first
        save(folder / f"{part}_images.npz", images=np.stack(images)[..., ::-1])


def stored_arrays_in_a_tarball(folder: Path) -> None:
    arrays(folder / "tiered-imagenet", compress=False)
    with tarfile.open(folder / "tiered-imagenet.tar", "w") as archive:
        archive.add(folder / "tiered-imagenet", "tiered-imagenet")
    shutil.rmtree(folder / "tiered-imagenet")


def pickles_in_a_tarball(folder: Path) -> None:
    pickles(folder)
    with tarfile.open(folder / "tiered-imagenet.tar", "w") as archive:
        archive.add(folder / "tiered-imagenet", "tiered-imagenet")
    shutil.rmtree(folder / "tiered-imagenet")


LAYOUTS = [
    ilsvrc,
    ilsvrc_with_validation,
    parts_of_class_folders,
    tarball,
    pickles,
    pickles_of_today,
    pickles_with_keys_of_bytes,
    pickles_in_a_tarball,
    arrays,
    stored_arrays_in_a_tarball,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


def pack_small(folder: Path) -> Pack:
    return import_archive(ARCHIVE, folder, preparation=SMALL)


def test_the_split_keeps_superclasses_together_and_never_changes() -> None:
    lists = committed_split("tieredimagenet")
    assert [len(lists[split]) for split in SPLITS] == [351, 97, 160]
    assert len(LISTED) == len({entry.name for entry in LISTED.values()}) == 608
    groups = {part: {LISTED[c].superclass for c in labels} for part, labels in CLASSES.items()}
    assert {part: len(found) for part, found in groups.items()} == {
        "train": 20,
        "val": 6,
        "test": 8,
    }
    assert len(set.union(*groups.values())) == 34
    # "34 categories each containing between 10 and 30 classes."
    sizes = Counter(entry.superclass for entry in LISTED.values())
    assert (min(sizes.values()), max(sizes.values())) == (10, 30)
    assert digest({split: sorted(labels) for split, labels in lists.items()}) == "2dcff9d2e50945d6"


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_gives_the_same_images(
    folder: Path, data_root: Path, write: Callable[[Path], None]
) -> None:
    write(folder)
    pack = pack_small(folder)
    assert pack.class_names == tuple(
        sorted(f"{part}/{label}" for part, labels in CLASSES.items() for label in labels)
    )
    assert pack.index.shape == (608 * PER_CLASS, 8, 8, 3)
    expected = [
        Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX)
        for name in pack.class_names
        for _, pixels in images_of(name.partition("/")[2])
    ]
    np.testing.assert_array_equal(pack.images(), np.stack(expected))
    assert pack.index.stamps == ("subset",)


def test_classes_know_their_superclass_and_their_split(
    folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tieredimagenet_files, "N_IMAGES", COMPLETE)
    pickles(folder)
    pack = pack_small(folder)
    assert {entry.name.partition("/")[2]: entry.group for entry in pack.index.classes} == {
        label: entry.superclass for label, entry in LISTED.items()
    }
    data = load(TieredImagenetParams(size=8, resize="box"))
    assert [len(data.splits[split]) for split in SPLITS] == [351, 97, 160]
    named = {s: [data.class_names[c].partition("/")[2] for c in data.splits[s]] for s in SPLITS}
    assert named == {f"meta-{part}": sorted(labels) for part, labels in CLASSES.items()}
    assert data.stamps == (), "all images of all classes are there"


def test_the_published_counts_are_those_of_all_images() -> None:
    assert sum(N_IMAGES.values()) == 779_165


def class_in_another_part(folder: Path) -> None:
    home = folder / "tiered"
    (home / "train" / CLASSES["train"][0]).rename(home / "val" / CLASSES["train"][0])


def missing_class(folder: Path) -> None:
    shutil.rmtree(folder / "tiered" / "test" / CLASSES["test"][0])


def cut_image(folder: Path) -> None:
    path = next((folder / "tiered" / "val" / CLASSES["val"][0]).iterdir())
    path.write_bytes(path.read_bytes()[:40])


def other_folders(folder: Path) -> None:
    (folder / "tiered").rename(folder / "other")
    for path in (folder / "other").rglob("n*"):
        if path.is_dir():
            path.rename(path.with_name("x" + path.name))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (class_in_another_part, "has n01530575 in val; in the split of Ren et al. it is in train"),
        (missing_class, "holds 159 of the 160 test classes of tieredimagenet"),
        (cut_image, "is not an image"),
        (other_folders, "holds no images of tieredimagenet"),
    ],
)
def test_bad_folders_are_named_and_leave_nothing(
    folder: Path, data_root: Path, harm: Callable[[Path], None], words: str
) -> None:
    parts_of_class_folders(folder)
    harm(folder)
    with pytest.raises(DataError, match=words):
        pack_small(folder)
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_more_images_than_were_published_are_refused(
    folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tieredimagenet_files, "N_IMAGES", COMPLETE | {"val": 193})
    parts_of_class_folders(folder)
    with pytest.raises(DataError, match="has 194 val images; TieredImagenet has 193"):
        pack_small(folder)


def change_labels(folder: Path, **changes: object) -> None:
    (folder / "val_labels.pkl").write_bytes(pickle.dumps(labels_of("val") | changes))


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


def change_images(folder: Path, images: object) -> None:
    (folder / "val_images_png.pkl").write_bytes(pickle.dumps(images))


NAMES = labels_of("val")["label_specific_str"]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: (f / "val_labels.pkl").unlink(), "but no val_labels.pkl beside it"),
        (lambda f: (f / "val_images_png.pkl").unlink(), "holds none of the 97 val classes"),
        (lambda f: change_labels(f, label_specific=[97] * 194), "classes that it does not name"),
        (lambda f: change_labels(f, label_specific=[-1] * 194), "classes that it does not name"),
        (lambda f: change_labels(f, label_specific=[0] * 193), "194 images, but .* 193 labels"),
        (lambda f: change_labels(f, label_specific=["a"]), "no list of whole numbers"),
        (
            lambda f: change_labels(f, label_specific_str=["brambling", *NAMES[1:]]),
            "names the class 'brambling', which is none of val",
        ),
        (
            lambda f: change_labels(f, label_specific_str=[NAMES[1], *NAMES[1:]]),
            "names a class twice",
        ),
        (lambda f: change_labels(f, label_specific_str=3), "does not name its classes"),
        (lambda f: change_labels(f, label_specific=_Runs()), "asks for builtins.exec"),
        (lambda f: change_images(f, _Runs()), "asks for builtins.exec"),
        (lambda f: change_images(f, {}), "val_images_png.pkl in .* is not a list of encoded"),
        (lambda f: change_images(f, [np.zeros((9, 9), np.uint8)] * 194), "not a list of encoded"),
        (lambda f: change_images(f, [np.zeros(9, np.int64)] * 194), "not a list of encoded"),
        (lambda f: change_images(f, [np.zeros(9, np.uint8)] * 194), "png in .* is not an image"),
    ],
)
def test_bad_pickles_are_named_and_leave_nothing(
    folder: Path, data_root: Path, harm: Callable[[Path], None], words: str
) -> None:
    write_pickles(folder)
    harm(folder)
    with pytest.raises(DataError, match=words):
        pack_small(folder)
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def write_array(folder: Path, array: np.ndarray, name: str = "images") -> None:
    np.savez(folder / "val_images.npz", **{name: array})


def cut(folder: Path) -> None:
    path = folder / "val_images.npz"
    path.write_bytes(path.read_bytes()[:-40])


def a_header_that_lies(folder: Path) -> None:
    path = folder / "val_images.npz"
    with zipfile.ZipFile(path) as file:
        array = file.read("images.npy")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", array[:-100])


def a_header_without_an_end(folder: Path) -> None:
    header = b"{'descr': ("
    with zipfile.ZipFile(folder / "val_images.npz", "w") as file:
        file.writestr("images.npy", b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)


def objects(folder: Path) -> None:
    write_array(folder, np.array([{"a": 1}], dtype=object))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (cut, "is damaged: val_images.npz cannot be read"),
        (a_header_that_lies, "has .* bytes of images; its header says"),
        (a_header_without_an_end, "is not an array of NumPy"),
        (objects, "no array of color images: it is object"),
        (lambda folder: write_array(folder, np.zeros((4, 8, 8, 3))), "it is float64"),
        (lambda folder: write_array(folder, np.zeros((4, 8, 8), np.uint8)), "no array of color"),
        (lambda folder: write_array(folder, np.zeros((4, 8, 8, 3), np.uint8)), "but .* 194 labels"),
        (lambda folder: write_array(folder, np.zeros(1, np.uint8), "x"), "has no array images"),
    ],
)
def test_bad_arrays_are_named_and_leave_nothing(
    folder: Path, data_root: Path, harm: Callable[[Path], None], words: str
) -> None:
    arrays(folder, parts=["val"])
    harm(folder)
    with pytest.raises(DataError, match=words):
        pack_small(folder)
    assert not list(data_root.rglob("*.npy"))


def test_there_is_nowhere_to_fetch_it_from() -> None:
    with pytest.raises(DataError, match="no lawful stable address") as caught:
        fetch_archive(ARCHIVE)
    assert "metabench data import tieredimagenet PATH" in caught.value.hint


def test_the_look_alike_is_stamped() -> None:
    data = synthesize(TieredImagenetParams(size=20))
    assert data.images.shape == (38 * 40, 20, 20, 3)
    assert [len(data.splits[split]) for split in SPLITS] == [20, 8, 10]
    assert data.stamps == ("synthetic",)
