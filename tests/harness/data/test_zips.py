"""A zip lists as many files as a dataset may have, whatever it says of their number."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.data import Originals, open_zip
from metabench.data.zips import MAX_TABLE
from metabench.errors import DataError

NAME = b"c/1.png"


def listing(n: int, *, said: int | None = None) -> bytes:
    """A zip of one small file that its table of contents lists ``n`` times.

    Args:
        n: entries.
        said: the number that its end gives; None for the true one.
    """
    file = b"PK\x03\x04" + struct.pack("<5H3I2H", 20, 0, 0, 0, 0, 0, 0, 0, len(NAME), 0) + NAME
    sizes = (0, 0, 0, len(NAME), 0, 0, 0, 0, 0, 0)
    entry = b"PK\x01\x02" + struct.pack("<6H3I5H2I", 20, 20, 0, 0, 0, 0, *sizes) + NAME
    count, length, start = n if said is None else said, n * len(entry), len(file)
    fields = (44, 45, 45, 0, 0, count, count, length, start)
    end = b"PK\x06\x06" + struct.pack("<Q2H2I4Q", *fields)
    end += b"PK\x06\x07" + struct.pack("<IQI", 0, start + length, 1)
    end += b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    return b"".join([file, entry * n, end])


MOST = MAX_TABLE // (46 + len(NAME))
"""Entries of the longest table that is read."""


@pytest.mark.parametrize("said", [None, 1])
def test_too_many_files_are_refused_before_they_are_listed(
    tmp_path: Path, said: int | None
) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(listing(MOST + 1, said=said))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"x\.zip lists more files than are read in a zip"):
            Originals(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_file_with_fewer_is_read_though_it_gives_another_number(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(listing(1000, said=2**40))
    with path.open("rb") as file, open_zip(file, path=path) as archive:
        assert len(archive.infolist()) == 1000


def test_a_member_may_be_longer_than_the_table(tmp_path: Path) -> None:
    path, content = tmp_path / "x.zip", bytes(MAX_TABLE + 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("large", content)
    with path.open("rb") as file, open_zip(file, path=path) as archive:
        assert archive.read("large") == content


def test_the_command_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(listing(MOST + 1))
    result = CliRunner().invoke(app, ["data", "import", "omniglot", str(path)])
    assert result.exit_code == 3
    assert "lists more files than are read in a zip." in " ".join(result.stderr.split())
    assert "Unpack it, and name the folder." in result.stderr
