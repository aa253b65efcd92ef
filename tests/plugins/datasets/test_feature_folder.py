"""Anyone's own vectors as a source: what is read, what is refused, and what networks get."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from metabench import ClassData, DataError, EpisodeShape, Scaling, TaskShape, UsageError
from metabench.cli import app
from metabench.sampling.sources import ClassSource
from metabench_plugins.datasets import feature_folder
from metabench_plugins.datasets.feature_folder import FeatureFolderParams, load, synthesize
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.resnet12 import ResNet12, ResNet12Params

KINDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")
FEATURES = 6


def vectors(n: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Rows in mixed order: class ``k`` has vectors around ``k``."""
    labels = np.tile(np.array(KINDS), n)
    noise = np.random.default_rng(0).normal(size=(len(labels), FEATURES))
    return (np.tile(np.arange(10), n)[:, None] + 0.1 * noise).astype(np.float32), labels


def write(path: Path, **arrays: Any) -> Path:
    """An .npz file with these arrays, or those of :func:`vectors`."""
    features, labels = vectors()
    np.savez(path, **{"features": features, "labels": labels, **arrays})
    return path


def of(path: Path, **choices: object) -> FeatureFolderParams:
    return FeatureFolderParams.model_validate({"path": str(path), **choices})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "embeddings.npz")


def test_the_rows_of_a_label_are_a_class_in_their_order(file: Path, data_root: Path) -> None:
    data, (features, labels) = load(of(file)), vectors()
    assert data.class_names == KINDS
    assert data.images.dtype == np.float32
    assert data.offsets.tolist() == list(range(0, 71, 7))
    expected = np.concatenate([features[labels == kind] for kind in KINDS])
    np.testing.assert_array_equal(data.images, expected)
    assert data.scaling is None
    assert data.stamps == ("drawn-split",)


def test_folders_zips_and_npz_files_are_equal_data(
    file: Path, tmp_path: Path, data_root: Path
) -> None:
    features, labels = vectors()
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "features.npy", features)
    (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    np.savez_compressed(tmp_path / "small.npz", features=features, labels=labels)
    double = write(tmp_path / "double.npz", features=features.astype(">f8"))
    paths = (file, folder, tmp_path / "small.npz", double)
    assert len({load(of(path)).fingerprint for path in paths}) == 1
    changed = write(tmp_path / "changed.npz", features=features + 1)
    others = (of(changed), of(file, seed=1), of(file, scaling="standard"))
    assert len({load(params).fingerprint for params in (of(file), *others)}) == 4


def test_integers_may_be_labels_and_features(tmp_path: Path, data_root: Path) -> None:
    path = write(
        tmp_path / "table.npz", features=np.arange(12).reshape(6, 2), labels=np.array([7, 8] * 3)
    )
    data = load(of(path))
    assert data.class_names == ("7", "8")
    assert data.images[:3].tolist() == [[0, 1], [4, 5], [8, 9]]


def test_labels_or_a_file_may_say_the_split(file: Path, tmp_path: Path, data_root: Path) -> None:
    (tmp_path / "split.json").write_text(json.dumps({"train": ["ant", "jay"], "test": ["fox"]}))
    data = load(of(file, splits=str(tmp_path / "split.json")))
    assert {s: [data.class_names[c] for c in ids] for s, ids in data.splits.items()} == {
        "meta-train": ["ant", "jay"],
        "meta-val": [],
        "meta-test": ["fox"],
    }
    parts = np.array([f"{('train', 'val', 'test')[i % 3]}/{k}" for i, k in enumerate(KINDS)] * 7)
    named = load(of(write(tmp_path / "named.npz", labels=parts)))
    assert [len(named.splits[f"meta-{p}"]) for p in ("train", "val", "test")] == [4, 3, 3]


def test_standard_scaling_is_that_of_the_training_classes(file: Path, data_root: Path) -> None:
    data = load(of(file, scaling="standard"))
    rows = np.concatenate(
        [data.images[data.offsets[c] : data.offsets[c + 1]] for c in data.splits["meta-train"]]
    )
    assert data.scaling is not None
    scaled = rows * data.scaling.scale + data.scaling.offset
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-5)


