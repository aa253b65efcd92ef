"""Omniglot as a dataset: its splits, its choices, and the real files."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.data import Archive, Preparation, import_archive, open_pack
from metabench.errors import DataError
from metabench.plugin.contracts.data import ClassData
from metabench.values import digest
from metabench_plugins.datasets import omniglot
from metabench_plugins.datasets.omniglot import (
    ARCHIVE,
    OmniglotParams,
    load,
    split_classes,
    synthesize,
)

SPLITS = ("meta-train", "meta-val", "meta-test")


@pytest.fixture
def tiny(tiny_archive: Archive, tiny_folder: Path, data_root: Path) -> Path:
    return import_archive(tiny_archive, tiny_folder).folder


def test_nearest_repeats_what_pillow_makes_of_one_bit_images(
    tiny_archive: Archive, tiny_folder: Path, data_root: Path
) -> None:
    preparation = Preparation(size=28, resize="nearest")
    pack = import_archive(tiny_archive, tiny_folder, preparation=preparation)
    with Image.open(next(tiny_folder.glob("**/Greek/character01/*_01.png"))) as image:
        assert image.mode == "1"
        resized = image.resize((28, 28), Image.Resampling.LANCZOS).convert("L")
    np.testing.assert_array_equal(pack.images()[0, ..., 0], np.asarray(resized))


def of_parts(**choices: object) -> ClassData:
    return load(OmniglotParams.model_validate({"split": "background-evaluation", **choices}))


def test_inversion_makes_ink_bright(tiny: Path) -> None:
    inverted, upright = of_parts(), of_parts(invert=False)
    np.testing.assert_array_equal(255 - inverted.images, upright.images)
    assert inverted.images.dtype == np.uint8
    assert inverted.fingerprint != upright.fingerprint


def test_parts_are_the_splits(tiny: Path) -> None:
    data = of_parts()
    assert {split: ids.tolist() for split, ids in data.splits.items()} == {
        "meta-train": [0, 1, 2],
        "meta-val": [],
        "meta-test": [3, 4],
    }
    assert data.stamps == ()


def test_rotations_at_test_follow_training_unless_chosen(tiny: Path) -> None:
    assert set(of_parts(rotations="classes").rotations.values()) == {"classes"}
    chosen = of_parts(rotations="classes", test_rotations="none")
    assert [chosen.rotations[split] for split in SPLITS] == ["classes", "none", "none"]
    assert chosen.fingerprint != of_parts(rotations="classes").fingerprint


def test_splits_of_all_characters_refuse_fewer(tiny: Path) -> None:
    with pytest.raises(DataError, match="maml split needs all 1,623 characters; 5 are there"):
        load(OmniglotParams())


def test_another_preparation_is_asked_for_by_command(tiny: Path) -> None:
    with pytest.raises(DataError, match=r"28x28 pixels \(bilinear\)") as caught:
        of_parts(resize="bilinear")
    assert "--size 28 --resize bilinear" in caught.value.hint


@pytest.mark.parametrize("split", ["maml", "background-evaluation"])
@pytest.mark.parametrize("invert", [True, False])
def test_the_look_alike_is_stamped_and_has_what_the_choices_say(split: str, invert: bool) -> None:
    params = OmniglotParams.model_validate({"split": split, "invert": invert, "size": 32})
    data = synthesize(params)
    n_val = 20 if split == "maml" else 0
    assert [len(data.splits[split]) for split in SPLITS] == [60, n_val, 40]
    assert data.images.shape == ((100 + n_val) * 20, 32, 32, 1)
    assert data.stamps == ("synthetic",)
    assert (data.images.mean() < 128) == invert
    assert data.fingerprint == synthesize(params).fingerprint


@pytest.fixture(scope="session")
def real(real_omniglot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with all of the real Omniglot, packed once for all tests."""
    root = tmp_path_factory.mktemp("real-omniglot")
    import_archive(omniglot.ARCHIVE, real_omniglot, root=root)
    return root


