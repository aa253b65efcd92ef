"""Anyone's own images as a source, and a suite of ten lines that makes a benchmark of them."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import struct
import subprocess
import textwrap
import tracemalloc
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import DataError
from metabench_plugins.datasets import image_folder
from metabench_plugins.datasets.image_folder import ImageFolderParams, load, synthesize
from metabench_plugins.datasets.parts.class_splits import seeded_split
from metabench_plugins.datasets.parts.packed import SPLITS

KINDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")


def write_images(folder: Path, kinds: tuple[str, ...] = KINDS, n: int = 7) -> Path:
    """A color of its own for each kind, in files of different types and sizes."""
    for kind in kinds:
        home = folder / kind
        home.mkdir(parents=True)
        color = np.random.default_rng([*kind.encode()]).integers(0, 256, 3, dtype=np.uint8)
        for number in range(n):
            image = Image.new("RGB", (20 + number, 30), tuple(color.tolist()))
            image.save(home / f"{number}.{('png', 'JPG', 'bmp')[number % 3]}")
        (home / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_images(tmp_path / "photos")


def of(path: Path, **choices: object) -> ImageFolderParams:
    return ImageFolderParams.model_validate({"path": str(path), "size": 8, **choices})


def named_splits(params: ImageFolderParams) -> dict[str, list[str]]:
    data = load(params)
    return {split: [data.class_names[c] for c in data.splits[split]] for split in SPLITS}


def test_each_folder_is_a_class(photos: Path, data_root: Path) -> None:
    data = load(of(photos))
    assert data.class_names == KINDS
    assert data.offsets.tolist() == list(range(0, 71, 7))
    assert data.images.shape == (70, 8, 8, 3)
    assert data.stamps == ("drawn-split",)
    means = data.images.reshape(10, -1, 3).mean(axis=1)
    expected = [np.random.default_rng([*k.encode()]).integers(0, 256, 3, np.uint8) for k in KINDS]
    np.testing.assert_allclose(means, np.stack(expected), atol=3)  # JPEG rounds.


def test_a_drawn_split_has_all_classes_once_and_depends_on_the_seed(
    photos: Path, data_root: Path
) -> None:
    splits = named_splits(of(photos, fractions=[0.5, 0.2, 0.3]))
    assert [len(splits[split]) for split in SPLITS] == [5, 2, 3]
    assert sorted(name for names in splits.values() for name in names) == list(KINDS)
    assert splits == named_splits(of(photos, fractions=[0.5, 0.2, 0.3]))
    assert splits != named_splits(of(photos, fractions=[0.5, 0.2, 0.3], seed=1))


def test_a_drawn_split_never_changes() -> None:
    splits = seeded_split(KINDS, (0.64, 0.16, 0.2), seed=0)
    assert {split: [KINDS[c] for c in ids] for split, ids in splits.items()} == {
        "meta-train": ["ant", "bee", "cat", "fox", "gnu", "ibis"],
        "meta-val": ["dog", "eel"],
        "meta-test": ["hen", "jay"],
    }


def test_folders_of_parts_are_the_split(tmp_path: Path, data_root: Path) -> None:
    for part, kinds in (("train", KINDS[:6]), ("val", KINDS[6:8]), ("test", KINDS[8:])):
        write_images(tmp_path / "photos" / part, kinds)
    splits = named_splits(of(tmp_path / "photos"))
    assert splits["meta-val"] == ["val/gnu", "val/hen"]
    assert [len(splits[split]) for split in SPLITS] == [6, 2, 2]


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Val", "Test"),
        ("training", "validation", "testing"),
        ("base", "val", "novel"),
        ("meta-train", "valid", "meta-test"),
    ],
)
def test_folders_of_other_usual_names_are_the_split(
    tmp_path: Path, data_root: Path, names: tuple[str, ...]
) -> None:
    for part, kinds in zip(names, (KINDS[:6], KINDS[6:8], KINDS[8:]), strict=True):
        write_images(tmp_path / "photos" / part, kinds, n=2)
    splits = named_splits(of(tmp_path / "photos"))
    assert splits["meta-test"] == [f"{names[2]}/{kind}" for kind in KINDS[8:]]
    assert [len(splits[split]) for split in SPLITS] == [6, 2, 2]
    assert load(of(tmp_path / "photos")).stamps == ()


@pytest.mark.parametrize(
    ("homes", "words"),
    [
        ({"train": KINDS[:6], "val": KINDS[6:8], "test": KINDS[8:9], "more": KINDS[9:]}, "more/ja"),
        ({"train": KINDS[:6], "Training": KINDS[6:8], "test": KINDS[8:]}, "are all meta-train"),
        ({"train": KINDS, "val": KINDS, "test": KINDS}, "'ant' is both in test and in train"),
    ],
)
def test_folders_that_are_half_a_split_are_refused(
    tmp_path: Path, data_root: Path, homes: dict[str, tuple[str, ...]], words: str
) -> None:
    for home, kinds in homes.items():
        write_images(tmp_path / "photos" / home, kinds, n=2)
    with pytest.raises(DataError, match=words) as caught:
        load(of(tmp_path / "photos"))
    assert "splits" in caught.value.hint


LISTED = {"train": ["ant", "cat", "jay"], "val": [], "test": ["bee", "fox"]}
CSV = "class,split\nant,train\nbee,test\ncat,meta-train\nfox,test\njay,train\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("splits.json", json.dumps(LISTED)),
        ("splits.yaml", "train: [ant, cat, jay]\nmeta-test:\n  - bee\n  - fox\n"),
        ("SPLITS.CSV", CSV),
    ],
)
def test_a_file_may_say_the_split(
    photos: Path, tmp_path: Path, data_root: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    splits = named_splits(of(photos, splits=str(file)))
    assert splits == {f"meta-{part}": names for part, names in LISTED.items()}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("s.json", "{", "does not say which classes"),
        ("s.json", "[1, 2]", "does not say which classes"),
        ("s.json", '{"train": "ant"}', "does not say which classes"),
        ("s.json", '{"practice": ["ant"]}', "does not say which classes"),
        ("s.yaml", "train: [ant]\ntrain: [bee]", "does not say which classes"),
        ("s.csv", "name,part\nant,train\n", "does not say which classes"),
        ("s.csv", "class,split\nant\n", "does not say which classes"),
        ("s.json", '{"train": ["unt"]}', "class 'unt'"),
        ("s.json", '{"train": ["ant"], "test": ["ant"]}', "lists the class 'ant' twice"),
        ("absent/s.json", None, "cannot be read"),
    ],
)
def test_a_bad_split_file_is_told(
    photos: Path, tmp_path: Path, data_root: Path, name: str, text: str | None, words: str
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load(of(photos, splits=str(file)))
    assert str(file) in caught.value.message


def test_a_zip_and_a_folder_elsewhere_are_equal_data(
    photos: Path, tmp_path: Path, data_root: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*")):
            archive.write(path, f"deep/down/{path.relative_to(photos).as_posix()}")
    elsewhere = shutil.copytree(photos, tmp_path / "elsewhere")
    paths = (photos, tmp_path / "photos.zip", elsewhere)
    assert len({load(of(path)).fingerprint for path in paths}) == 1
    assert load(of(photos, seed=1)).fingerprint != load(of(photos)).fingerprint


def test_a_file_that_is_no_image_is_no_reason_to_pack_again(photos: Path, data_root: Path) -> None:
    load(of(photos))
    (photos / ".DS_Store").write_text("x")
    (photos / "ant" / "notes.txt").write_text("changed")
    (photos / "LICENSE").write_text("new")
    write_images(photos / ".ipynb_checkpoints", ("ant",), n=1)
    write_images(photos / "@eaDir", ("bee",), n=1)
    data = load(of(photos))
    assert data.class_names == KINDS
    assert len([*data_root.glob("image-folder/*/8-lanczos/images.npy")]) == 1


def test_what_is_left_out_is_counted_and_named(photos: Path, data_root: Path) -> None:
    (photos / ".DS_Store").write_text("x")
    (photos / "kite").mkdir()
    for name in ("kite/1.avif", "kite/2.avif", "ant/7.heic", "loose.heic"):
        (photos / name).write_bytes(b"x")
    shutil.copy(photos / "ant" / "1.JPG", photos / "ant" / "8.jfif")
    shutil.copy(photos / "ant" / "1.JPG", photos / "loose.jpg")
    data = load(of(photos))
    assert data.offsets[1] == 8
    assert list(data.notes) == [
        "Files left out: 2 of type .avif, such as kite/1.avif. No class is made of kite, where "
        "nothing else is.",
        "Files left out: 2 of type .heic, such as ant/7.heic.",
        "Files left out: 1 that are hidden or a system's own.",
        "Images left out: 1 in no folder of a class, such as loose.jpg.",
    ]


def test_one_folder_of_images_is_no_folder_of_classes(photos: Path, data_root: Path) -> None:
    left_out = "Images left out: 7 in no folder of a class, such as 0.png"
    with pytest.raises(DataError, match=f"holds no images of image-folder/.*{left_out}"):
        load(of(photos / "ant"))


def test_empty_folders_and_names_that_look_alike_are_named(photos: Path, data_root: Path) -> None:
    for name in ("kite", "lion/cubs", ".hidden", "@eaDir"):
        (photos / name).mkdir(parents=True)
    accents = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    write_images(photos, ("ANT", *accents), n=1)
    data = load(of(photos))
    assert len(data.class_names) == len(KINDS) + 3
    assert list(data.notes[-2:]) == [
        "Empty folders: 2, such as kite; they are no classes.",
        "Classes whose names differ only in capitals or in the code of an accent: 4, such as "
        "ANT and ant.",
    ]


def test_a_class_of_equal_images_is_named(photos: Path, data_root: Path) -> None:
    for number in range(7):
        (photos / "ant" / f"{number}.{('png', 'JPG', 'bmp')[number % 3]}").unlink()
        Image.new("RGB", (9 + number, 9), "blue").save(photos / "ant" / f"{number}.png")
    for number, kind in enumerate(KINDS[1:]):
        Image.new("RGB", (9, 9 + number), "white").save(photos / kind / "white.png")
    assert list(load(of(photos)).notes) == ["All images of ant have the same pixels."]


def test_a_picture_in_two_splits_is_stamped_and_named(
    photos: Path, tmp_path: Path, data_root: Path
) -> None:
    shutil.copy(photos / "ant" / "0.png", photos / "bee" / "99.png")
    shutil.copy(photos / "ant" / "0.png", photos / "ant" / "99.png")
    file = tmp_path / "splits.json"
    file.write_text(json.dumps(LISTED))
    data = load(of(photos, splits=str(file)))
    assert data.stamps == ("repeated-images",)
    assert data.notes[-1] == (
        "The same picture is in meta-train (ant/0.png) and in meta-test (bee/99.png)."
    )
    file.write_text(json.dumps({"train": ["ant", "bee"], "val": [], "test": ["cat"]}))
    assert load(of(photos, splits=str(file))).stamps == ()


def gray_steps() -> np.ndarray:
    return np.linspace(0, 1, 64).reshape(8, 8)


def turned(path: Path) -> None:
    image = Image.fromarray((gray_steps() * 255).astype(np.uint8).T[:, ::-1])
    exif = Image.Exif()
    exif[0x0112] = 8  # shown after a quarter turn to the left
    image.save(path, exif=exif)


def of_12_bits(path: Path) -> None:
    Image.fromarray((gray_steps() * 4095).astype(np.uint16)).save(path)


def on_transparency(path: Path) -> None:
    ink = np.zeros((8, 8, 4), dtype=np.uint8)
    ink[..., 3] = 255 - gray_steps() * 255
    Image.fromarray(ink).save(path)


def of_floats(path: Path) -> None:
    Image.fromarray((gray_steps() * 0.25 - 1).astype(np.float32)).save(path)


def of_integers(path: Path) -> None:
    Image.fromarray((gray_steps() * 100_000 - 50_000).astype(np.int32)).save(path)


@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (turned, "png"),
        (of_12_bits, "png"),
        (of_integers, "tif"),
        (on_transparency, "png"),
        (on_transparency, "webp"),
        (of_floats, "tif"),
    ],
)
def test_an_image_is_what_a_viewer_shows(
    tmp_path: Path, data_root: Path, write: Callable[[Path], None], suffix: str
) -> None:
    for kind in KINDS[:5]:
        (tmp_path / "photos" / kind).mkdir(parents=True)
        write(tmp_path / "photos" / kind / f"1.{suffix}")
    seen = load(of(tmp_path / "photos")).images[0].astype(float)
    # WebP is lossy in color, not in transparency.
    np.testing.assert_allclose(seen, np.repeat(gray_steps()[..., None] * 255, 3, 2), atol=3)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def wide_png() -> bytes:
    """A sound beginning of an image of 1 x 89,000,000 pixels."""
    header = struct.pack(">IIBBBBB", 1, 89_000_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (EPS, "not an image that can be read"),
        (wide_png(), "claims 1x89,000,000 pixels"),
        (b"", "not an image that can be read"),
    ],
)
def test_a_file_that_only_has_the_name_of_an_image_is_told(
    photos: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", never)
    (photos / "ant" / "0.png").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        load(of(photos))
    assert "ant/0.png" in caught.value.message


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("gztar", "PHOTOS.TAR.GZ"),
        ("gztar", "photos.zip"),
        ("bztar", "photos.tar.bz2"),
        ("xztar", "photos.tar.xz"),
        ("zip", "photos.tgz"),
        ("tar", "photos"),
    ],
)
def test_an_archive_is_known_by_its_content(
    photos: Path, tmp_path: Path, data_root: Path, kind: str, name: str
) -> None:
    expected = load(of(photos)).fingerprint
    made = shutil.make_archive(str(tmp_path / "made" / "archive"), kind, photos)
    (tmp_path / "other").mkdir()
    path = Path(made).rename(tmp_path / "other" / name)
    assert load(of(path)).fingerprint == expected


@pytest.mark.parametrize(
    ("method", "words"),
    [(zipfile.ZIP_BZIP2, "packed by a method that is not read"), (zipfile.ZIP_DEFLATED, "damaged")],
)
def test_a_member_that_holds_more_than_it_claims_is_not_unpacked(
    tmp_path: Path, data_root: Path, method: int, words: str
) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for kind in KINDS[:3]:
            archive.writestr(f"photos/{kind}/1.png", bytes(200 * 2**20))
    claims = struct.pack("<I", 200 * 2**20)
    path.write_bytes(path.read_bytes().replace(claims, struct.pack("<I", 100)))
    tracemalloc.start()
    with pytest.raises(DataError, match=words):
        load(of(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20


def a_pipe(home: Path) -> None:
    os.mkfifo(home / "1.png")


def a_link_to_nowhere(home: Path) -> None:
    (home / "1.png").symlink_to(home / "gone.png")


def a_link_out(home: Path) -> None:
    (home / "1.png").symlink_to("/dev/zero")


def a_name_of_two_lines(home: Path) -> None:
    (home / "1\n.png").write_bytes(b"x")


def a_name_that_is_no_text(home: Path) -> None:
    Path(os.fsdecode(os.fsencode(home) + b"/\xff.png")).write_bytes(b"x")


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (a_pipe, "neither a file nor a folder"),
        (a_link_to_nowhere, "is a link that leads nowhere"),
        (a_link_out, "is a link that leads out of"),
        (a_name_of_two_lines, "not printable text"),
        (a_name_that_is_no_text, "not printable text"),
    ],
)
def test_what_is_no_plain_file_is_refused(
    photos: Path, data_root: Path, add: Callable[[Path], None], words: str
) -> None:
    add(photos / "ant")
    with pytest.raises(DataError, match=words) as caught:
        load(of(photos))
    assert caught.value.message.isprintable()
    assert "ant" in caught.value.message


def test_links_within_the_folder_are_followed(
    photos: Path, tmp_path: Path, data_root: Path
) -> None:
    expected = load(of(photos)).fingerprint
    store = photos / ".store"
    (photos / "ant").rename(tmp_path / "ant")
    store.mkdir()
    (tmp_path / "ant").rename(store / "ant")
    (photos / "ant").symlink_to(store / "ant")
    (photos / "bee" / "0.png").rename(store / "bee.png")
    (photos / "bee" / "0.png").symlink_to(store / "bee.png")
    assert load(of(photos)).fingerprint == expected


def test_class_folders_that_are_links_are_followed_for_who_trusts_them(
    photos: Path, tmp_path: Path, data_root: Path
) -> None:
    expected = load(of(photos)).fingerprint
    linked = tmp_path / "linked"
    linked.mkdir()
    for kind in KINDS:
        (linked / kind).symlink_to(photos / kind)
    with pytest.raises(DataError, match="is a link that leads out of") as caught:
        load(of(linked))
    assert "--follow-links" in caught.value.hint
    words = ["data", "import", "image-folder", str(linked), "--size", "8", "--follow-links"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert load(ImageFolderParams(name="linked", size=8)).fingerprint == expected


def write_listed(folder: Path, lists: dict[str, tuple[str, ...]], head: str) -> Path:
    """The same images in one folder, and lists of their files and classes."""
    write_images(folder / "classes")
    home = folder / "images"
    home.mkdir()
    for path in sorted((folder / "classes").rglob("*.*")):
        if path.suffix != ".txt":
            path.rename(home / f"{path.parent.name}_{path.name}")
    shutil.rmtree(folder / "classes")
    for name, kinds in lists.items():
        sign = ";" if ";" in head else ","
        rows = [f"{p.name}{sign}{k}" for k in kinds for p in sorted(home.glob(f"{k}_*"))]
        (folder / name).write_text("\n".join([head, *rows]) + "\n")
    return folder


@pytest.mark.parametrize("head", ["filename,label", "\ufeffImage,Class", '"file";"label"'])
@pytest.mark.parametrize("name", ["labels.csv", "train.csv"])
def test_one_list_gives_the_classes(tmp_path: Path, data_root: Path, name: str, head: str) -> None:
    folder = write_listed(tmp_path / "listed", {name: KINDS}, head)
    (folder / "test.csv").write_text("filename\nant_0.png\n")  # without labels, as in contests
    data = load(of(folder))
    assert data.class_names == KINDS
    assert np.diff(data.offsets).tolist() == [7] * 10
    assert "drawn-split" in data.stamps
    plain = load(of(write_images(tmp_path / "plain")))
    means = [x.images.mean((0, 1, 2))[:] for x in (data, plain)]
    np.testing.assert_allclose(*means)


def test_lists_of_three_parts_are_the_split(tmp_path: Path, data_root: Path) -> None:
    lists = {"train.csv": KINDS[:5], "valid.csv": KINDS[5:7], "test.csv": KINDS[7:]}
    folder = write_listed(tmp_path / "listed", lists, "filename,label")
    assert named_splits(of(folder)) == {
        "meta-train": [f"train/{kind}" for kind in KINDS[:5]],
        "meta-val": [f"val/{kind}" for kind in KINDS[5:7]],
        "meta-test": [f"test/{kind}" for kind in KINDS[7:]],
    }


def test_lists_of_three_parts_are_the_split_of_class_folders_too(
    photos: Path, data_root: Path
) -> None:
    (photos / "labels.csv").write_text("label,meaning\nant,an insect\n")  # no list of images
    parts = {"train": KINDS[7:], "val": KINDS[:2], "test": KINDS[2:5]}
    for part, kinds in parts.items():
        rows = [f"{k}/{p.name},{k}" for k in kinds for p in sorted((photos / k).glob("?.*"))]
        (photos / f"{part}.csv").write_text("\n".join(["filename,label", *rows]))
    data = load(of(photos))
    assert data.stamps == ()
    assert data.notes == ("Images left out: 14 that no list names.",)
    assert named_splits(of(photos)) == {
        f"meta-{part}": [f"{part}/{kind}" for kind in kinds] for part, kinds in parts.items()
    }


def test_a_split_of_images_that_are_not_there_is_told(photos: Path, data_root: Path) -> None:
    for part, kind in (("train", "ant"), ("test", "bee")):
        (photos / f"{part}.csv").write_text(f"image,label\n{kind}_0,{kind}\n")
    with pytest.raises(DataError, match=r"'bee_0' is listed, 'ant/0\.png' is there"):
        load(of(photos))


def test_a_list_of_class_folders_changes_nothing(photos: Path, data_root: Path) -> None:
    expected = load(of(photos)).fingerprint
    rows = [f"{p.relative_to(photos)},{p.parent.name}" for p in photos.rglob("?.*")]
    (photos / "labels.csv").write_text("\n".join(["filename,label", *rows]))
    assert load(of(photos)).fingerprint == expected


def test_what_a_list_leaves_open_is_noted(tmp_path: Path, data_root: Path) -> None:
    folder = write_listed(tmp_path / "listed", {"labels.csv": KINDS[:5]}, "filename,label")
    (folder / "images" / "ant_0.png").unlink()
    assert load(of(folder)).notes[:2] == (
        "1 of the 35 listed images are missing, such as ant_0.png.",
        "Images left out: 35 that no list names.",
    )


def test_a_listed_image_that_is_absent_is_not_one_of_another_folder(
    photos: Path, data_root: Path
) -> None:
    for path in photos.rglob("?.*"):
        path.rename(path.with_name(f"{path.parent.name}_{path.name}"))
    absent, other = (sorted((photos / KINDS[i]).iterdir())[0] for i in (0, 1))
    rows = [f"{p.relative_to(photos)},{p.parent.name}" for p in photos.rglob("*_?.*") if p != other]
    other.rename(other.with_name(absent.name))  # which no line of its own lists
    absent.unlink()
    (photos / "labels.csv").write_text("\n".join(["filename,label", *rows]))
    data = load(of(photos))
    sizes = dict(zip(data.class_names, np.diff(data.offsets).tolist(), strict=True))
    assert sizes[KINDS[0]] == 6


def two_labels(path: Path) -> None:
    path.write_text(path.read_text() + "ant_0.png,bee\n")


def empty_label(path: Path) -> None:
    path.write_text(path.read_text().replace("ant_0.png,ant", "ant_0.png,"))


def short_row(path: Path) -> None:
    path.write_text(path.read_text() + "ant_0.png\n")


def other_encoding(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b",ant", b",\xe4nt"))


def other_names(path: Path) -> None:
    path.write_text(path.read_text().replace("_", "-"))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (two_labels, "images/ant_0.png in .* is listed as ant and as bee"),
        (empty_label, "labels.csv in .* has the label ''"),
        (short_row, "labels.csv in .* is no list of images"),
        (other_encoding, "labels.csv in .* is no list of images"),
        (other_names, "'ant-0.png' is listed, 'images/ant_0.png' is there"),
    ],
)
def test_a_bad_list_of_images_is_told(
    tmp_path: Path, data_root: Path, harm: Callable[[Path], None], words: str
) -> None:
    folder = write_listed(tmp_path / "listed", {"labels.csv": KINDS}, "filename,label")
    harm(folder / "labels.csv")
    with pytest.raises(DataError, match=words):
        load(of(folder))


def test_the_classes_of_each_split_are_shown(
    photos: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "ant" / "7.avif").write_bytes(b"x")
    (tmp_path / "photos.yaml").write_text(
        textwrap.dedent(inspect.getdoc(image_folder).partition("::\n\n")[2])
    )
    monkeypatch.chdir(tmp_path)
    shown = run("data", "show", "photos.yaml")
    assert "photos meta-train: ant, bee, cat, fox, gnu, ibis" in shown
    assert "photos note: Files left out: 1 of type .avif" in shown
    (source,) = json.loads(run("data", "show", "photos.yaml", "--json"))["sources"]
    assert source["classes"]["meta-test"] == ["hen", "jay"]
    assert source["stamps"] == ["drawn-split"]
    changes = ("--set", "protocol.ways=2", "--set", "protocol.queries=1")
    words = ("--suite", "photos.yaml", "--learner", "maml", "--budget", "smoke", "--dry-run")
    planned = CliRunner().invoke(app, ["run", *words, *changes])
    assert "Note: Files left out: 1 of type .avif" in planned.stderr


def test_a_folder_may_have_the_longest_name(photos: Path, data_root: Path) -> None:
    data = load(of(photos))
    assert load(of(photos.rename(photos.with_name("n" * 255)))).fingerprint == data.fingerprint


def test_a_path_of_nobody_is_not_there(data_root: Path) -> None:
    with pytest.raises(DataError, match="~nobody-of-that-name/x does not exist in"):
        load(of(Path("~nobody-of-that-name/x")))


def test_images_are_packed_once_and_again_when_they_change(photos: Path, data_root: Path) -> None:
    before = load(of(photos))
    (pack,) = data_root.glob("image-folder/*/8-lanczos/images.npy")
    load(of(photos))
    assert list(data_root.glob("image-folder/*/8-lanczos/images.npy")) == [pack]
    (photos / "ant" / "0.png").unlink()
    after = load(of(photos))
    assert len(after.images) == len(before.images) - 1
    assert after.fingerprint != before.fingerprint


def test_a_damaged_pack_is_made_again(photos: Path, data_root: Path) -> None:
    before = load(of(photos)).fingerprint
    (pack,) = data_root.glob("image-folder/*/8-lanczos/images.npy")
    os.truncate(pack, 100)
    assert load(of(photos)).fingerprint == before


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "needs either a path or a name"),
        ({"path": "x", "name": "y"}, "needs either a path or a name"),
        ({"path": "not-there"}, "not-there does not exist in /.*, the folder of the command"),
        ({"name": "birds"}, "image-folder/birds has not been prepared at 84x84"),
    ],
)
def test_missing_images_are_told(data_root: Path, params: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load(ImageFolderParams.model_validate(params))
    if "name" in params and "path" not in params:
        assert "import image-folder PATH --name birds --size 84" in caught.value.hint


def test_a_folder_without_images_is_told_and_leaves_nothing(
    tmp_path: Path, data_root: Path
) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "loose.png").write_bytes(b"not in a class")
    with pytest.raises(DataError, match="holds no images"):
        load(of(tmp_path / "photos"))
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_the_look_alike_is_stamped() -> None:
    data = synthesize(ImageFolderParams(path="x", size=16))
    assert data.stamps == ("synthetic",)
    assert data.images.shape[1:] == (16, 16, 3)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_suite_of_the_docstring_runs(
    photos: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = textwrap.dedent(inspect.getdoc(image_folder).partition("::\n\n")[2])
    assert len(text.splitlines()) <= 10
    (tmp_path / "photos.yaml").write_text(
        text.replace("5w1s", "2w1s").replace("ways: 5", "ways: 2")
    )
    monkeypatch.chdir(tmp_path)
    changes = ("--set", "protocol.episodes=5", "--set", "budget.meta_steps=2")
    words = ("--suite", "photos.yaml", "--learner", "reptile", "--budget", "smoke", *changes)
    shown = run("run", *words, "--set", "protocol.queries=2", "--out", "out")
    assert "1 done" in shown
    (record,) = (tmp_path / "out" / "photos@2w1s" / "reptile").glob("*/run.json")
    saved = json.loads(record.read_text())
    assert saved["status"] == "done"
    assert "--suite photos.yaml" in json.dumps(saved)


def test_a_suite_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["run", "--suite", str(tmp_path / "no.yaml"), "--learner", "maml"]
    )
    assert result.exit_code == 2
    assert "There is no suite file" in str(result.exception) + result.output


def test_images_are_imported_under_names_of_their_own(photos: Path, data_root: Path) -> None:
    run("data", "import", "image-folder", str(photos), "--size", "8")
    run("data", "import", "image-folder", str(photos), "--size", "8", "--name", "mine")
    shown = json.loads(run("data", "list", "--json"))
    (entry,) = (found for found in shown if found["name"] == "image-folder")
    assert [Path(pack["folder"]).parent.name for pack in entry["packs"]] == ["mine", "photos"]
    assert load(ImageFolderParams(name="mine", size=8)).class_names == KINDS
    assert "ok" in run("data", "verify", "image-folder")


@pytest.mark.parametrize("options", [(), ("--name", "mine")])
def test_a_name_that_other_images_have_is_refused(
    photos: Path, tmp_path: Path, data_root: Path, options: tuple[str, ...]
) -> None:
    others = write_images(tmp_path / "b" / "photos", KINDS[:4])
    first = CliRunner().invoke(app, ["data", "import", "image-folder", str(photos), *options])
    assert first.exit_code == 0
    again = CliRunner().invoke(app, ["data", "import", "image-folder", str(photos), *options])
    assert "already packed there" in again.stderr
    assert again.stdout == first.stdout
    refused = CliRunner().invoke(app, ["data", "import", "image-folder", str(others), *options])
    assert refused.exit_code == 3
    assert "holds other images" in refused.stderr
    assert "--name" in refused.stderr
    (entry,) = (e for e in json.loads(run("data", "list", "--json")) if e["name"] == "image-folder")
    assert [pack["n_classes"] for pack in entry["packs"]] == [len(KINDS)]


@pytest.mark.parametrize(
    "words", [("image-folder", "--name", "../up"), ("omniglot", "--name", "mine")]
)
def test_a_name_that_cannot_be_is_refused(
    photos: Path, data_root: Path, words: tuple[str, ...]
) -> None:
    name, *options = words
    result = CliRunner().invoke(app, ["data", "import", name, str(photos), *options])
    assert result.exit_code == 2
    assert not data_root.exists()


def test_images_that_are_too_small_for_a_network_are_refused_before_the_run(
    photos: Path, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos.yaml").write_text(
        textwrap.dedent(inspect.getdoc(image_folder).partition("::\n\n")[2])
    )
    monkeypatch.chdir(tmp_path)
    words = ["run", "--suite", "photos.yaml", "--learner", "maml", "--budget", "smoke"]
    words += ["--set", "protocol.ways=2", "--set", "protocol.queries=1", "--dry-run"]
    refused = CliRunner().invoke(app, [*words, "--set", "data.size=8"])
    assert refused.exit_code == 2
    assert "the images have 8 x 8 pixels" in refused.output + refused.stderr
    taken = ["--set", "data.size=8", "--set", "network.pool=stride"]
    assert CliRunner().invoke(app, [*words, *taken]).exit_code == 0
