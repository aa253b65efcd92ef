"""The four domains: their files, their look-alikes, and the suite that draws from all four."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metabench.data import Preparation, import_archive
from metabench.errors import DataError
from metabench.planning.plan import RunRequest, plan, source_choices
from metabench.planning.source_data import load_data
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import load_catalog
from metabench.plugin.contracts.data import ClassData
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.sources import open_source
from metabench_plugins.datasets import four_domains
from metabench_plugins.datasets.four_domains import ARCHIVE, FourDomainsParams
from metabench_plugins.datasets.parts.packed import SPLITS

DOMAINS = ("birds", "textures", "aircraft", "flowers")
COUNTS = {
    "birds": (64, 16, 20),
    "textures": (72, 16, 24),
    "aircraft": (30, 6, 10),
    "flowers": (57, 14, 18),
}


def params(domain: str, **others: object) -> FourDomainsParams:
    return FourDomainsParams.model_validate({"domain": domain, **others})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The four zips with one image per class, and their splits."""
    sink = io.BytesIO()
    Image.new("RGB", (84, 84), (200, 100, 50)).save(sink, "jpeg")
    home = tmp_path / "four-domains"
    home.mkdir()
    splits = {}
    for domain, counts in COUNTS.items():
        names = [f"c{c:03d}" for c in range(sum(counts))]
        ends = np.cumsum([0, *counts]).tolist()
        splits[domain] = {
            part: names[first:last]
            for part, first, last in zip(("train", "val", "test"), ends[:-1], ends[1:], strict=True)
        }
        with zipfile.ZipFile(home / f"{domain}.zip", "w") as archive:
            for name in names:
                archive.writestr(f"{domain}/{name}/0000.jpg", sink.getvalue())
    (home / "splits.json").write_text(json.dumps(splits))
    return home


def test_a_domain_has_its_own_classes_only(folder: Path, data_root: Path) -> None:
    pack = import_archive(ARCHIVE, folder)
    assert pack.index.stamps == ("substitute",)
    assert len(pack.index.classes) == 347
    fingerprints = set()
    for domain, counts in COUNTS.items():
        data = four_domains.load(params(domain))
        assert tuple(len(data.splits[split]) for split in SPLITS) == counts
        assert sorted(np.concatenate(list(data.splits.values()))) == list(range(sum(counts)))
        assert {name.split("/")[0] for name in data.class_names} == {domain}
        assert len(data.images) == data.offsets[-1] == sum(counts)
        assert data.stamps == ("substitute",)
        fingerprints.add(data.fingerprint)
    assert len(fingerprints) == 4


def no_splits(folder: Path) -> None:
    (folder / "splits.json").unlink()


def two_splits(folder: Path) -> None:
    (folder / "old").mkdir()
    (folder / "old" / "splits.json").write_text("{}")


def no_domain(folder: Path) -> None:
    (folder / "aircraft.zip").unlink()


def not_json(folder: Path) -> None:
    (folder / "splits.json").write_text("{")


def other_json(folder: Path) -> None:
    (folder / "splits.json").write_text('["birds"]')


def no_val(folder: Path) -> None:
    edit(folder, lambda lists: lists["birds"].pop("val"))


def class_less(folder: Path) -> None:
    edit(folder, lambda lists: lists["birds"]["test"].pop())


def class_twice(folder: Path) -> None:
    edit(folder, lambda lists: lists["birds"]["test"].append(lists["birds"]["train"][0]))


def edit(folder: Path, change: Callable[[dict[str, dict[str, list[str]]]], object]) -> None:
    lists = json.loads((folder / "splits.json").read_text())
    change(lists)
    (folder / "splits.json").write_text(json.dumps(lists))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (no_splits, r"holds no splits\.json"),
        (two_splits, r"holds 2 splits\.json"),
        (no_domain, "differ in 46 classes, aircraft/c000 among them"),
        (not_json, r"splits\.json in .* is not a list of train, val and test classes"),
        (other_json, r"splits\.json in .* is not a list of train, val and test classes"),
        (no_val, r"splits\.json in .* is not a list of train, val and test classes"),
        (class_less, "differ in 1 classes, birds/c099 among them"),
        (class_twice, "has a class in two splits"),
    ],
)
def test_bad_files_are_named_and_leave_nothing(
    harm: Callable[[Path], None], words: str, folder: Path, data_root: Path
) -> None:
    harm(folder)
    with pytest.raises(DataError, match=words):
        import_archive(ARCHIVE, folder)
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def test_look_alikes_differ_from_domain_to_domain() -> None:
    drawn = [four_domains.synthesize(params(domain, size=20)) for domain in DOMAINS]
    assert len({data.fingerprint for data in drawn}) == 4
    assert len({len(data.class_names) for data in drawn}) == 4
    assert all(data.stamps == ("synthetic",) for data in drawn)
    assert all((drawn[0].images[:24] != data.images[:24]).any() for data in drawn[1:])


