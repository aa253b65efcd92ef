"""The four sources of Multi-datasets, on files in the layouts in which they are published."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from data_root import REAL_DATA
from PIL import Image

from metabench.data import Archive, Preparation, fetch_archive, import_archive, open_pack
from metabench.errors import DataError
from metabench.values import digest
from metabench_plugins.datasets import aircraft, birds, fungi, textures
from metabench_plugins.datasets.parts.domains import BoxedParams, DomainParams
from metabench_plugins.datasets.parts.multidataset import Domain, draw_split
from metabench_plugins.datasets.parts.packed import SPLITS, committed_split

Files = dict[str, bytes]

SIZE = (120, 90)
BOX = (30, 20, 80, 60)
"""Where the red object is on a picture: left, top, right, bottom."""


def picture(seed: int = 0) -> bytes:
    """A JPEG of noise with a plain red object in its box."""
    pixels = np.random.default_rng(seed).integers(0, 120, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    left, top, right, bottom = BOX
    pixels[top:bottom, left:right] = (250, 10, 10)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "jpeg", quality=95, subsampling=0)
    return sink.getvalue()


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Real images where there are any, else generated ones."""
    real = REAL_DATA / "four-domains" / "birds.zip"
    if not real.is_file():
        return [picture(seed) for seed in range(8)]
    with zipfile.ZipFile(real) as archive:
        return [archive.read(name) for name in archive.namelist()[:400:50]]