@pytest.fixture(scope="module")
def names() -> list[str]:
    """All characters, as the committed lists of the Vinyals split name them."""
    source = files("metabench_plugins.datasets") / "splits" / "omniglot-vinyals.json"
    lists = json.loads(source.read_text("utf-8"))
    return sorted(
        {
            f"{alphabet}/character{number:02d}"
            for split in SPLITS
            for alphabet, (first, last) in lists[split].items()
            for number in range(first, last + 1)
        }
    )


@pytest.mark.parametrize(
    ("split", "sizes", "expected"),
    [
        ("maml", (1100, 100, 423), "01b2d66d3ecab420"),
        ("vinyals", (1028, 172, 423), "87b39a30e373c87b"),
        ("background-evaluation", (964, 0, 659), "7a36562e380fa3b9"),
    ],
)
def test_splits_are_disjoint_and_never_change(
    names: list[str], split: str, sizes: tuple[int, ...], expected: str
) -> None:
    splits = split_classes(names, split)
    assert tuple(len(splits[key]) for key in SPLITS) == sizes
    assert sorted(c for ids in splits.values() for c in ids) == list(range(1623))
    assert digest({key: [names[c] for c in ids] for key, ids in splits.items()}) == expected


def test_vinyals_split_cuts_between_alphabets_but_one(names: list[str]) -> None:
    splits = split_classes(names, "vinyals")
    alphabets = [{names[c].split("/")[1] for c in splits[key]} for key in SPLITS]
    assert [len(found) for found in alphabets] == [33, 5, 13]
    assert alphabets[0] & alphabets[2] == {"Gurmukhi"}
    assert not alphabets[1] & (alphabets[0] | alphabets[2])


@pytest.mark.slow
def test_the_real_files_give_all_drawings(
    real: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METABENCH_DATA", str(real))
    data = load(OmniglotParams())
    assert data.images.shape == (32460, 28, 28, 1)
    assert {stop - start for start, stop in pairwise(data.offsets.tolist())} == {20}
    pack = open_pack("omniglot", omniglot.ARCHIVE.preparation)
    assert list(pack.class_names) == names
    assert len({entry.group for entry in pack.index.classes}) == 50
    # Ink is bright and sparse in every drawing.
    per_image = data.images.reshape(32460, -1)
    assert 0.02 < per_image.mean() / 255 < 0.15
    assert per_image.max(axis=1).min() > 100
    # Drawings of one character are more alike than drawings of two; chance is 1 in 100.
    means = per_image.reshape(1623, 20, -1)[:, :10].mean(axis=1)
    drawn = per_image.reshape(1623, 20, -1)[:100, 15].astype(np.float64)
    distances = ((drawn[:, None] - means[None, :100]) ** 2).sum(axis=-1)
    assert (distances.argmin(axis=1) == np.arange(100)).mean() > 0.2


def test_the_official_repository_is_read_as_it_is(tmp_path: Path, data_root: Path) -> None:
    archive = dataclasses.replace(ARCHIVE, parts={"background": 2, "evaluation": 1}, per_class=2)
    home = tmp_path / "omniglot" / "python"
    home.mkdir(parents=True)
    for part, alphabets in {"background": ("Greek", "Latin"), "evaluation": ("Tengwar",)}.items():
        with zipfile.ZipFile(home / f"images_{part}.zip", "w") as file:
            for alphabet in alphabets:
                for number in (1, 2):
                    sink = io.BytesIO()
                    Image.new("1", (105, 105), number % 2).save(sink, "png")
                    name = f"images_{part}/{alphabet}/character01/0001_{number:02d}.png"
                    file.writestr(name, sink.getvalue())
    with zipfile.ZipFile(home / "images_background.zip") as file:
        file.extractall(home)  # beside its zip, as people leave it
    (home / "strokes_background.zip").write_bytes(b"never read")
    pack = import_archive(archive, tmp_path / "omniglot")
    assert pack.class_names == (
        "background/Greek/character01",
        "background/Latin/character01",
        "evaluation/Tengwar/character01",
    )
    assert pack.index.shape == (6, 28, 28, 1)
