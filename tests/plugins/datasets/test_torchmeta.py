"""torchmeta's datasets as sources: beside a small stand-in always, beside the real one if there."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import DataError, UsageError
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.sampling.seeding import derive_key, words
from metabench_plugins.datasets.image_folder import ImageFolderParams
from metabench_plugins.datasets.image_folder import load as load_folder
from metabench_plugins.datasets.parts import torchmeta_bridge as bridge
from metabench_plugins.datasets.parts.class_splits import PARTS, split_from_file
from metabench_plugins.datasets.torchmeta_classes import TorchmetaClassesParams, load, synthesize
from metabench_plugins.datasets.torchmeta_toy import TorchmetaToy, TorchmetaToyParams

SHAPE = EpisodeShape(1, 5, 10)
TORCHVISION = {
    "torchvision/__init__.py": "",
    "torchvision/datasets/__init__.py": "",
    "torchvision/datasets/utils.py": "def download_url(): ...\n",
}
TORCHMETA = {
    "torchmeta/__init__.py": """
        from torchvision.datasets.utils import _get_confirm_token, _save_response_content
        from torchmeta import datasets, toy
        __version__ = "1.8.0"
        drive = _get_confirm_token
        """,
    "torchmeta/utils/__init__.py": "",
    "torchmeta/utils/data/__init__.py": "",
    "torchmeta/utils/data/task.py": """
        from torch.utils.data import Subset
        class SubsetTask(Subset):
            def __getitem__(self, index):
                return ("own", Subset.__getitem__(self, index))
        """,
    "torchmeta/toy.py": """
        import numpy as np
        __all__ = ["Ramp"]
        class Ramp:
            def __init__(self, num_samples_per_task, num_tasks, noise_std=0.0):
                self.n, self.noise_std = num_samples_per_task, noise_std
            def seed(self, seed):
                self.np_random = np.random.RandomState(seed)
            def __getitem__(self, index):
                slope, x = self.np_random.uniform(), self.np_random.uniform(size=(self.n, 1))
                noise = self.noise_std * self.np_random.randn(self.n, 1)
                return [(a, slope * a + e) for a, e in zip(x, noise)]
        """,
    "torchmeta/datasets.py": """
        import numpy as np, torch
        from PIL import Image
        __all__ = ["Shades", "Tables", "Absent", "Twins"]
        N = {"train": 3, "val": 1, "test": 2}
        class Shades:
            def __init__(self, root, meta_split, form="image", has_val=True):
                if meta_split == "val" and not has_val:
                    raise ValueError("no such split")
                self.root, self.split, self.form = root, meta_split, form
            num_classes = property(lambda self: N[self.split])
            def __len__(self):
                return self.num_classes
            def __getitem__(self, c):
                shade = 40 * (c + 1)
                if self.form == "tensor":
                    example = torch.full((1, 12, 12), shade / 255)
                elif self.form == "array":
                    example = np.full((12, 12, 3), shade, dtype=np.uint8)
                else:
                    example = Image.new("L", (20, 20), shade)
                return [(example, (f"{self.split}{c}", None))] * (c + 2)
        class Tables(Shades):
            def __getitem__(self, c):
                return [(np.zeros(16), "row")]
        class Absent(Shades):
            def __init__(self, root, meta_split):
                raise RuntimeError("integrity check failed")
        class Twins(Shades):
            def __getitem__(self, c):
                return [(Image.new("L", (8, 8)), "same")]
        class Tasks:
            def __init__(self, num_classes_per_task, meta_split):
                self.dataset = Shades("", meta_split)
        """,
}
Install = Callable[[dict[str, str]], None]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of torchmeta and torchvision is imported, before or after."""
    kept = {n: m for n, m in sys.modules.items() if n.split(".")[0] in ("torchmeta", "torchvision")}
    for name in kept:
        del sys.modules[name]
    bridge.torchmeta_bridge.cache_clear()
    yield
    bridge.torchmeta_bridge.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] in ("torchmeta", "torchvision")]:
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture
def install(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write packages that shadow whatever is installed."""

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            file = tmp_path / "site" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path / "site")

    return write


@pytest.fixture
def stand_in(install: Install) -> None:
    install(TORCHVISION | TORCHMETA)


def points(family: TorchmetaToy, n: int = 6) -> tuple[Any, Any]:
    word = words(derive_key("toy"), np.arange(n), family.n_words(SHAPE))
    return family.sample(word, SHAPE, split="meta-test")


# The bridge ------------------------------------------------------------------------------------


def test_what_is_missing_is_supplied_and_told(
    stand_in: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = bridge.torchmeta_bridge()
    assert found.supplied == (
        "torchvision.datasets.utils._get_confirm_token",
        "torchvision.datasets.utils._save_response_content",
        "torchmeta.utils.data.SubsetTask.__getitems__",
    )
    assert "torchmeta 1.8.0: supplied torchvision" in caplog.text
    assert bridge.state().startswith("works with torchmeta 1.8.0; supplied torchvision.")
    utils = sys.modules["torchvision.datasets.utils"]
    assert not hasattr(utils, "_get_confirm_token"), "torchvision stays as it was"
    with pytest.raises(DataError, match="Google Drive"):
        found.module.drive(None)
    task = sys.modules["torchmeta.utils.data.task"].SubsetTask("abc", [0, 2])
    assert task.__getitems__([1, 0]) == [("own", "c"), ("own", "a")]


def test_nothing_is_supplied_where_nothing_is_missing(install: Install) -> None:
    whole = {"torchvision/datasets/utils.py": "_get_confirm_token = _save_response_content = id\n"}
    task = {"torchmeta/utils/data/task.py": "class SubsetTask: ...\n"}
    install(TORCHVISION | TORCHMETA | whole | task)
    assert bridge.torchmeta_bridge().supplied == ()
    assert bridge.torchmeta_bridge().module.drive is id
    assert bridge.state() == "works with torchmeta 1.8.0"


def test_operators_of_an_unfitting_torchvision_are_declared(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "_OPERATORS", ("made_up_by_a_test",))
    init = """
        import torch
        from torchvision import extension
        if not hasattr(torch.ops.torchvision, "made_up_by_a_test"):
            raise RuntimeError("operator torchvision::made_up_by_a_test does not exist")
        """
    half = {"torchvision/__init__.py": init, "torchvision/extension.py": ""}
    install(TORCHVISION | TORCHMETA | half)
    assert bridge.torchmeta_bridge().supplied[0] == "torchvision::made_up_by_a_test"


def test_without_torchmeta_one_line_says_how_to_get_it(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchmeta", None)
    for make in (
        lambda: TorchmetaToy(TorchmetaToyParams()),
        lambda: load(TorchmetaClassesParams()),
    ):
        with pytest.raises(UsageError, match=r"torchmeta is not installed\.") as caught:
            make()
        assert caught.value.hint == bridge.INSTALL
    assert bridge.state() == f"missing; {bridge.INSTALL}"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"torchmeta/__init__.py": "import a_package_it_needs\n"}, "No module named 'a_package_"),
        ({"torchvision/__init__.py": "raise RuntimeError('old driver')\n"}, "old driver"),
        ({"torchmeta/utils/data/task.py": ""}, "SubsetTask"),
    ],
)
def test_a_broken_installation_is_told_in_a_sentence(
    install: Install, files: dict[str, str], reason: str
) -> None:
    install(TORCHVISION | TORCHMETA | files)
    with pytest.raises(UsageError, match="installed but cannot be imported") as caught:
        bridge.torchmeta_bridge()
    assert reason in caught.value.message
    assert bridge.state().startswith("broken: ")


def test_doctor_tells_the_state(stand_in: None) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.output)["optional datasets"]
    assert found == dict.fromkeys(("torchmeta-classes", "torchmeta-toy"), bridge.state())


# Classes ---------------------------------------------------------------------------------------


def shades(**changes: object) -> TorchmetaClassesParams:
    return TorchmetaClassesParams.model_validate(
        {"dataset": "Shades", "size": 10, "channels": 1, **changes}
    )


@pytest.mark.parametrize("form", ["image", "tensor", "array"])
def test_classes_come_with_their_splits_names_and_pixels(stand_in: None, form: str) -> None:
    data = load(shades(options={"form": form}))
    assert data.images.shape == (9 + 2 + 5, 10, 10, 1)
    assert data.offsets.tolist() == [0, 2, 5, 9, 11, 13, 16]
    assert data.class_names == (
        *(f"train/train{c}" for c in range(3)),
        "val/val0",
        *(f"test/test{c}" for c in range(2)),
    )
    assert {split: ids.tolist() for split, ids in data.splits.items()} == {
        "meta-train": [0, 1, 2],
        "meta-val": [3],
        "meta-test": [4, 5],
    }
    sizes = np.diff(data.offsets)
    shade = np.repeat([40, 80, 120, 40, 40, 80], sizes)
    assert np.array_equal(data.images, np.broadcast_to(shade[:, None, None, None], (16, 10, 10, 1)))


def test_the_fingerprint_is_of_pixels_and_classes(stand_in: None) -> None:
    first = load(shades()).fingerprint
    assert load(shades(options={"form": "array"})).fingerprint == first
    assert load(shades(size=8)).fingerprint != first
    assert load(shades(channels=3)).images.shape[-1] == 3


def test_a_dataset_without_meta_val_and_tasks_over_classes(stand_in: None) -> None:
    assert load(shades(options={"has_val": False})).splits["meta-val"].tolist() == []
    assert (
        load(shades(dataset="torchmeta.datasets:Tasks")).fingerprint == load(shades()).fingerprint
    )


@pytest.mark.parametrize(
    ("dataset", "kind", "message"),
    [
        ("Tables", DataError, "examples of Tables are not images: float64"),
        ("Absent", DataError, r"cannot open Absent \(meta-train\): integrity check failed\."),
        ("Twins", DataError, "two classes of one split the same name"),
        ("Shade", UsageError, "Unknown class of torchmeta.datasets 'Shade'"),
        ("torchmeta.none:Shades", UsageError, "Cannot import 'torchmeta.none:Shades'"),
        ("torchmeta.datasets:__name__", UsageError, "is not a class"),
        ("os:system", UsageError, "neither torchmeta's nor of an installed plugin"),
    ],
)
def test_what_cannot_be_a_source_is_told(
    stand_in: None, dataset: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        load(shades(dataset=dataset))


def test_the_look_alike_has_the_size_that_is_asked_for() -> None:
    data = synthesize(shades())
    assert data.images.shape[1:] == (10, 10, 1)
    assert data.stamps == ("synthetic",)


# Split files -----------------------------------------------------------------------------------


def photos(tmp_path: Path, splits: str) -> ImageFolderParams:
    for name in ("cold/owl", "cold/elk", "warm/ape", "warm/gnu"):
        home = tmp_path / "photos" / name
        home.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(home / "1.png")
    return ImageFolderParams(path=str(tmp_path / "photos"), size=8, splits=splits)


def test_its_split_files_serve_our_images(install: Install, tmp_path: Path) -> None:
    parts = {"train": [["cold", "elk"], ["warm", "ape"]], "val": [], "test": ["cold/owl"]}
    assets = "torchmeta/datasets/assets/beasts/kind"
    install(
        {"torchmeta/__init__.py": "raise RuntimeError('not needed')\n"}
        | {f"{assets}/{part}.json": json.dumps(names) for part, names in parts.items()}
    )
    data = load_folder(photos(tmp_path, "torchmeta:beasts/kind"))
    names = {split: [data.class_names[c] for c in ids] for split, ids in data.splits.items()}
    assert names == {
        "meta-train": ["cold/elk", "warm/ape"],
        "meta-val": [],
        "meta-test": ["cold/owl"],
    }
    with pytest.raises(UsageError, match="Unknown split of torchmeta 'beasts'"):
        bridge.split_folder("beasts")


def test_split_files_that_hold_no_lists(install: Install, tmp_path: Path) -> None:
    install({f"torchmeta/datasets/assets/odd/{part}.json": "{}" for part in ("train", "val")})
    install({"torchmeta/__init__.py": ""})
    with pytest.raises(DataError, match="does not say which classes"):
        load_folder(photos(tmp_path, "torchmeta:odd"))


def test_split_files_of_no_torchmeta(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="torchmeta is not installed"):
        bridge.split_folder("cub")


# Toy tasks -------------------------------------------------------------------------------------


def test_toy_episodes_depend_on_their_words_alone(stand_in: None) -> None:
    family = TorchmetaToy(TorchmetaToyParams(dataset="Ramp"))
    assert (family.inputs, family.outputs) == (1, 1)
    x, y = points(family)
    assert x.shape == y.shape == (6, 15, 1)
    again, _ = points(family, 3)
    assert np.array_equal(x[:3], again)
    assert len(np.unique(x[:, 0])) == 6
    np.testing.assert_allclose(y / x, np.broadcast_to((y / x)[:, :1], y.shape))


def test_toy_options_reach_the_class_and_the_fingerprint(stand_in: None) -> None:
    plain, noisy = (
        TorchmetaToy(TorchmetaToyParams(dataset="Ramp", options={"noise_std": std}))
        for std in (0.0, 0.5)
    )
    assert plain.fingerprint != noisy.fingerprint
    assert np.ptp(points(noisy)[1] - points(plain)[1]) > 0.1
    with pytest.raises(UsageError, match="Ramp does not take these options"):
        TorchmetaToy(TorchmetaToyParams(dataset="Ramp", options={"color": "red"}))


# The real one ----------------------------------------------------------------------------------

real = pytest.mark.skipif(
    importlib.util.find_spec("torchmeta") is None, reason="torchmeta is not installed"
)


@real
@pytest.mark.parametrize(
    ("dataset", "low", "high"), [("Sinusoid", -5, 5), ("SinusoidAndLine", -18, 18)]
)
def test_real_toy_tasks(dataset: str, low: float, high: float) -> None:
    x, y = points(TorchmetaToy(TorchmetaToyParams(dataset=dataset)), 300)
    assert x.shape == y.shape == (300, 15, 1)
    assert -5 <= x.min() < -4.5 < 4.5 < x.max() <= 5
    assert low <= y.min() < y.max() <= high


@real
def test_real_lines_are_half_of_the_tasks() -> None:
    x, y = points(TorchmetaToy(TorchmetaToyParams(dataset="SinusoidAndLine")), 300)
    residuals = [
        np.polyfit(a[:, 0], b[:, 0], 1, full=True)[1].sum() for a, b in zip(x, y, strict=True)
    ]
    assert np.mean(np.array(residuals) < 1e-9) == pytest.approx(0.5, abs=0.1)


@real
def test_real_harmonics_are_repeatable() -> None:
    first, second = (points(TorchmetaToy(TorchmetaToyParams(dataset="Harmonic"))) for _ in "ab")
    assert np.array_equal(first, second)


@real
def test_real_omniglot_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    home = tmp_path / "omniglot"
    home.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 20, 105, 105), dtype=np.uint8)
    labels = [("images_background", "Greek", f"character0{c}") for c in range(4)]
    with h5py.File(home / "data.hdf5", "w") as file:
        for label, images in zip(labels, pixels, strict=True):
            file.create_dataset("/".join(label), data=images)
    for part, own in (("train", labels[:2]), ("val", labels[2:3]), ("test", labels[3:])):
        (home / f"vinyals_{part}_labels.json").write_text(json.dumps(own))
    params = TorchmetaClassesParams(dataset="Omniglot", root=str(tmp_path), size=105, channels=1)
    data = load(params)
    assert np.array_equal(data.images, pixels.reshape(80, 105, 105, 1))
    assert data.class_names[2:] == tuple(
        f"{part}/images_background/Greek/character0{c}" for part, c in (("val", 2), ("test", 3))
    )
    assert {split: len(ids) for split, ids in data.splits.items()} == {
        "meta-train": 2,
        "meta-val": 1,
        "meta-test": 1,
    }


@real
def test_real_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot open MiniImagenet") as caught:
        load(TorchmetaClassesParams(root=str(tmp_path)))
    assert str(tmp_path) in caught.value.hint


@real
def test_real_split_files() -> None:
    names = [json.loads((bridge.split_folder("cub") / f"{p}.json").read_text()) for p in PARTS]
    assert [len(part) for part in names] == [100, 50, 50]
    everything = ["/".join(pair) for pair in _pairs_of("cifar100/cifar-fs")]
    splits = split_from_file(bridge.split_folder("cifar100/cifar-fs"), everything)
    assert [len(ids) for ids in splits.values()] == [64, 16, 20]


def _pairs_of(name: str) -> list[list[str]]:
    folder = bridge.split_folder(name)
    return [pair for part in PARTS for pair in json.loads((folder / f"{part}.json").read_text())]


@pytest.mark.parametrize("dataset", ["torchmeta-classes", "torchmeta-toy"])
@pytest.mark.parametrize("options", [("--dry-run", "--no-probe"), ()])
def test_a_suite_file_imports_no_module_that_is_not_installed_for_metabench(
    stand_in: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dataset: str,
    options: tuple[str, ...],
) -> None:
    started = tmp_path / "started"
    (tmp_path / "hostile.py").write_text(f"open({str(started)!r}, 'w')\nclass A: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    kind = "classification" if dataset == "torchmeta-classes" else "regression"
    suite = tmp_path / "own.yaml"
    suite.write_text(
        f"""
        name: own
        version: 1
        task: {kind}
        metric: {"accuracy" if kind == "classification" else "mse"}
        space: {"conv4" if kind == "classification" else "mlp"}
        sources: [{{name: own, dataset: {dataset}, params: {{dataset: "hostile:A"}}}}]
        protocol: {{shots: 1, queries: 1}}
        settings: {{one: {{}}}}
        budgets: {{lite: {{meta_steps: 1, meta_batch: 1}}}}
        """
    )
    words = ["run", "--suite", str(suite), "--learner", "maml", "--out", str(tmp_path / "R")]
    done = CliRunner().invoke(app, [*words, *options])
    assert "'hostile:A' is neither torchmeta's nor of an installed plugin" in done.output
    assert "hostile" not in sys.modules
    assert not started.exists()