def test_a_constant_feature_becomes_zero(tmp_path: Path, data_root: Path) -> None:
    features = vectors()[0].copy()
    features[:, 2] = 1000.1
    scaling = load(of(write(tmp_path / "c.npz", features=features), scaling="standard")).scaling
    assert scaling is not None
    assert (scaling.scale[2], scaling.offset[2]) == (0, 0)
    assert np.isfinite(scaling.scale).all()


# What networks get -------------------------------------------------------------------------------


def draw(data: ClassData) -> torch.Tensor:
    source = ClassSource("s", data, device=torch.device("cpu"))
    shape = EpisodeShape(ways=2, shots=1, queries=2)
    words = np.random.default_rng(0).integers(0, 2**64, (3, source.n_words(shape)), np.uint64)
    return source.draw(words, shape, split="meta-test").query.x


def test_an_episode_has_vectors_as_they_are_or_scaled(file: Path, data_root: Path) -> None:
    data = load(of(file))
    plain = draw(data)
    assert plain.shape == (3, 4, FEATURES)
    assert plain.dtype == torch.float32
    rows = {row.tobytes() for row in data.images}
    assert {row.numpy().tobytes() for row in plain.flatten(0, 1)} <= rows
    per_feature = np.arange(FEATURES, dtype=np.float32)
    scaled = draw(dataclasses.replace(data, scaling=Scaling(per_feature, 1.0)))
    torch.testing.assert_close(scaled, plain * torch.arange(FEATURES) + 1)


def test_images_can_be_scaled_by_channel(data_root: Path) -> None:
    from metabench_plugins.datasets.image_folder import ImageFolderParams
    from metabench_plugins.datasets.image_folder import synthesize as images

    data = images(ImageFolderParams(path="x", size=8))
    plain = draw(data)
    assert 0 <= plain.min() < plain.max() <= 1
    scale = np.array([1, 2, 3], dtype=np.float32)
    scaled = draw(dataclasses.replace(data, scaling=Scaling(scale, -scale)))
    by_channel = torch.from_numpy(scale)[:, None, None]
    torch.testing.assert_close(scaled, plain * by_channel - by_channel)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": np.zeros((4, 3))}, r"images are float64 \[4, 3\]"),
        ({"rotations": {"meta-train": "classes"}}, "each split must have one of"),
    ],
)
def test_other_examples_are_refused(changes: dict[str, Any], words: str) -> None:
    data = synthesize(FeatureFolderParams(path="x"))
    with pytest.raises(DataError, match=words):
        ClassSource("s", dataclasses.replace(data, **changes), device=torch.device("cpu"))


@pytest.mark.parametrize(("network", "params"), [(Conv4, Conv4Params), (ResNet12, ResNet12Params)])
def test_a_network_of_images_refuses_vectors(network: Any, params: Any) -> None:
    with pytest.raises(UsageError, match=r"reads images, not inputs of shape \[6\]") as caught:
        network(params(), TaskShape("classification", (FEATURES,), 5))
    assert "mlp" in caught.value.hint


# What is refused ---------------------------------------------------------------------------------


def with_nan() -> np.ndarray:
    features = vectors()[0].copy()
    features[11, 3] = np.nan
    return features