def as_folder(content: Files, folder: Path) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def as_tarball(content: Files, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as ball:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            ball.addfile(member, io.BytesIO(data))
    return path


def rows(*table: tuple[object, ...]) -> bytes:
    return "".join(" ".join(map(str, row)) + "\n" for row in table).encode()


def small(archive: Archive, *, n_classes: int, per_class: int) -> Archive:
    return dataclasses.replace(archive, parts={archive.name: n_classes}, per_class=per_class)


def drawn(name: str, counts: tuple[int, int, int]) -> list[str]:
    """Some classes of each split of a committed list."""
    split = committed_split(f"{name}-rebuilt")
    return [c for part, n in zip(SPLITS, counts, strict=True) for c in split[part][:n]]


def cub(classes: list[str], per_class: int, images: list[bytes]) -> Files:
    """CUB-200-2011 as published, with these classes."""
    listed, labels, boxes, content = [], [], [], {}
    left, top, right, bottom = BOX
    for label, name in enumerate(classes, start=1):
        for _ in range(per_class):
            number = len(listed) + 1
            path = f"{name}/{name[4:]}_{number:04d}_{700000 + number}.jpg"
            listed.append((number, path))
            labels.append((number, label))
            boxes.append(
                (number, f"{left}.0", f"{top}.0", f"{right - left}.0", f"{bottom - top}.0")
            )
            content[f"CUB_200_2011/images/{path}"] = images[number % len(images)]
    return {
        "attributes.txt": b"1 has_bill_shape::curved\n",
        "CUB_200_2011/README": b"images.txt is explained here",
        # As in the real one, the lists lie among the images.
        **dict(list(content.items())[:3]),
        "CUB_200_2011/bounding_boxes.txt": rows(*boxes),
        "CUB_200_2011/classes.txt": rows(*enumerate(classes, start=1)),
        "CUB_200_2011/image_class_labels.txt": rows(*labels),
        "CUB_200_2011/images.txt": rows(*listed),
        "CUB_200_2011/parts/parts.txt": b"1 back\n",
        **dict(list(content.items())[3:]),
    }


def fgvc(variants: list[str], per_class: int, images: list[bytes]) -> Files:
    """FGVC-Aircraft as published, the images of each variant dealt out to the three splits."""
    content: Files = {}
    lists: dict[str, list[tuple[object, ...]]] = {"train": [], "val": [], "test": []}
    left, top, right, bottom = BOX
    boxes = []
    for c, variant in enumerate(variants):
        for i in range(per_class):
            number = f"{c * 1000 + i:07d}"
            lists[("train", "val", "test")[i % 3]].append((number, variant))
            boxes.append((number, left + 1, top + 1, right, bottom))
            content[f"fgvc-aircraft-2013b/data/images/{number}.jpg"] = images[i % len(images)]
    data = "fgvc-aircraft-2013b/data"
    return {
        "fgvc-aircraft-2013b/README.md": b"text",
        f"{data}/variants.txt": rows(*((variant,) for variant in variants)),
        f"{data}/images_box.txt": rows(*boxes),
        f"{data}/images_variant_trainval.txt": rows(*lists["train"], *lists["val"]),
        **{f"{data}/images_variant_{name}.txt": rows(*found) for name, found in lists.items()},
        **content,
    }


def dtd(classes: list[str], per_class: int, images: list[bytes]) -> Files:
    """DTD as published."""
    return {
        "dtd/labels/train1.txt": b"banded/banded_0002.jpg\n",
        "dtd/imdb/imdb.mat": b"binary",
        **{
            f"dtd/images/{name}/{name}_{i:04d}.jpg": images[i % len(images)]
            for name in classes
            for i in range(1, per_class + 1)
        },
    }


def fgvcx(counts: dict[str, int], images: list[bytes]) -> Files:
    """FGVCx Fungi 2018: class folders of unequal size."""
    return {
        f"images/{name}/{name}_{i:04d}.JPG": images[i % len(images)]
        for name, n in counts.items()
        for i in range(n)
    }


def released(domain: Domain, per_class: int, images: list[bytes]) -> Files:
    """A domain of the authors' release."""
    content: Files = {}
    parts = zip(("train", "val", "test"), domain.sizes, strict=True)
    for part, n in parts:
        for c in range(n):
            for i in range(per_class):
                name = f"{domain.released}/{part}/{part}_class_{c:03d}/{i}.jpg"
                content[name] = images[i % len(images)]
    return content


BIRDS = small(birds.ARCHIVE, n_classes=5, per_class=3)
BIRD_CLASSES = [*drawn("birds", (3, 1, 1)), "003.Sooty_Albatross"]


@pytest.mark.parametrize("form", ["tgz", "folder of tgz", "folder", "inner folder"])
def test_birds_from_every_form(
    form: str, tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    content = cub(BIRD_CLASSES, 3, [picture(seed) for seed in range(4)])
    path = tmp_path / "originals"
    if "tgz" in form:
        ball = as_tarball(content, path / "CUB_200_2011.tgz")
        path = ball if form == "tgz" else path
    else:
        as_folder(content, path)
        path = path / "CUB_200_2011" if form == "inner folder" else path
    pack = import_archive(BIRDS, path)
    assert pack.class_names == tuple(sorted(f"birds/{name}" for name in BIRD_CLASSES[:5]))
    assert pack.index.stamps == ("rebuilt-split",)
    assert pack.folder.name == "84-lanczos-box"
    images = pack.images()
    assert images.shape == (15, 84, 84, 3)
    # Cut to the box, a picture is all red: the noise around it would be dark.
    inner = images[:, 8:-8, 8:-8].astype(int)
    assert (inner[..., 0] > 200).all()
    assert (inner[..., 1:] < 60).all()
    data = birds.load(BoxedParams())
    assert {split: len(ids) for split, ids in data.splits.items()} == dict(
        zip(SPLITS, (3, 1, 1), strict=True)
    )
    assert data.stamps == ("rebuilt-split",)
    folder = as_folder(content, tmp_path / "again")
    again = import_archive(BIRDS, folder, root=tmp_path / "root-2")
    assert pack.index.originals_sha256 == again.index.originals_sha256


def test_the_crop_is_a_choice_and_another_fingerprint(tmp_path: Path, data_root: Path) -> None:
    folder = as_folder(cub(BIRD_CLASSES, 3, [picture()]), tmp_path / "cub")
    whole = Preparation(size=84, crop="none")
    packs = [import_archive(BIRDS, folder, preparation=p) for p in (None, whole)]
    assert [pack.folder.name for pack in packs] == ["84-lanczos-box", "84-lanczos"]
    assert len({pack.index.digest for pack in packs}) == 2
    with Image.open(io.BytesIO(picture())) as image:
        expected = image.resize((84, 84), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(open_pack("birds", whole).images()[0], np.asarray(expected))
    loaded = [birds.load(BoxedParams.model_validate({"crop": crop})) for crop in ("box", "none")]
    assert loaded[0].fingerprint != loaded[1].fingerprint


def test_boxes_are_clipped_to_the_image(tmp_path: Path, data_root: Path) -> None:
    content = cub(BIRD_CLASSES, 3, [picture()])
    table = [(n, "-7.4", "0.0", "500.0", "500.0") for n in range(1, 19)]
    content["CUB_200_2011/bounding_boxes.txt"] = rows(*table)
    pack = import_archive(BIRDS, as_folder(content, tmp_path / "cub"))
    with Image.open(io.BytesIO(picture())) as image:
        expected = image.resize((84, 84), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pack.images()[0], np.asarray(expected))


AIRCRAFT = small(aircraft.ARCHIVE, n_classes=4, per_class=7)


@pytest.mark.parametrize("packed", [True, False])
def test_aircraft_merge_the_official_splits(packed: bool, tmp_path: Path, data_root: Path) -> None:
    classes = drawn("aircraft", (2, 1, 1))
    classes[0] = "F-16A_B"
    variants = ["F-16A/B", *classes[1:]]
    content = fgvc(variants, 7, [picture(seed) for seed in range(3)])
    path = tmp_path / "fgvc-aircraft-2013b.tar.gz"
    path = as_tarball(content, path) if packed else as_folder(content, tmp_path / "fgvc")
    pack = import_archive(AIRCRAFT, path)
    assert pack.class_names == tuple(sorted(f"aircraft/{name}" for name in classes))
    assert pack.offsets().tolist() == [0, 7, 14, 21, 28]
    inner = pack.images()[:, 4:-4, 4:-4].astype(int)
    assert (inner[..., 0] > 200).all(), "the boxes count pixels from one, and include the last"
    assert aircraft.load(BoxedParams()).stamps == ("rebuilt-split",)


def test_textures_are_all_classes(tmp_path: Path, data_root: Path, pictures: list[bytes]) -> None:
    names = [name for part in committed_split("textures-rebuilt").values() for name in part]
    archive = small(textures.ARCHIVE, n_classes=47, per_class=2)
    path = as_tarball(dtd(names, 2, pictures), tmp_path / "dtd-r1.0.1.tar.gz")
    pack = import_archive(archive, path)
    assert len(pack.index.classes) == 47
    data = textures.load(DomainParams())
    assert [len(data.splits[split]) for split in SPLITS] == [30, 7, 10]
    assert pack.folder.name == "84-lanczos"
    with Image.open(io.BytesIO(pictures[1])) as image:
        expected = image.convert("RGB").resize((84, 84), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(data.images[0], np.asarray(expected))


@pytest.fixture
def few_fungi(monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Fungi with 4 images of 6 classes."""
    monkeypatch.setattr(fungi, "PER_CLASS", 4)
    monkeypatch.setattr(fungi, "DOMAIN", Domain("fungi", "FGVCx_Fungi", (3, 1, 2)))
    return small(fungi.ARCHIVE, n_classes=6, per_class=4)


def test_fungi_draw_classes_and_images(
    few_fungi: Archive, tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    counts = {f"{i}.Boletus_{i}": 4 + i % 5 for i in range(12)} | {"99.Rare": 3}
    content = fgvcx(counts, pictures)
    packs = [
        import_archive(few_fungi, path, root=tmp_path / f"root-{i}")
        for i, path in enumerate(
            [
                as_tarball(content, tmp_path / "fungi_train_val.tgz"),
                as_folder(content, tmp_path / "fungi"),
                as_folder({f"fungi/{k}": v for k, v in content.items()}, tmp_path / "deeper"),
            ]
        )
    ]
    assert len({(pack.index.digest, pack.index.originals_sha256) for pack in packs}) == 1
    index = packs[0].index
    assert len(index.classes) == 6
    assert {entry.stop - entry.start for entry in index.classes} == {4}
    assert "fungi/99.Rare" not in packs[0].class_names
    expected = draw_split([name for name in counts if counts[name] >= 4], (3, 1, 2), seed=2)
    assert index.splits == {
        "rebuilt": {
            split: tuple(f"fungi/{name}" for name in names) for split, names in expected.items()
        }
    }


def test_too_few_fungi_are_counted(
    few_fungi: Archive, tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    folder = as_folder(fgvcx({f"{i}.Few": 4 for i in range(5)}, pictures), tmp_path / "fungi")
    with pytest.raises(DataError, match="holds 5 of the 6 fungi classes"):
        import_archive(few_fungi, folder)


@pytest.mark.parametrize("module", [birds, textures, aircraft, fungi])
def test_the_release_keeps_its_own_split(
    module: object, tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    domain: Domain = module.DOMAIN  # type: ignore[attr-defined]
    archive = dataclasses.replace(module.ARCHIVE, per_class=1)  # type: ignore[attr-defined]
    content = released(domain, 1, pictures)
    path = tmp_path / "Meta-Dataset.zip"
    with zipfile.ZipFile(path, "w") as release:
        for name, data in content.items():
            release.writestr(f"Meta-Dataset/{name}", data)
    pack = import_archive(archive, path)
    assert pack.index.stamps == ()
    (split,) = pack.index.splits.values()
    assert {name: len(found) for name, found in split.items()} == dict(
        zip(SPLITS, domain.sizes, strict=True)
    )
    assert all("/train_class" in name for name in split["meta-train"])
    again = import_archive(archive, as_folder(content, tmp_path / "release"))
    assert again.index.digest == pack.index.digest


def test_folders_of_a_release_may_have_capitals(
    tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    content = {
        name.replace("/train/", "/Train/").replace("/val/", "/VAL/"): data
        for name, data in released(textures.DOMAIN, 1, pictures).items()
    }
    archive = dataclasses.replace(textures.ARCHIVE, per_class=1)
    pack = import_archive(archive, as_folder(content, tmp_path / "release"))
    (split,) = pack.index.splits.values()
    assert [len(split[name]) for name in SPLITS] == [*textures.DOMAIN.sizes]


def test_a_release_with_a_class_in_two_splits_is_refused(
    tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    content = released(textures.DOMAIN, 1, pictures)
    content["DTD_Texture/val/train_class_000/0.jpg"] = content.pop(
        "DTD_Texture/val/val_class_000/0.jpg"
    )
    folder = as_folder(content, tmp_path / "release")
    with pytest.raises(DataError, match="or has a class twice"):
        import_archive(dataclasses.replace(textures.ARCHIVE, per_class=1), folder)


def test_a_release_with_fewer_classes_is_refused(
    tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    content = released(Domain("textures", "DTD_Texture", (30, 7, 9)), 1, pictures)
    folder = as_folder(content, tmp_path / "release")
    with pytest.raises(DataError, match="30/7/9 classes in train, val and test, not 30/7/10"):
        import_archive(textures.ARCHIVE, folder)


@pytest.mark.parametrize(
    ("name", "sizes", "seed", "n_eligible", "expected"),
    [
        ("birds", (64, 16, 20), 1, 144, "f6c09ba80f28059f"),
        ("textures", (30, 7, 10), 1, 47, "6db6a8c476fbf7d9"),
        ("aircraft", (64, 16, 20), 2, 100, "c736264f03a94d54"),
    ],
)
def test_committed_lists_follow_their_rule_and_never_change(
    name: str, sizes: tuple[int, int, int], seed: int, n_eligible: int, expected: str
) -> None:
    source = files("metabench_plugins.datasets") / "splits" / f"{name}-rebuilt.json"
    lists = json.loads(source.read_text("utf-8"))
    eligible = [c for part in (*SPLITS, "not-drawn") for c in lists[part]]
    assert len(eligible) == len(set(eligible)) == n_eligible
    committed = committed_split(f"{name}-rebuilt")
    assert committed == draw_split(eligible, sizes, seed=seed)
    assert digest(committed) == expected


def no_boxes(content: Files) -> None:
    del content["CUB_200_2011/bounding_boxes.txt"]


def one_box_less(content: Files) -> None:
    table = content["CUB_200_2011/bounding_boxes.txt"].splitlines(keepends=True)
    content["CUB_200_2011/bounding_boxes.txt"] = b"".join(table[1:])


def box_of_words(content: Files) -> None:
    table = content["CUB_200_2011/bounding_boxes.txt"]
    content["CUB_200_2011/bounding_boxes.txt"] = table.replace(b"30.0", b"left", 1)


def endless_box(content: Files) -> None:
    table = content["CUB_200_2011/bounding_boxes.txt"]
    content["CUB_200_2011/bounding_boxes.txt"] = table.replace(b"30.0", b"inf", 1)


def box_outside(content: Files) -> None:
    table = content["CUB_200_2011/bounding_boxes.txt"]
    content["CUB_200_2011/bounding_boxes.txt"] = table.replace(b"30.0", b"900.0", 1)


def list_of_other_columns(content: Files) -> None:
    content["CUB_200_2011/images.txt"] = b"1\n2\n"


def binary_list(content: Files) -> None:
    content["CUB_200_2011/images.txt"] = bytes(range(256))


def one_image_less(content: Files) -> None:
    name = BIRD_CLASSES[0]
    del content[next(key for key in content if f"/{name}/" in key)]


def one_class_less(content: Files) -> None:
    for key in [key for key in content if f"/{BIRD_CLASSES[0]}/" in key]:
        del content[key]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (no_boxes, r"does not hold CUB_200_2011/bounding_boxes\.txt"),
        (one_box_less, r"_0001_700001\.jpg has no bounding box"),
        (box_of_words, r"bounding_boxes\.txt in .* has no bounding box of four numbers for 1"),
        (endless_box, r"bounding_boxes\.txt in .* has no bounding box of four numbers for 1"),
        (box_outside, r"The box of .*_0001_700001\.jpg .* lies outside the image, .* 120x90"),
        (list_of_other_columns, r"images\.txt in .* is not a list of 2 columns"),
        (binary_list, r"images\.txt in .* is not a list of 2 columns"),
        (one_image_less, "has 2 images, not 3"),
        (one_class_less, "holds 4 of the 5 birds classes"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_bad_lists_are_named_and_leave_nothing(
    harm: object, words: str, packed: bool, tmp_path: Path, data_root: Path
) -> None:
    content = cub(BIRD_CLASSES, 3, [picture()])
    harm(content)  # type: ignore[operator]
    path = tmp_path / "CUB_200_2011.tgz"
    path = as_tarball(content, path) if packed else as_folder(content, tmp_path / "cub")
    with pytest.raises(DataError, match=words) as caught:
        import_archive(BIRDS, path)
    assert caught.value.exit_code == 3
    assert not [found for found in data_root.rglob("*") if found.is_file()]


def test_files_are_fetched_only_where_there_is_an_address_to_vouch_for(data_root: Path) -> None:
    for module in (birds, textures, aircraft):
        (file,) = module.ARCHIVE.files
        assert file.digest.removeprefix("sha256:").isalnum()
        assert len(file.digest) == len("sha256:") + 64
        assert all(url.startswith("https://") and url.endswith(file.name) for url in file.urls)
    with pytest.raises(DataError, match="fungi has no lawful stable address") as caught:
        fetch_archive(fungi.ARCHIVE)
    assert "metabench data import fungi PATH" in caught.value.hint


@pytest.mark.slow
def test_a_whole_cub_gives_the_committed_classes(
    tmp_path: Path, data_root: Path, pictures: list[bytes]
) -> None:
    source = files("metabench_plugins.datasets") / "splits" / "birds-rebuilt.json"
    lists = json.loads(source.read_text("utf-8"))
    eligible = sorted(c for part in (*SPLITS, "not-drawn") for c in lists[part])
    content = cub(eligible, 60, [picture(seed) for seed in range(8)])
    pack = import_archive(birds.ARCHIVE, as_tarball(content, tmp_path / "CUB_200_2011.tgz"))
    assert pack.index.shape == (6000, 84, 84, 3)
    data = birds.load(BoxedParams())
    assert [len(data.splits[split]) for split in SPLITS] == [64, 16, 20]
