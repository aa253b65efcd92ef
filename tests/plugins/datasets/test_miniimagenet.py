"""MiniImagenet in every layout in which it is circulated."""

from __future__ import annotations

import csv
import io
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.data import Pack, Preparation, fetch_archive, import_archive, open_pack, verify_pack
from metabench.errors import DataError
from metabench.values import digest
from metabench_plugins.datasets.miniimagenet import (
    ARCHIVE,
    MiniImagenetParams,
    load,
    synthesize,
)
from metabench_plugins.datasets.parts import miniimagenet_files
from metabench_plugins.datasets.parts.packed import SPLITS, committed_split

CLASSES = {
    split.removeprefix("meta-"): labels
    for split, labels in committed_split("miniimagenet-ravi").items()
}
PER_CLASS = 2
SMALL = Preparation(size=8, resize="box")


def images_of(label: str) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pixels of a few images of a class."""
    rng = np.random.default_rng(int(label[1:]))
    for number in range(PER_CLASS):
        low = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        yield f"{label}{number:08d}.png", np.kron(low, np.ones((14, 14, 1), dtype=np.uint8))


def encoded(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "png")
    return sink.getvalue()


def write_lists(folder: Path) -> None:
    for part, labels in CLASSES.items():
        rows = [(name, label) for label in labels for name, _ in images_of(label)]
        with (folder / f"{part}.csv").open("w", newline="") as sink:
            csv.writer(sink).writerows([("filename", "label"), *rows])


def write_images(folder: Path, place: str) -> None:
    """Write all images to where ``place`` says, from part, label and file."""
    for part, labels in CLASSES.items():
        for label in labels:
            for file, pixels in images_of(label):
                path = folder / place.format(part=part, label=label, file=file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(pixels))


def lists_and_folder(folder: Path) -> None:
    write_lists(folder)
    write_images(folder, "images/{file}")


def lists_and_zip(folder: Path) -> None:
    lists_and_folder(folder)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for path in sorted((folder / "images").iterdir()):
            archive.write(path, f"images/{path.name}")
    shutil.rmtree(folder / "images")


def parts_of_class_folders(folder: Path) -> None:
    write_images(folder, "mini-imagenet/{part}/{label}/{file}")


def class_folders_and_lists(folder: Path) -> None:
    write_lists(folder)
    write_images(folder, "{label}/{file}")


def class_folders(folder: Path) -> None:
    write_images(folder, "all/{label}/{file}")


def tarball(folder: Path) -> None:
    parts_of_class_folders(folder)
    with tarfile.open(folder / "mini-imagenet.tar.gz", "w:gz") as archive:
        archive.add(folder / "mini-imagenet", "mini-imagenet")
    shutil.rmtree(folder / "mini-imagenet")


def cache(part: str) -> dict[str, object]:
    images, rows = [], {}
    for label in CLASSES[part]:
        rows[label] = list(range(len(images), len(images) + PER_CLASS))
        images += [pixels for _, pixels in images_of(label)]
    return {"image_data": np.stack(images), "class_dict": rows}


def caches(folder: Path) -> None:
    for part in CLASSES:
        path = folder / f"mini-imagenet-cache-{part}.pkl"
        path.write_bytes(pickle.dumps(cache(part), 4))


def caches_with_keys_of_bytes(folder: Path) -> None:
    for part in CLASSES:
        found = cache(part)
        rows = found["class_dict"]
        assert isinstance(rows, dict)
        found["class_dict"] = {k.encode(): np.array(v) for k, v in rows.items()}
        renamed = {key.encode(): value for key, value in found.items()}
        path = folder / f"mini-imagenet-cache-{part}.pkl"
        path.write_bytes(pickle.dumps(renamed, 2))


def caches_with_the_name_in_circulation(folder: Path) -> None:
    caches(folder)
    (folder / "mini-imagenet-cache-val.pkl").rename(folder / "mini-imagenet-cache-validation.pkl")


def by_category(folder: Path, *, keys_of_bytes: bool = False) -> None:
    """As Gidaris and Komodakis pickled it, with labels that go on from part to part."""
    names = {"train": "train_phase_train", "val": "val", "test": "test"}
    start = 0
    for part, labels in CLASSES.items():
        numbers = {label: start + i for i, label in enumerate(labels)}
        start += len(labels)
        found: dict[object, object] = {
            "data": np.stack([pixels for label in labels for _, pixels in images_of(label)]),
            "labels": [numbers[label] for label in labels for _ in range(PER_CLASS)],
            "catname2label": {x.encode() if keys_of_bytes else x: n for x, n in numbers.items()},
        }
        if keys_of_bytes:
            found = {str(key).encode(): value for key, value in found.items()}
        path = folder / f"miniImageNet_category_split_{names[part]}.pickle"
        path.write_bytes(pickle.dumps(found, 2))
    # Further images of the training classes, which are not among the 600 of each.
    more = folder / "miniImageNet_category_split_train_phase_val.pickle"
    more.write_bytes(b"never read")


def by_category_with_keys_of_bytes(folder: Path) -> None:
    by_category(folder, keys_of_bytes=True)


def caches_in_a_tarball(folder: Path) -> None:
    caches(folder)
    with tarfile.open(folder / "mini-imagenet.tar.gz", "w:gz") as archive:
        for path in sorted(folder.glob("*.pkl")):
            archive.add(path, path.name)
            path.unlink()


LAYOUTS = [
    lists_and_folder,
    lists_and_zip,
    parts_of_class_folders,
    class_folders_and_lists,
    class_folders,
    tarball,
    caches,
    caches_with_keys_of_bytes,
    caches_in_a_tarball,
    caches_with_the_name_in_circulation,
    by_category,
    by_category_with_keys_of_bytes,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


def pack_small(folder: Path) -> Pack:
    return import_archive(ARCHIVE, folder, preparation=SMALL)


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_gives_the_same_images(
    folder: Path, data_root: Path, write: Callable[[Path], None]
) -> None:
    write(folder)
    pack = pack_small(folder)
    assert pack.class_names == tuple(
        sorted(f"{part}/{label}" for part, labels in CLASSES.items() for label in labels)
    )
    assert pack.index.shape == (100 * PER_CLASS, 8, 8, 3)
    expected = [
        Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX)
        for name in pack.class_names
        for _, pixels in images_of(name.partition("/")[2])
    ]
    np.testing.assert_array_equal(pack.images(), np.stack(expected))


def test_the_split_is_that_of_ravi_and_larochelle(folder: Path, data_root: Path) -> None:
    class_folders(folder)
    pack_small(folder)
    data = load(MiniImagenetParams(size=8, resize="box"))
    assert [len(data.splits[split]) for split in SPLITS] == [64, 16, 20]
    named = {
        split: [data.class_names[c].partition("/")[2] for c in data.splits[split]]
        for split in SPLITS
    }
    assert named == {f"meta-{part}": sorted(labels) for part, labels in CLASSES.items()}
    assert digest(named) == "5f32e121ac4239ec"
    assert data.stamps == ("subset",)


def test_complete_classes_are_not_stamped(
    folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miniimagenet_files, "PER_CLASS", PER_CLASS)
    lists_and_folder(folder)
    pack = pack_small(folder)
    assert pack.index.stamps == ()
    assert pack.index.notes == ()


def test_listed_images_that_are_absent_are_counted_and_stamped(
    folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miniimagenet_files, "PER_CLASS", PER_CLASS)
    lists_and_folder(folder)
    for label in CLASSES["val"][:3]:
        next((folder / "images").glob(f"{label}*")).unlink()
    pack = pack_small(folder)
    assert pack.index.stamps == ("subset",)
    assert pack.index.notes == ("3 of the 200 listed images are missing.",)
    assert pack.index.shape[0] == 197


def test_an_absent_image_is_not_that_of_another_class_with_its_name(
    folder: Path, data_root: Path
) -> None:
    """In class folders whose files are all called 0.png, 1.png and so on."""
    labels = [label for of_part in CLASSES.values() for label in of_part]
    for part, of_part in CLASSES.items():
        lines = [f"{n}.png,{label}" for label in of_part for n in range(PER_CLASS)]
        lines = [line for line in lines if line != "1.png,n01532829"]
        (folder / f"{part}.csv").write_text("\n".join(["filename,label", *lines]))
    for label in labels:
        (folder / label).mkdir(parents=True)
        for n, (_, pixels) in enumerate(images_of(label)):
            (folder / label / f"{n}.png").write_bytes(encoded(pixels))
    lacking = max(labels)  # whose image would be taken from n01532829, which does not list it
    (folder / lacking / "1.png").unlink()
    pack = pack_small(folder)
    sizes = {entry.name.split("/")[1]: entry.stop - entry.start for entry in pack.index.classes}
    assert (sizes[lacking], sizes["n01532829"]) == (1, 1)
    assert pack.index.notes == ("1 of the 199 listed images are missing.",)


def drop_class(folder: Path) -> None:
    for path in (folder / "images").glob("n01532829*"):
        path.unlink()


def another_split(folder: Path) -> None:
    (folder / "val.csv").write_text("filename,label\nx.png,n01532829\n")


def foreign_class(folder: Path) -> None:
    (folder / "val.csv").write_text("filename,label\nx.png,n99999999\n")


def other_columns(folder: Path) -> None:
    (folder / "test.csv").write_text("file,class\nx.png,n01532829\n")


def binary_list(folder: Path) -> None:
    (folder / "test.csv").write_bytes(b"\xff\xfe\x00\x01")


def short_rows(folder: Path) -> None:
    (folder / "test.csv").write_text("filename,label\nx.png\n")


def too_many(folder: Path) -> None:
    with (folder / "train.csv").open("a") as sink:
        for number in range(600):
            name = f"n01532829extra{number}.png"
            (folder / "images" / name).write_bytes(b"never read")
            sink.write(f"{name},n01532829\n")


def cut_image(folder: Path) -> None:
    path = next((folder / "images").glob("n01532829*"))
    path.write_bytes(path.read_bytes()[:60])


def no_lists(folder: Path) -> None:
    for part in CLASSES:
        (folder / f"{part}.csv").unlink()


def renamed(folder: Path) -> None:
    for number, path in enumerate(sorted((folder / "images").iterdir())):
        path.rename(folder / "images" / f"other{number}.png")


def same_image_of_two_classes(folder: Path) -> None:
    with (folder / "train.csv").open("a") as sink:
        sink.write("n0153282900000000.png,n01558993\n")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (drop_class, "holds 63 of the 64 train classes"),
        (another_split, "val.csv in .* has n01532829 in val; .* it is in train"),
        (foreign_class, "val.csv in .* has n99999999 in val; .* it is not a class of MiniImagenet"),
        (other_columns, "test.csv in .* is not a list of images"),
        (binary_list, "test.csv in .* is not a list of images"),
        (short_rows, "test.csv in .* is not a list of images"),
        (too_many, "602 images of n01532829; MiniImagenet has 600"),
        (cut_image, r"n015328290000000\d.png in .* is not an image"),
        (drop_class, "'n0153282900000000.png' is sought, 'images/n\\d+.png' is there"),
        (no_lists, "none of the 64 train .* 'n01532829/' is sought, 'images/.*png' is there"),
        (renamed, "'n0153282900000000.png' is sought, 'images/other0.png' is there"),
        (same_image_of_two_classes, "lists an image of train/n01558993 twice"),
    ],
)
def test_bad_files_are_named_and_leave_nothing(
    folder: Path, data_root: Path, harm: Callable[[Path], None], words: str
) -> None:
    lists_and_folder(folder)
    harm(folder)
    with pytest.raises(DataError, match=words):
        pack_small(folder)
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def rewrite_cache(folder: Path, **changes: object) -> None:
    path = folder / "mini-imagenet-cache-val.pkl"
    path.write_bytes(pickle.dumps({**cache("val"), **changes}))


def truncated_cache(folder: Path) -> None:
    path = folder / "mini-imagenet-cache-val.pkl"
    path.write_bytes(path.read_bytes()[:-100])


def missing_cache(folder: Path) -> None:
    (folder / "mini-imagenet-cache-val.pkl").unlink()


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (truncated_cache, "cache-val.pkl"),
        (missing_cache, "holds none of the 16 val classes"),
        (lambda f: rewrite_cache(f, x=_Runs()), "cache-val.pkl in .* asks for builtins.exec"),
        (
            lambda f: rewrite_cache(f, image_data=[1]),
            "cache-val.pkl in .* holds no images of 84x84",
        ),
        (lambda f: rewrite_cache(f, class_dict=[1]), "cache-val.pkl in .* has no classes"),
        (
            lambda f: rewrite_cache(f, class_dict={CLASSES["val"][0]: [10**6]}),
            f"cache-val.pkl in .* lists images of {CLASSES['val'][0]} that are not there",
        ),
        (
            lambda f: rewrite_cache(f, class_dict={CLASSES["val"][0]: ["a"]}),
            "cache-val.pkl in .* has no list of whole numbers",
        ),
        (
            lambda f: rewrite_cache(f, class_dict={CLASSES["train"][0]: [0]}),
            "cache-val.pkl in .* it is in train",
        ),
        (
            lambda f: rewrite_cache(f, class_dict={label: [0] for label in CLASSES["val"]}),
            "lists an image of val/.* twice",
        ),
    ],
)
def test_bad_caches_are_named_and_leave_nothing(
    folder: Path, data_root: Path, harm: Callable[[Path], None], words: str
) -> None:
    caches(folder)
    harm(folder)
    with pytest.raises(DataError, match=words):
        pack_small(folder)
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_no_room_for_a_temporary_file_is_a_sentence(folder: Path, data_root: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a thing of Unix")
    caches_in_a_tarball(folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"Cannot write to .*: File too large") as caught:
            pack_small(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "TMPDIR" in caught.value.hint
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_a_folder_that_is_named_like_an_archive_is_a_folder(folder: Path, data_root: Path) -> None:
    lists_and_folder(folder)
    (folder / "images").rename(folder / "images.zip")
    assert pack_small(folder).index.shape[0] == 100 * PER_CLASS


def test_there_is_nowhere_to_fetch_it_from() -> None:
    with pytest.raises(DataError, match="no lawful stable address") as caught:
        fetch_archive(ARCHIVE)
    assert "metabench data import miniimagenet PATH" in caught.value.hint


def test_the_look_alike_is_stamped() -> None:
    data = synthesize(MiniImagenetParams(size=20))
    assert data.images.shape == (38 * 40, 20, 20, 3)
    assert [len(data.splits[split]) for split in SPLITS] == [20, 8, 10]
    assert data.stamps == ("synthetic",)


@pytest.fixture(scope="session")
def real_miniimagenet(real_data: Path) -> Path:
    folder = real_data / "mini-imagenet"
    if not (folder / "images.zip").is_file():
        pytest.skip(f"no real MiniImagenet in {folder}")
    return folder


@pytest.mark.slow
def test_the_real_files_give_all_images(real_miniimagenet: Path, data_root: Path) -> None:
    pack = import_archive(ARCHIVE, real_miniimagenet)
    verify_pack(pack)
    assert pack.index.shape == (18400, 84, 84, 3)
    sizes = {part: set() for part in CLASSES}
    for entry in pack.index.classes:
        sizes[entry.name.partition("/")[0]].add(entry.stop - entry.start)
    assert sizes == {"train": {200}, "val": {100}, "test": {200}}
    data = load(MiniImagenetParams())
    assert data.stamps == ("subset",)
    assert {split: len(ids) for split, ids in data.splits.items()} == {
        "meta-train": 64,
        "meta-val": 16,
        "meta-test": 20,
    }
    # The images are 84x84 already, so they are the decoded files.
    with zipfile.ZipFile(real_miniimagenet / "images.zip") as archive:
        raw = archive.read("images/n0153282900000005.jpg")
    with Image.open(io.BytesIO(raw)) as image:
        first = pack.class_names.index("train/n01532829")
        np.testing.assert_array_equal(
            data.images[data.offsets[first]], np.asarray(image.convert("RGB"))
        )
    # Real photographs: varied, and no two alike.
    assert 0.35 < data.images[::50].mean() / 255 < 0.55
    assert len({image.tobytes() for image in data.images[::20]}) == 920


@pytest.mark.slow
def test_real_images_in_caches_and_class_folders_give_the_same_pack(
    real_miniimagenet: Path, folder: Path, data_root: Path, tmp_path: Path
) -> None:
    """The first three real images of each class, decoded, in each layout."""
    chosen: dict[str, dict[str, list[np.ndarray]]] = {}
    with zipfile.ZipFile(real_miniimagenet / "images.zip") as archive:
        for part in CLASSES:
            chosen[part] = {}
            with (real_miniimagenet / f"{part}.csv").open() as source:
                for row in csv.DictReader(source):
                    found = chosen[part].setdefault(row["label"], [])
                    if len(found) < 3:
                        raw = archive.read(f"images/{row['filename']}")
                        with Image.open(io.BytesIO(raw)) as image:
                            found.append(np.asarray(image.convert("RGB")))
    for part, classes in chosen.items():
        images = np.concatenate([np.stack(found) for found in classes.values()])
        rows = {label: [3 * i, 3 * i + 1, 3 * i + 2] for i, label in enumerate(classes)}
        (folder / f"mini-imagenet-cache-{part}.pkl").write_bytes(
            pickle.dumps({"image_data": images, "class_dict": rows})
        )
        for label, found in classes.items():
            home = tmp_path / "folders" / part / label
            home.mkdir(parents=True)
            for number, pixels in enumerate(found):
                Image.fromarray(pixels).save(home / f"{number}.png")
    packs = [import_archive(ARCHIVE, path) for path in (folder, tmp_path / "folders")]
    assert packs[0].index.digest == packs[1].index.digest
    assert packs[0].index.shape == (300, 84, 84, 3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_whole_cache_is_imported_in_bounded_memory(folder: Path, data_root: Path) -> None:
    """600 images of each of 100 classes: 1.27 GB of pickles within 1 GiB, in fact far less."""
    for part, labels in CLASSES.items():
        images = np.zeros((600 * len(labels), 84, 84, 3), dtype=np.uint8)
        images += np.arange(84, dtype=np.uint8)[:, None, None]
        rows = {label: list(range(600 * i, 600 * (i + 1))) for i, label in enumerate(labels)}
        with (folder / f"mini-imagenet-cache-{part}.pkl").open("wb") as sink:
            pickle.dump({"image_data": images, "class_dict": rows}, sink, 4)
        del images
    code = (
        "import re, sys; from pathlib import Path;"
        "from metabench.data import import_archive;"
        "from metabench_plugins.datasets.miniimagenet import ARCHIVE;"
        "pack = import_archive(ARCHIVE, Path(sys.argv[1]));"
        # Not getrusage, which counts what the parent had before exec.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1];"
        "print(pack.index.shape[0], pack.index.stamps, peak)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    n, stamps, peak = shown.stdout.split()
    assert (n, stamps) == ("60000", "()")
    assert int(peak) * 1024 < 2**28, "more than 256 MiB"
    assert open_pack("miniimagenet", ARCHIVE.preparation).index.stamps == ()
    for large in (folder, data_root):  # pytest would keep these gigabytes for three runs.
        shutil.rmtree(large)