class Trap:
    """Reading it back would run code."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (pytest.fail, ("a file of others ran code",))


REFUSED = {
    "nan": ({"features": with_nan()}, "Row 11 of features.npy in .* holds NaN"),
    "infinity": ({"features": np.full((70, 2), np.inf)}, "Row 0 .* infinity"),
    "beyond float32": ({"features": np.full((70, 2), 1e300)}, "beyond float32"),
    "one dimension": ({"features": np.zeros(70)}, r"is float64 \[70\]"),
    "text": ({"features": np.full((70, 2), "a")}, "is <U1"),
    "complex": ({"features": np.zeros((70, 2), complex)}, "is complex128"),
    "objects": ({"features": np.full((70, 2), Trap(), dtype=object)}, "holds object"),
    "object labels": ({"labels": np.full(70, Trap(), dtype=object)}, "holds object"),
    "no rows": ({"features": np.zeros((0, 3)), "labels": np.zeros(0, int)}, "has 0 rows"),
    "too wide": ({"features": np.zeros((1, 65_537), np.uint8)}, "1 rows of 65,537 numbers"),
    "columns first": ({"features": np.zeros((2, 70), order="C").T}, "column by column"),
    "labels missing": ({"labels": np.arange(69)}, "70 rows, but there are 69 labels"),
    "real labels": ({"labels": np.zeros(70)}, r"labels.npy in .* is float64 \[70\]"),
    "an empty label": ({"labels": np.array(["", *["a"] * 69])}, "Label 0 in .* is ''"),
    "a label of controls": ({"labels": np.array(["a\n", *["a"] * 69])}, "Label 0 in"),
    "a long label": ({"labels": np.full(70, "a" * 257)}, "is <U257"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_of_vectors_is_refused(case: str, tmp_path: Path, data_root: Path) -> None:
    arrays, words = REFUSED[case]
    with pytest.raises(DataError, match=words) as caught:
        load(of(write(tmp_path / "bad.npz", **arrays)))
    assert caught.value.hint
    assert not [path for path in data_root.rglob("*") if path.is_file()]


def npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


FILES = {
    "nothing": ({}, "holds no features.npy"),
    "no labels": ({"features.npy": npy(vectors()[0])}, "holds no labels.npy or labels.txt"),
    "two": (
        {"a/features.npy": npy(vectors()[0]), "b/features.npy": npy(vectors()[0])},
        "holds 2 features.npy",
    ),
    "no array": ({"features.npy": b"5"}, "is not an array of NumPy"),
    "cut": ({"features.npy": npy(vectors()[0])[:-8]}, "its header says 1,680"),
    "a false claim": (
        {"features.npy": npy(vectors()[0]).replace(b"(70, 6), ", b"(10**9,6)")},
        "not an array of NumPy",
    ),
    "a large claim": (
        {"features.npy": npy(vectors()[0]).replace(b"(70, 6), }   ", b"(9999999,6),}")},
        "its header says",
    ),
    "bytes": (
        {"features.npy": npy(vectors()[0]), "labels.txt": b"\xff" * 70},
        "is not text in UTF-8",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_damaged_files_are_refused(case: str, tmp_path: Path, data_root: Path) -> None:
    files, words = FILES[case]
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        archive.writestr("readme.txt", "vectors")
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match=words):
        load(of(tmp_path / "bad.npz"))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "feature-folder needs either a path or a name"),
        ({"path": "not-there"}, "not-there does not exist"),
        ({"name": "birds"}, "feature-folder/birds has not been imported"),
    ],
)
def test_missing_vectors_are_told(data_root: Path, params: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load(FeatureFolderParams.model_validate(params))
    if "name" in params:
        assert caught.value.hint.endswith("import feature-folder PATH --name birds`.")


# The commands ------------------------------------------------------------------------------------


def run(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def suite(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite of the docstring, with two ways."""
    text = textwrap.dedent(inspect.getdoc(feature_folder).partition("::\n\n")[2])
    path = file.parent / "embeddings.yaml"
    path.write_text(text.replace("5w1s", "2w1s").replace("ways: 5", "ways: 2"))
    monkeypatch.chdir(file.parent)
    return path


SHORT = ("--set", "protocol.episodes=5", "--set", "budget.meta_steps=2", "--set",
         "protocol.queries=2", "--device", "cpu")  # fmt: skip


@pytest.mark.parametrize("learner", ["maml", "anil", "protonet", "matching-net"])
def test_the_suite_of_the_docstring_runs(suite: Path, data_root: Path, learner: str) -> None:
    words = ("run", "--suite", suite.name, "--learner", learner, "--budget", "smoke", *SHORT)
    assert "1 done" in run(*words, "--out", "out")


