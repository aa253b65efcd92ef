"""CIFAR-10, CIFAR-100, CIFAR-FS and FC100, from files as they were published."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from metabench.cli import app
from metabench.data import import_archive, verify_pack
from metabench.errors import DataError
from metabench.plugin.contracts.data import ClassData
from metabench.values import digest
from metabench_plugins.datasets import cifar10, cifar100
from metabench_plugins.datasets.cifar10 import NAMES, CifarParams
from metabench_plugins.datasets.parts.packed import SPLITS, committed_split

LABELS_100 = sorted(label for labels in committed_split("cifar-fs").values() for label in labels)


def pixels(n: int, seed: int) -> np.ndarray:
    """Images as the batches have them: a plane per color, ``[n, 3072]``."""
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def as_python_2(value: Any) -> bytes:
    """Pickle as cPickle of Python 2 did, with protocol 2: text and bytes are one type."""
    return b"\x80\x02" + _as_python_2(value) + b"."


def _as_python_2(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        data = value.tobytes()
        shape = b"".join(_as_python_2(n) for n in value.shape)
        return (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01("
            + shape
            + b"tcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
            + b"J\xff\xff\xff\xffK\x00tb\x89T"
            + struct.pack("<i", len(data))
            + data
            + b"tb"
        )
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    if isinstance(value, list):
        return b"](" + b"".join(map(_as_python_2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_as_python_2(v) for pair in value.items() for v in pair) + b"u"
    return b"J" + struct.pack("<i", value)


def batch_10(number: int) -> dict[str, Any]:
    """Two images of each class, mixed."""
    labels = [(7 * row + number) % 10 for row in range(20)]
    names = [f"img_s_{row:06d}.png" for row in range(20)]
    return {
        "batch_label": f"training batch {number} of 5",
        "labels": labels,
        "data": pixels(20, number),
        "filenames": names,
    }


BATCHES_10 = {f"data_batch_{number}": number for number in range(1, 6)} | {"test_batch": 0}


def write_10(folder: Path, write: Callable[[Any], bytes] = as_python_2) -> None:
    home = folder / "cifar-10-batches-py"
    home.mkdir(parents=True)
    for name, number in BATCHES_10.items():
        (home / name).write_bytes(write(batch_10(number)))
    meta = {"num_cases_per_batch": 20, "label_names": list(NAMES), "num_vis": 3072}
    (home / "batches.meta").write_bytes(write(meta))
    (home / "readme.html").write_text("<html></html>")


def with_keys_of_bytes(value: dict[str, Any]) -> bytes:
    return pickle.dumps({key.encode(): item for key, item in value.items()}, 2)


def tarred(folder: Path, name: str) -> None:
    (content,) = folder.iterdir()
    with tarfile.open(folder / name, "w:gz") as archive:
        archive.add(content, content.name)
    shutil.rmtree(content)


def folders_10(folder: Path) -> None:
    for name, number in BATCHES_10.items():
        batch = batch_10(number)
        for row, label in enumerate(batch["labels"]):
            home = folder / "cifar10" / ("test" if number == 0 else "train") / NAMES[label]
            home.mkdir(parents=True, exist_ok=True)
            image = batch["data"][row].reshape(3, 32, 32).transpose(1, 2, 0)
            Image.fromarray(image).save(home / f"{name}_{row:03d}.png")


def zipped_folders_10(folder: Path) -> None:
    folders_10(folder)
    with zipfile.ZipFile(folder / "anything.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder).as_posix())
    shutil.rmtree(folder / "cifar10")


LAYOUTS_10: dict[str, Callable[[Path], None]] = {
    "official": write_10,
    "repickled": lambda folder: write_10(folder, pickle.dumps),
    "keys of bytes": lambda folder: write_10(folder, with_keys_of_bytes),
    "tarball": lambda folder: (write_10(folder), tarred(folder, "cifar-10-python.tar.gz"))[0],
    "folders": folders_10,
    "zip": zipped_folders_10,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


@pytest.mark.parametrize("layout", LAYOUTS_10)
def test_every_layout_of_cifar10_gives_the_same_images(
    folder: Path, data_root: Path, layout: str
) -> None:
    LAYOUTS_10[layout](folder)
    import_archive(cifar10.ARCHIVE, folder)
    data = cifar10.load(CifarParams())
    assert data.class_names == tuple(
        f"{part}/{name}" for part in ("test", "train") for name in NAMES
    )
    assert data.offsets.tolist() == [*range(0, 20, 2), *range(20, 121, 10)]
    assert data.splits["meta-train"].tolist() == list(range(10, 20))
    assert data.splits["meta-test"].tolist() == list(range(10))
    assert data.stamps == ("subset",)
    batch = batch_10(3)
    rows = [row for row, label in enumerate(batch["labels"]) if label == 4]
    cats = data.images[data.offsets[14] + 4 : data.offsets[14] + 6]
    expected = batch["data"][rows].reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(cats, expected)


def test_complete_classes_are_not_stamped(
    folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 10, "test": 2})
    write_10(folder)
    assert import_archive(cifar10.ARCHIVE, folder).index.stamps == ()


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


def rewrite(folder: Path, name: str, **changes: Any) -> None:
    path = folder / "cifar-10-batches-py" / name
    path.write_bytes(pickle.dumps({**batch_10(BATCHES_10[name]), **changes}))


def cut(folder: Path) -> None:
    path = folder / "cifar-10-batches-py" / "data_batch_4"
    path.write_bytes(path.read_bytes()[:5000])


HARM_10: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing batch": (
        lambda f: (f / "cifar-10-batches-py/data_batch_4").unlink(),
        "has no data_batch_4",
    ),
    "cut batch": (cut, "data_batch_4"),
    "empty batch": (
        lambda f: (f / "cifar-10-batches-py/data_batch_4").write_bytes(b""),
        "data_batch_4",
    ),
    "web page": (
        lambda f: (f / "cifar-10-batches-py/data_batch_4").write_bytes(b"<!DOCTYPE html><html>"),
        "data_batch_4 in .*|data_batch_4 is a web page",
    ),
    "code": (
        lambda f: rewrite(f, "test_batch", x=_Runs()),
        "test_batch in .* asks for builtins.exec",
    ),
    "few labels": (
        lambda f: rewrite(f, "test_batch", labels=[1, 2]),
        "test_batch in .* has labels that do not match",
    ),
    "label out of range": (
        lambda f: rewrite(f, "test_batch", labels=[10] * 20),
        "test_batch in .* has labels that do not match",
    ),
    "labels are text": (
        lambda f: rewrite(f, "test_batch", labels=["a"] * 20),
        "test_batch in .* has no list of whole numbers",
    ),
    "one class only": (
        lambda f: rewrite(f, "test_batch", labels=[3] * 20),
        "holds 1 of the 10 test classes",
    ),
    "other images": (
        lambda f: rewrite(f, "test_batch", data=np.zeros((20, 784), dtype=np.uint8)),
        "test_batch in .* holds no images of 32x32",
    ),
    "floats": (
        lambda f: rewrite(f, "test_batch", data=np.zeros((20, 3072), dtype=np.float32)),
        "test_batch in .* holds no images of 32x32",
    ),
    "no dictionary": (
        lambda f: (f / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps([1])),
        "test_batch in .* has no data",
    ),
    "nothing": (lambda f: shutil.rmtree(f / "cifar-10-batches-py"), "holds no images of cifar10"),
}


@pytest.mark.parametrize("harm", HARM_10)
def test_bad_files_are_named_and_leave_nothing(folder: Path, data_root: Path, harm: str) -> None:
    write_10(folder)
    change, words = HARM_10[harm]
    change(folder)
    with pytest.raises(DataError, match=words) as caught:
        import_archive(cifar10.ARCHIVE, folder)
    assert caught.value.exit_code == 3
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_more_images_than_were_published_are_refused(
    folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 9, "test": 2})
    write_10(folder)
    with pytest.raises(DataError, match="has 10 images of train/automobile, not 9"):
        import_archive(cifar10.ARCHIVE, folder)


@pytest.mark.parametrize(
    ("name", "expected"), [("cifar-fs", "fec3feef501d2372"), ("fc100", "eba88d719573edd6")]
)
def test_the_class_lists_are_disjoint_and_never_change(name: str, expected: str) -> None:
    lists = committed_split(name)
    sizes = {"cifar-fs": [64, 16, 20], "fc100": [60, 20, 20]}
    assert [len(lists[split]) for split in SPLITS] == sizes[name]
    assert sorted(label for labels in lists.values() for label in labels) == LABELS_100
    assert len(set(LABELS_100)) == 100
    assert digest({split: sorted(labels) for split, labels in lists.items()}) == expected


SUPERCLASSES = {
    0: "beaver dolphin otter seal whale",
    1: "aquarium_fish flatfish ray shark trout",
    2: "orchid poppy rose sunflower tulip",
    3: "bottle bowl can cup plate",
    4: "apple mushroom orange pear sweet_pepper",
    5: "clock keyboard lamp telephone television",
    6: "bed chair couch table wardrobe",
    7: "bee beetle butterfly caterpillar cockroach",
    8: "bear leopard lion tiger wolf",
    9: "bridge castle house road skyscraper",
    10: "cloud forest mountain plain sea",
    11: "camel cattle chimpanzee elephant kangaroo",
    12: "fox porcupine possum raccoon skunk",
    13: "crab lobster snail spider worm",
    14: "baby boy girl man woman",
    15: "crocodile dinosaur lizard snake turtle",
    16: "hamster mouse rabbit shrew squirrel",
    17: "maple_tree oak_tree palm_tree pine_tree willow_tree",
    18: "bicycle bus motorcycle pickup_truck train",
    19: "lawn_mower rocket streetcar tank tractor",
}
"""The classes of CIFAR-100 by the number of their superclass."""


def test_fc100_is_split_by_the_superclasses_of_tadam() -> None:
    """By number, as the paper lists them."""
    numbers = {
        "meta-train": {1, 2, 3, 4, 5, 6, 9, 10, 15, 17, 18, 19},
        "meta-val": {8, 11, 13, 16},
        "meta-test": {0, 7, 12, 14},
    }
    expected = {
        split: sorted(label for n in chosen for label in SUPERCLASSES[n].split())
        for split, chosen in numbers.items()
    }
    assert {split: sorted(labels) for split, labels in committed_split("fc100").items()} == expected


def write_100(folder: Path) -> None:
    home = folder / "cifar-100-python"
    home.mkdir(parents=True)
    for name, per_class in (("train", 2), ("test", 1)):
        labels = [label for label in range(99, -1, -1) for _ in range(per_class)]
        images = pixels(len(labels), per_class)
        images[:, 0] = labels
        content = {"data": images, "coarse_labels": labels, "fine_labels": labels}
        (home / name).write_bytes(as_python_2(content))
    (home / "meta").write_bytes(as_python_2({"fine_label_names": LABELS_100}))


@pytest.fixture
def packed_100(folder: Path, data_root: Path) -> Path:
    write_100(folder)
    tarred(folder, "cifar-100-python.tar.gz")
    return import_archive(cifar100.ARCHIVE, folder).folder


@pytest.mark.parametrize(
    ("load", "name"), [(cifar100.load_cifar_fs, "cifar-fs"), (cifar100.load_fc100, "fc100")]
)
def test_training_and_test_images_of_a_class_are_joined(
    packed_100: Path, load: Callable[[CifarParams], ClassData], name: str
) -> None:
    data = load(CifarParams())
    assert data.class_names == tuple(LABELS_100)
    assert data.offsets.tolist() == list(range(0, 301, 3))
    # The first value of an image is its label.
    assert data.images[:, 0, 0, 0].tolist() == [label for label in range(100) for _ in range(3)]
    named = {s: [data.class_names[c] for c in data.splits[s]] for s in SPLITS}
    assert named == {split: sorted(labels) for split, labels in committed_split(name).items()}
    assert data.stamps == ("subset",)


def test_the_two_benchmarks_and_cifar100_differ_in_fingerprint(packed_100: Path) -> None:
    loads = (cifar100.load, cifar100.load_cifar_fs, cifar100.load_fc100)
    assert len({load(CifarParams()).fingerprint for load in loads}) == 3
    assert [len(cifar100.load(CifarParams()).splits[split]) for split in SPLITS] == [100, 0, 100]


HARM_100: dict[str, tuple[Any, str]] = {
    "no meta": (None, "has no meta"),
    "other names": ({"fine_label_names": ["cat"] * 100}, "meta in .* names other classes"),
    "few names": ({"fine_label_names": LABELS_100[:99]}, "meta in .* names other classes"),
    "no names": ({"fine_label_names": 5}, "meta in .* does not name 100 classes"),
    "nested names": ({"fine_label_names": [["x"]] * 100}, "meta in .* names other classes"),
    "other field": ({"label_names": LABELS_100}, "meta in .* has no fine_label_names"),
}


@pytest.mark.parametrize("harm", HARM_100)
def test_a_bad_list_of_names_is_told(folder: Path, data_root: Path, harm: str) -> None:
    write_100(folder)
    meta, (content, words) = folder / "cifar-100-python" / "meta", HARM_100[harm]
    meta.unlink()
    if content is not None:
        meta.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=words):
        import_archive(cifar100.ARCHIVE, folder)


def write_pickles(folder: Path, start: str, sizes: dict[str, int]) -> None:
    """As Lee et al. pickled the benchmarks: images of the classes of a part, by number."""
    first = 0
    for part, size in sizes.items():
        numbers = [first + i for i in range(size) for _ in range(3)]
        first += size
        images = np.random.default_rng(size).integers(0, 256, (len(numbers), 32, 32, 3), np.uint8)
        found = {"data": images, "labels": numbers}
        (folder / f"{start}_{part}.pickle").write_bytes(pickle.dumps(found, 2))


@pytest.mark.parametrize(
    ("start", "name", "sizes"),
    [
        ("CIFAR_FS", "cifar-fs", {"train": 64, "val": 16, "test": 20}),
        ("cifar_fs", "cifar-fs", {"train": 64, "val": 16, "test": 20}),
        ("FC100", "fc100", {"train": 60, "val": 20, "test": 20}),
    ],
)
def test_pickles_of_a_benchmark_are_that_benchmark(
    folder: Path, data_root: Path, start: str, name: str, sizes: dict[str, int]
) -> None:
    write_pickles(folder, start, sizes)
    words = ["data", "import", name, str(folder)]
    assert CliRunner().invoke(app, words).exit_code == 0
    load = cifar100.load_cifar_fs if name == "cifar-fs" else cifar100.load_fc100
    data = load(CifarParams())
    assert {split: len(ids) for split, ids in data.splits.items()} == {
        f"meta-{part}": size for part, size in sizes.items()
    }
    assert data.stamps == ("subset",)
    with (folder / f"{start}_val.pickle").open("rb") as source:
        images = pickle.load(source)["data"]
    first = data.offsets[data.splits["meta-val"][0]]
    np.testing.assert_array_equal(data.images[first : first + 3], images[:3])
    listed = CliRunner().invoke(app, ["data", "list", "--json"])
    packs = {row["name"]: len(row["packs"]) for row in json.loads(listed.output)}
    assert {one: n for one, n in packs.items() if n} == {name: 1}
    assert CliRunner().invoke(app, ["data", "verify", name]).exit_code == 0
    with pytest.raises(DataError, match="cifar100 has not been prepared"):
        cifar100.load(CifarParams())


def test_a_missing_pickle_of_a_benchmark_is_named(folder: Path, data_root: Path) -> None:
    write_pickles(folder, "FC100", {"train": 60, "val": 20})
    with pytest.raises(DataError, match=r"has FC100_train.pickle, but not that of test\."):
        import_archive(cifar100.FC100_ARCHIVE, folder)


@pytest.mark.parametrize("name", ["fc100", "cifar100"])
def test_pickles_serve_no_other_benchmark(folder: Path, data_root: Path, name: str) -> None:
    write_pickles(folder, "CIFAR_FS", {"train": 1, "val": 1, "test": 1})
    refused = CliRunner().invoke(app, ["data", "import", name, str(folder)])
    assert refused.exit_code == 3
    assert (
        f"{folder} has the pickles of cifar-fs, which have not the splits of {name}.\n"
        "Import them as cifar-fs, or give a folder with cifar-100-python.tar.gz."
    ) in refused.stderr
    assert not list(data_root.rglob("index.json"))


def test_of_the_pickles_of_two_benchmarks_those_that_are_asked_for_are_taken(
    folder: Path, data_root: Path
) -> None:
    write_pickles(folder, "CIFAR_FS", {"train": 64, "val": 16, "test": 20})
    write_pickles(folder, "FC100", {"train": 60, "val": 20, "test": 20})
    assert import_archive(cifar100.FC100_ARCHIVE, folder).index.dataset == "fc100"
    assert import_archive(cifar100.CIFAR_FS_ARCHIVE, folder).index.dataset == "cifar-fs"
    with pytest.raises(DataError, match="the pickles of cifar-fs and of fc100"):
        import_archive(cifar100.ARCHIVE, folder)


def test_all_of_cifar100_goes_before_the_pickles(packed_100: Path, folder: Path) -> None:
    expected = cifar100.load_fc100(CifarParams()).fingerprint
    apart = folder / "apart"
    apart.mkdir()
    write_pickles(apart, "FC100", {"train": 60, "val": 20, "test": 20})
    assert import_archive(cifar100.FC100_ARCHIVE, apart).index.dataset == "fc100"
    assert cifar100.load_fc100(CifarParams()).fingerprint == expected
    assert import_archive(cifar100.FC100_ARCHIVE, folder).index.dataset == "cifar100"


def test_the_commands_that_get_the_data_name_the_benchmark(data_root: Path) -> None:
    """Its pickles are taken under its own name alone."""
    words = ["run", "--learner", "protonet", "--suite", "fc100", "--budget", "smoke"]
    refused = CliRunner().invoke(app, [*words, "--setting", "5w1s", "--out", str(data_root)])
    assert refused.exit_code == 3, refused.output
    assert "metabench data import fc100 PATH" in " ".join(refused.stderr.split())


def test_look_alikes_are_stamped() -> None:
    data = cifar10.synthesize(CifarParams(size=16))
    assert data.images.shape == (1200, 16, 16, 3)
    assert data.offsets.tolist() == [*range(0, 1001, 100), *range(1020, 1201, 20)]
    assert data.stamps == ("synthetic",)
    # The drawings of a class in train and test are of one prototype.
    means = data.images[:1000].reshape(10, 100, -1).mean(axis=1)
    tests = data.images[1000:].reshape(10, 20, -1).mean(axis=1)
    distances = ((tests[:, None] - means) ** 2).sum(axis=-1)
    assert distances.argmin(axis=1).tolist() == list(range(10))
    few_shot = cifar100.synthesize(CifarParams(size=16))
    assert [len(few_shot.splits[split]) for split in SPLITS] == [20, 8, 10]


@pytest.fixture(scope="session")
def real_cifar10(real_data: Path) -> Path:
    folder = real_data / "cifar10"
    if not (folder / "cifar10-subset.zip").is_file():
        pytest.skip(f"no real CIFAR-10 in {folder}")
    return folder


@pytest.mark.slow
def test_the_real_files_give_all_images(real_cifar10: Path, data_root: Path) -> None:
    verify_pack(import_archive(cifar10.ARCHIVE, real_cifar10))
    data = cifar10.load(CifarParams())
    assert data.images.shape == (12000, 32, 32, 3)
    assert np.diff(data.offsets).tolist() == [200] * 10 + [1000] * 10
    assert data.class_names == tuple(
        f"{part}/{name}" for part in ("test", "train") for name in NAMES
    )
    assert data.stamps == ("subset",)
    with zipfile.ZipFile(real_cifar10 / "cifar10-subset.zip") as archive:
        raw = archive.read("cifar10/train/airplane/aeroplane_s_000004.png")
    with Image.open(io.BytesIO(raw)) as image:
        np.testing.assert_array_equal(data.images[data.offsets[10]], np.asarray(image))
    # Training and test images of a class look more alike than those of different classes.
    test = data.images[:2000].reshape(10, 200, -1).mean(axis=1)
    train = data.images[2000:].reshape(10, 1000, -1).mean(axis=1)
    distances = ((test[:, None] - train) ** 2).sum(axis=-1)
    assert distances.argmin(axis=1).tolist() == list(range(10))


@pytest.mark.slow
def test_real_images_in_official_batches_give_the_same_pack(
    real_cifar10: Path, folder: Path, data_root: Path, tmp_path: Path
) -> None:
    whole = import_archive(cifar10.ARCHIVE, real_cifar10, root=tmp_path / "whole")
    home = folder / "cifar-10-batches-py"
    home.mkdir()
    images = whole.images()
    offsets = whole.offsets().tolist()
    planar = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    for name, number in BATCHES_10.items():
        # Each of the five batches has a fifth of the training images of a class.
        rows = [
            row
            for c in range(10)
            for row in (
                range(offsets[c], offsets[c + 1])
                if number == 0
                else range(offsets[10 + c] + 200 * (number - 1), offsets[10 + c] + 200 * number)
            )
        ]
        labels = [label for label in range(10) for _ in range(200)]
        (home / name).write_bytes(as_python_2({"data": planar[rows], "labels": labels}))
    tarred(folder, "cifar-10-python.tar.gz")
    assert import_archive(cifar10.ARCHIVE, folder).index.digest == whole.index.digest
