"""A folder with an archive and with what it held unpacked: each image is taken once."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from metabench.data import Originals
from metabench_plugins.datasets import cifar10, four_domains, fungi, miniimagenet, tieredimagenet
from metabench_plugins.datasets.parts.packed import committed_split
from metabench_plugins.datasets.parts.tieredimagenet_files import listed_classes

MINI = [label for labels in committed_split("miniimagenet-ravi").values() for label in labels]
FOLDERS: dict[ModuleType, list[str]] = {
    four_domains: ["birds/owl"],
    fungi: [f"images/{number}_fungus" for number in range(100)],
    cifar10: [f"train/{name}" for name in cifar10.NAMES],
    miniimagenet: MINI,
    tieredimagenet: [*listed_classes()],
}


@pytest.mark.parametrize("dataset", FOLDERS, ids=lambda dataset: dataset.ARCHIVE.name)
def test_each_image_is_taken_once(
    dataset: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fungi, "PER_CLASS", 2)
    suffix = "png" if dataset is cifar10 else "jpg"
    archive = "birds.zip" if dataset is four_domains else "fungi.zip"
    names = [f"{folder}/000{number}.{suffix}" for folder in FOLDERS[dataset] for number in (1, 2)]
    with zipfile.ZipFile(tmp_path / archive, "w") as sink:
        for name in names:
            sink.writestr(name, name)
    for name in names:
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_text(name)
    splits = {"train": ["owl"], "val": [], "test": []}
    (tmp_path / "splits.json").write_text(json.dumps({"birds": splits}))
    with Originals(tmp_path, dataset.ARCHIVE.archives) as originals:
        assert len(originals.names) == 2 * len(names) + 2
        classes = dataset.scan(originals).classes
        found = [originals.read(image).decode() for one in classes for image in one.images]
    assert sorted(found) == sorted(names)
