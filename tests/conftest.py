"""Shared pieces: real data where it is, tiny suites, results folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REAL_DATA = Path(
    os.environ.get("METABENCH_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image data; the test is skipped where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data in {REAL_DATA}; set METABENCH_TEST_DATA")
    return REAL_DATA


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Two threads on a busy machine wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_user_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests never read or write the user's own data."""
    monkeypatch.setenv("METABENCH_DATA", str(tmp_path_factory.getbasetemp() / "data-root"))
