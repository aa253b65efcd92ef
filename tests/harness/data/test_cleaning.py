"""Old packs of a user's own files are found and removed; nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app, data_clean
from metabench.data.cleaning import remove_pack, replaced_packs


@pytest.fixture
def packs(data_root: Path) -> dict[str, Path]:
    """Two states of the same photos, in two sizes; others of another path; and imported ones."""
    home = data_root / "image-folder"
    names = {
        "old": "photos-0000000000000001/84-lanczos",
        "new": "photos-0000000000000000/84-lanczos",
        "other size": "photos-0000000000000001/32-lanczos",
        "other path": "cats-0000000000000002/84-lanczos",
        "imported": "photos/84-lanczos",
    }
    found = {}
    for age, (what, name) in enumerate(names.items()):
        found[what] = home / name
        found[what].mkdir(parents=True)
        (found[what] / "images.npy").write_bytes(bytes(3000))
        index = found[what] / "index.json"
        index.write_text("{}")
        os.utime(index, (1000 + age, 1000 + age))
    return found


def test_all_but_the_newest_of_a_path_and_a_preparation_are_old(packs: dict[str, Path]) -> None:
    assert replaced_packs(packs.values()) == [packs["old"]]


def test_old_packs_are_removed_after_a_question(
    packs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = CliRunner().invoke(app, ["data", "clean"])
    assert asked.exit_code == 2
    assert "nobody can answer here" in asked.stderr
    monkeypatch.setattr(data_clean, "_agreed", lambda what: what.startswith("1 old pack ("))
    cleaned = CliRunner().invoke(app, ["data", "clean"])
    assert cleaned.exit_code == 0
    assert str(packs["old"]) in cleaned.output
    assert "Removed 1 old pack (" in cleaned.stderr
    assert [what for what, pack in packs.items() if not pack.exists()] == ["old"]
    again = CliRunner().invoke(app, ["data", "clean", "--yes"])
    assert "There are no old packs." in again.stderr


def test_a_no_removes_nothing(packs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_clean, "_agreed", lambda _: False)
    assert "Nothing was removed." in CliRunner().invoke(app, ["data", "clean"]).stderr
    assert all(pack.exists() for pack in packs.values())


def test_the_folder_of_the_last_pack_goes_with_it(packs: dict[str, Path]) -> None:
    for file in packs["other size"].iterdir():
        file.unlink()
    packs["other size"].rmdir()
    assert CliRunner().invoke(app, ["data", "clean", "--yes"]).exit_code == 0
    assert not packs["old"].parent.exists()


def test_what_another_command_removes_meanwhile_is_no_error(
    packs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def agree_late(_: str) -> bool:
        remove_pack(packs["old"])
        return True

    monkeypatch.setattr(data_clean, "_agreed", agree_late)
    cleaned = CliRunner().invoke(app, ["data", "clean"])
    assert (cleaned.exit_code, packs["old"].exists()) == (0, False)
