"""``metabench data show`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from metabench.cli.data import data_app
from metabench.data import Archive, Preparation, import_archive
from metabench.errors import DataError, MetabenchError, UsageError
from metabench_plugins.datasets import omniglot


def run(*arguments: str | Path) -> str:
    """Standard output of ``metabench data show ARGUMENTS``; an expected error is raised."""
    result = CliRunner().invoke(data_app, ["show", *(str(argument) for argument in arguments)])
    if isinstance(result.exception, MetabenchError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def tiny_suite(
    tiny_archive: Archive, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A suite over the parts of Omniglot, which the tiny one has too and stands in for."""
    monkeypatch.setattr(omniglot, "ARCHIVE", tiny_archive)
    source = (Path(__file__).parents[3] / "benchmarks" / "omniglot.yaml").read_text()
    file = tmp_path / "tiny.yaml"
    file.write_text(source.replace("split: maml", "split: background-evaluation"))
    return file


def test_real_data_shows_counts_pack_and_fingerprint(
    tiny_archive: Archive, tiny_folder: Path, tiny_suite: Path
) -> None:
    pack = import_archive(tiny_archive, tiny_folder)
    shown = json.loads(run(tiny_suite, "--json"))
    (source,) = shown["sources"]
    assert source["n_classes"] == {"meta-train": 3, "meta-val": 0, "meta-test": 2}
    assert (source["n_images"], source["images_per_class"]) == (20, [4, 4])
    assert source["params"]["split"] == "background-evaluation"
    (dataset,) = shown["datasets"]
    (packed,) = dataset["packs"]
    assert packed["digest"] == pack.index.digest
    assert packed["preparation"] == {"size": 28, "resize": "lanczos", "crop": "none"}
    text = run(tiny_suite)
    assert "license  MIT" in text
    assert "cite     B. M. Lake" in text
    assert f"packed   28x28, lanczos: {pack.folder}, digest {pack.index.digest}" in text
    *_, row, train, test = text.splitlines()
    assert row.split() == ["omniglot", "3/0/2", "20", "4", "28x28x1", source["fingerprint"]]
    assert train == f"omniglot meta-train: {', '.join(source['classes']['meta-train'])}"
    assert test == f"omniglot meta-test: {', '.join(source['classes']['meta-test'])}"


def test_a_damaged_pack_of_another_size_hides_nothing(
    tiny_archive: Archive, tiny_folder: Path, tiny_suite: Path
) -> None:
    good = import_archive(tiny_archive, tiny_folder)
    other = import_archive(tiny_archive, tiny_folder, preparation=Preparation(size=8)).folder
    (other / "index.json").write_text("{}")
    text = run(tiny_suite)
    assert f"packed   28x28, lanczos: {good.folder}" in text
    assert f"damaged  {other / 'index.json'} is not the index of a pack." in text
    (dataset,) = json.loads(run(tiny_suite, "--json"))["datasets"]
    assert sorted(bool(pack["error"]) for pack in dataset["packs"]) == [False, True]


@pytest.mark.parametrize(("name", "rows"), [("omniglot", 1), ("four-domains", 4)])
def test_look_alikes_are_shown_with_a_picture(name: str, rows: int, tmp_path: Path) -> None:
    grid = tmp_path / "grid.png"
    text = run(name, "--data", "synthetic", "--grid", grid)
    assert sum(line.endswith("synthetic") for line in text.splitlines()) == rows
    assert "packed" not in text
    with Image.open(grid) as image:
        assert image.format == "PNG"
        assert image.height > rows * 5 * 56


def test_absent_data_names_the_command_that_helps(data_root: Path) -> None:
    with pytest.raises(DataError, match=r"birds has not been prepared at 84x84") as caught:
        run("birds")
    assert "metabench data import birds PATH --size 84 --resize lanczos --crop box" in (
        caught.value.hint
    )


def test_functions_have_no_classes() -> None:
    with pytest.raises(UsageError, match="generates functions, so it has no classes"):
        run("toy-regression")


def test_an_unknown_name_is_told_its_neighbours() -> None:
    with pytest.raises(UsageError) as caught:
        run("omniglott")
    assert caught.value.hint == "Did you mean omniglot?"


@pytest.mark.parametrize("file", ["grid.jpg", "no/grid.png"])
def test_a_picture_that_cannot_be_written(file: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"grid\.(jpg|png)"):
        run("omniglot", "--data", "synthetic", "--grid", tmp_path / file)