def suite_sources(name: str) -> dict[str, ClassData]:
    catalog = load_catalog()
    choices = source_choices(load_suite(catalog.suites[name]), {"size": 20}, catalog)
    loaded = {choice.source: load_data(choice, catalog, data="synthetic") for choice in choices}
    return {source: data for source, data in loaded.items() if isinstance(data, ClassData)}


@pytest.mark.parametrize("name", ["four-domains", "multidataset"])
@pytest.mark.parametrize("split", SPLITS)
def test_a_task_never_mixes_domains(name: str, split: str) -> None:
    data = suite_sources(name)
    assert len({len(found.splits[split]) for found in data.values()}) > 1
    suite = load_suite(load_catalog().suites[name])
    protocol = suite.protocol_of("5w1s", "paper", {})

    train = split == "meta-train"
    shape = protocol.train_shape() if train else protocol.test_shape()
    sources = [
        open_source(source, found, device=torch.device("cpu")) for source, found in data.items()
    ]
    sampler = EpisodeSampler(
        sources, suite=name, split=split, seed=0, shape=shape, balanced=not train
    )
    tasks = sampler.batch(np.arange(400))
    counts = Counter(tasks.sources)
    assert set(counts) == set(data)
    if train:  # A quarter each; four standard deviations of a binomial draw.
        assert all(abs(n - 100) < 35 for n in counts.values())
    else:
        assert set(counts.values()) == {100}
    for task in range(0, 400, 7):
        own = data[tasks.sources[task]]
        allowed = {image.tobytes() for c in own.splits[split] for image in class_images(own, c)}
        for part in (tasks.support, tasks.query):
            pixels = part.x[task].mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
            assert {image.tobytes() for image in pixels} <= allowed


def class_images(data: ClassData, c: int) -> np.ndarray:
    return data.images[data.offsets[c] : data.offsets[c + 1]]


def test_both_suites_have_the_numbers_of_the_papers() -> None:
    catalog = load_catalog()
    for name in ("four-domains", "multidataset"):
        for setting, shots, steps in (("5w1s", 1, 60_000), ("5w5s", 5, 50_000)):
            request = RunRequest(
                learners=("maml",),
                suite=name,
                settings=(setting,),
                budget="paper",
                data="synthetic",
                changes={"data": {"size": 16}},
            )
            (cell,) = plan(request, catalog)
            spec = cell.spec
            p = spec.protocol
            assert (p.ways, p.shots, p.queries, p.train_queries) == (5, shots, shots, 15)
            assert (p.steps_at_test, p.curve_steps, p.episodes) == (5, 10, 1000)
            assert (spec.training.meta_steps, spec.training.meta_batch) == (steps, 4)
            learner = spec.learner.params
            assert (learner["inner_lr"], learner["inner_steps"]) == (0.01, 5)
            assert (learner["reduction"], learner["clip"]) == ("per_shot", None)
            assert spec.space is not None
            assert spec.space.params["filters"] == 32
            assert {source.source for source in spec.sources} in (
                set(DOMAINS),
                {"birds", "textures", "aircraft", "fungi"},
            )


@pytest.mark.slow
def test_the_real_files(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABENCH_DATA", str(tmp_path))
    pack = import_archive(ARCHIVE, real_data / "four-domains")
    assert pack.index.shape == (17_820, 84, 84, 3)
    lists = json.loads((real_data / "four-domains" / "splits.json").read_text())
    images = {"birds": 5902, "textures": 5488, "aircraft": 2430, "flowers": 4000}
    for domain, counts in COUNTS.items():
        data = four_domains.load(params(domain))
        assert len(data.images) == images[domain]
        for split, count in zip(SPLITS, counts, strict=True):
            names = sorted(data.class_names[c] for c in data.splits[split])
            assert names == sorted(
                f"{domain}/{name}" for name in lists[domain][split.removeprefix("meta-")]
            )
            assert len(names) == count
    textures = four_domains.load(params("textures")).images[::100].astype(int)
    assert np.abs(textures[..., 0] - textures[..., 1]).max() == 0, "the album is grey"
    with zipfile.ZipFile(real_data / "four-domains" / "birds.zip") as archive:
        name = sorted(archive.namelist())[0]
        with Image.open(archive.open(name)) as image:
            first = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(four_domains.load(params("birds")).images[0], first)
    assert ARCHIVE.preparation == Preparation(size=84, resize="lanczos")
