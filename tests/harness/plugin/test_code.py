"""The digest of a plugin's code changes with its content, not with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.plugin.catalog import load_catalog
from metabench.plugin.code import digest_of_code, root_of


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    digests = []
    for name, text in (("a", "x = 1\n"), ("b", "x = 1\n"), ("c", "x = 2\n")):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "m.py").write_text(text)
        (tmp_path / name / "data.txt").write_text(name)
        digests.append(digest_of_code(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 12


def test_only_the_named_parts_count(tmp_path: Path) -> None:
    for part in ("counts", "not"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "m.py").write_text(part)
    only = digest_of_code(tmp_path, ("counts",))
    (tmp_path / "not" / "m.py").write_text("changed")
    digest_of_code.cache_clear()
    assert digest_of_code(tmp_path, ("counts",)) == only != digest_of_code(tmp_path)


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    assert digest_of_code(tmp_path / "nowhere") == ""
    assert root_of("no_such_module") is None


def test_a_plugin_file_is_told_by_path_and_content(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from metabench import hookimpl\n")
    plugin = next(one for one in load_catalog([file]).plugins if one.name == "mine")
    assert plugin.code == f"{file} {digest_of_code(file)}"
    built_in = next(one for one in load_catalog().plugins if one.distribution == "metabench")
    assert built_in.code.startswith(f"metabench {built_in.version} ")


@pytest.mark.parametrize("given", ["~/mine.py", "mine.py"])
def test_a_plugin_file_has_a_digest_however_its_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Else a record would not know that the file changed."""
    (tmp_path / "mine.py").write_text("from metabench import hookimpl\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    plugin = next(one for one in load_catalog([Path(given)]).plugins if one.name == "mine")
    monkeypatch.chdir(tmp_path.parent)
    assert plugin.code == f"{given} {digest_of_code(tmp_path / 'mine.py')}"