@pytest.mark.parametrize("learner", ["mumomaml", "hsml"])
def test_a_learner_of_images_says_so(suite: Path, data_root: Path, learner: str) -> None:
    words = ("run", "--suite", suite.name, "--learner", learner, "--budget", "smoke", *SHORT)
    result = CliRunner().invoke(app, [*words, "--out", "out"])
    assert result.exit_code != 0
    assert "classifies images only" in result.output


def test_a_network_of_images_is_refused_before_the_run(suite: Path, data_root: Path) -> None:
    words = ("run", "--suite", suite.name, "--learner", "maml", "--network", "conv4", *SHORT)
    words += ("--budget", "smoke")
    result = CliRunner().invoke(app, [*words, "--out", "out"])
    assert result.exit_code == 2
    assert "Network conv4 reads images" in result.stderr
    assert not (suite.parent / "out").exists()


def test_vectors_are_imported_listed_shown_and_verified(file: Path, data_root: Path) -> None:
    said = CliRunner().invoke(app, ["data", "import", "feature-folder", str(file), "--name", "e"])
    assert said.exit_code == 0, said.output
    assert "70 vectors of 10 classes" in said.stderr
    again = CliRunner().invoke(app, ["data", "import", "feature-folder", str(file), "--name", "e"])
    assert "The same vectors are already packed there" in again.stderr
    assert load(FeatureFolderParams(name="e")).class_names == KINDS
    (entry,) = (
        e for e in json.loads(run("data", "list", "--json")) if e["name"] == "feature-folder"
    )
    (pack,) = entry["packs"]
    assert (pack["n_classes"], pack["n_images"], pack["preparation"]) == (10, 70, None)
    assert "ok" in run("data", "verify", "feature-folder")
    with Path(pack["folder"], "images.npy").open("r+b") as edited:
        edited.seek(-1, 2)
        edited.write(b"\x01")
    damaged = CliRunner().invoke(app, ["data", "verify", "feature-folder"])
    assert damaged.exit_code == 3
    assert "does not have the digest" in damaged.stderr


def test_other_vectors_under_the_name_are_refused(
    file: Path, tmp_path: Path, data_root: Path
) -> None:
    run("data", "import", "feature-folder", str(file), "--name", "e")
    other = write(tmp_path / "o.npz", features=vectors()[0] + 1)
    result = CliRunner().invoke(
        app, ["data", "import", "feature-folder", str(other), "--name", "e"]
    )
    assert result.exit_code == 3
    assert "holds other vectors" in result.stderr


def test_show_describes_a_suite_of_vectors(suite: Path, data_root: Path) -> None:
    shown = json.loads(run("data", "show", suite.name, "--json"))
    (source,) = shown["sources"]
    assert (source["image"], source["n_images"]) == ([FEATURES], 70)
    assert "packed   vectors" in run("data", "show", suite.name)
    result = CliRunner().invoke(app, ["data", "show", suite.name, "--grid", "grid.png"])
    assert result.exit_code == 2
    assert "holds vectors, which cannot be drawn" in result.stderr


def test_an_option_of_images_is_refused(file: Path, data_root: Path) -> None:
    result = CliRunner().invoke(app, ["data", "import", "feature-folder", str(file), "--size", "9"])
    assert result.exit_code == 2
    assert "--size does not apply to feature-folder" in result.stderr


def test_the_look_alike_is_stamped_and_can_be_learned() -> None:
    data = synthesize(FeatureFolderParams(path="x"))
    assert data.stamps == ("synthetic",)
    means = np.stack(
        [
            data.images[a:b].mean(axis=0)
            for a, b in zip(data.offsets, data.offsets[1:], strict=False)
        ]
    )
    nearest = ((data.images[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    own = np.repeat(np.arange(len(means)), np.diff(data.offsets))
    assert (nearest == own).mean() > 0.9
