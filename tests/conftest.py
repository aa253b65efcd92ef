"""Shared pieces: real data where it is, a tiny Omniglot in the published layouts."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_root import REAL_DATA
from hypothesis import HealthCheck, settings
from PIL import Image
from search_factory import run_all

from metabench.data import Archive
from metabench.planning.plan import RunRequest
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.running import probing
from metabench_plugins.datasets import omniglot

TINY = {
    "background": {"Korean": 2, "Greek": 1},
    "evaluation": {"Tengwar": 1, "Gurmukhi": 1},
}
"""Alphabets of each part, and how many characters each has."""
DRAWINGS = 4

# On a busy machine an example may take any time, to draw and to run.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file in one process as far as possible, with what they share."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image data; the test is skipped where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data in {REAL_DATA}; set METABENCH_TEST_DATA")
    return REAL_DATA


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Everything that is installed."""
    return load_catalog()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Two threads on a busy machine wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What commands print does not depend on the width of the terminal that runs the tests."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _no_user_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests never read or write the user's own data."""
    monkeypatch.setenv("METABENCH_DATA", str(tmp_path_factory.getbasetemp() / "data-root"))
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_flushing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power, so none waits for the disk, which takes 1 to 10 ms a file.

    The tests of :mod:`metabench.durable` do wait.
    """
    if request.path.name != "test_durable.py":
        monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(autouse=True)
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands do not measure what runs cost, which takes seconds for each configuration."""
    monkeypatch.setattr(probing, "ALL_SECONDS", 0.0)


@pytest.fixture
def in_float64() -> Iterator[None]:
    """New tensors are in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def real_omniglot(real_data: Path) -> Path:
    """The folder with the two real zips of Omniglot."""
    folder = real_data / "omniglot"
    if not (folder / "images_background.zip").is_file():
        pytest.skip(f"no real Omniglot in {folder}")
    return folder


@pytest.fixture(scope="session")
def image_runs(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MAML and ProtoNet on generated characters, hardly trained, with their checkpoints."""
    request = RunRequest(
        learners=("maml", "protonet"),
        suite="omniglot",
        settings=("5w1s",),
        budget="smoke",
        changes={"budget": {"meta_steps": 2, "meta_batch": 1}, "space": {"filters": 4}},
        data="synthetic",
        limit=30,
    )
    return run_all(request, catalog, tmp_path_factory.mktemp("image-runs"))


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root that this test has for itself."""
    root = tmp_path / "data-root"
    monkeypatch.setenv("METABENCH_DATA", str(root))
    return root


@pytest.fixture
def tiny_archive() -> Archive:
    """Omniglot as it would be published with five characters."""
    parts = {part: sum(alphabets.values()) for part, alphabets in TINY.items()}
    return dataclasses.replace(omniglot.ARCHIVE, parts=parts, per_class=DRAWINGS)


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """The tiny Omniglot, unpacked: 105x105 one-bit drawings, ink 0 on paper 1."""
    rng = np.random.default_rng(0)
    number = 0
    for part, alphabets in TINY.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                number += 1
                home = tmp_path / f"unpacked/images_{part}/{alphabet}/character{character:02d}"
                home.mkdir(parents=True)
                for drawing in range(1, DRAWINGS + 1):
                    pixels = np.kron(rng.random((15, 15)) > 0.3, np.ones((7, 7), dtype=bool))
                    Image.fromarray(pixels).convert("1").save(
                        home / f"{number:04d}_{drawing:02d}.png"
                    )
    return tmp_path / "unpacked"


@pytest.fixture
def tiny_zips(tmp_path: Path, tiny_folder: Path) -> Path:
    """The tiny Omniglot as a folder with its two zips."""
    folder = tmp_path / "zips"
    folder.mkdir()
    for part in TINY:
        with zipfile.ZipFile(folder / f"images_{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            # As on a Mac: folders have entries, and each file a shadow that is no image.
            archive.mkdir(f"images_{part}")
            for path in sorted(tiny_folder.glob(f"images_{part}/*/*/*.png")):
                name = path.relative_to(tiny_folder)
                archive.write(path, name.as_posix())
                archive.writestr(f"__MACOSX/{name.parent}/._{name.name}", b"shadow")
    return folder
