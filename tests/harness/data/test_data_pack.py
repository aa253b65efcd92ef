"""Packs on disk: what is found, and what is noticed when one is damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from metabench.data import (
    Archive,
    Pack,
    Preparation,
    import_archive,
    list_packs,
    open_pack,
    verify_pack,
)
from metabench.data.pack import read_pack
from metabench.errors import DataError


@pytest.fixture
def pack(tiny_archive: Archive, tiny_folder: Path, data_root: Path) -> Pack:
    return import_archive(tiny_archive, tiny_folder)


def test_absent_data_names_the_two_commands_that_help(data_root: Path) -> None:
    with pytest.raises(DataError, match="omniglot has not been prepared at 28x28") as caught:
        open_pack("omniglot", Preparation(size=28))
    assert "metabench data fetch omniglot" in caught.value.hint
    assert "metabench data import omniglot PATH" in caught.value.hint


def test_a_pack_is_found_and_verified(pack: Pack, data_root: Path) -> None:
    assert list_packs("omniglot") == [data_root / "omniglot" / "28-lanczos"]
    assert list_packs("omniglot", root=data_root / "elsewhere") == []
    steps: list[tuple[str, int, int]] = []
    verify_pack(
        open_pack("omniglot", Preparation(size=28)), report=lambda *step: steps.append(step)
    )
    size = (pack.folder / "images.npy").stat().st_size
    assert steps[-1] == ("verify omniglot", size, size)


def truncate(folder: Path) -> None:
    with (folder / "images.npy").open("r+b") as images:
        images.truncate(1000)


def empty(folder: Path) -> None:
    (folder / "images.npy").write_bytes(b"")


def remove(folder: Path) -> None:
    (folder / "images.npy").unlink()


def reshape(folder: Path) -> None:
    images = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(images.replace(b"(20, 28, 28, 1)", b"(10, 56, 28, 1)"))


def break_index(folder: Path) -> None:
    (folder / "index.json").write_text("{")


def edit_index(folder: Path) -> None:
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace("Korean/character01", "Korean/character09"))


def newer_index(folder: Path) -> None:
    sealed = json.loads((folder / "index.json").read_text())
    sealed["index"]["schema_number"] = 99
    (folder / "index.json").write_text(json.dumps(sealed))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (truncate, "images.npy is missing or truncated"),
        (empty, "images.npy is missing or truncated"),
        (remove, "images.npy is missing or truncated"),
        (reshape, "images.npy is not the array that index.json describes"),
        (break_index, "index.json is not the index of a pack"),
        (edit_index, "index.json was changed after it was written"),
        (newer_index, "index.json has format 99; this version reads 1"),
    ],
)
def test_a_damaged_pack_is_refused_when_opened(
    pack: Pack, harm: Callable[[Path], None], words: str
) -> None:
    harm(pack.folder)
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        open_pack("omniglot", Preparation(size=28))
    assert str(pack.folder) in caught.value.message
    assert "metabench data" in caught.value.hint


def test_verify_notices_one_changed_pixel(pack: Pack) -> None:
    with (pack.folder / "images.npy").open("r+b") as images:
        images.seek(5000)
        pixel = images.read(1)[0]
        images.seek(5000)
        images.write(bytes([pixel ^ 1]))
    with pytest.raises(DataError, match=r"images\.npy does not have the digest"):
        verify_pack(read_pack(pack.folder))


def test_the_data_root_is_the_users_choice_or_their_data_folder(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metabench.data import data_root as chosen

    assert chosen() == data_root
    monkeypatch.setenv("METABENCH_DATA", "~nobody-of-that-name/data")
    assert chosen() == Path("~nobody-of-that-name/data")
    monkeypatch.delenv("METABENCH_DATA")
    assert chosen().name == "metabench"
    assert chosen().is_absolute()
