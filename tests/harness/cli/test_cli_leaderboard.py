"""What ``metabench leaderboard`` writes, and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from full_disk import full_disk
from result_factory import GOLDEN
from typer.testing import CliRunner, Result

from metabench.cli import app

RECORDS = str(GOLDEN / "records")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["leaderboard", *words])


def test_an_entry_is_written_checked_and_shown(tmp_path: Path) -> None:
    file = str(tmp_path / "doe.yaml")
    written = invoke(RECORDS, "--new-entry", file, "--submitter", "Jane Doe")
    assert written.exit_code == 0, written.stderr
    checked = invoke(str(tmp_path), "--check")
    assert checked.exit_code == 0, checked.stderr
    assert "1 entry checked: the records give what they claim." in checked.stdout
    for name in ("a", "b"):
        built = invoke(file, "--out", str(tmp_path / name))
        assert built.exit_code == 0, built.stderr
    sites = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert sites[0] == sites[1]
    assert b"Jane Doe" in sites[0][Path("index.html")]


def test_a_claim_that_does_not_hold_ends_with_1(tmp_path: Path) -> None:
    file = tmp_path / "doe.yaml"
    invoke(RECORDS, "--new-entry", str(file), "--submitter", "Jane Doe")
    lines = file.read_text().splitlines()
    text = "\n".join("  mean: 99.0" if line.startswith("  mean:") else line for line in lines)
    file.write_text(text)
    checked = invoke(str(file), "--check")
    assert checked.exit_code == 1
    assert "mean of" in checked.stderr
    assert "problems in 1 entry." in checked.stderr
    built = invoke(str(file), "--out", str(tmp_path / "site"))
    assert built.exit_code == 1
    assert "mean of" in built.stderr
    assert "The site is not built" in built.stderr
    assert not (tmp_path / "site").exists()


def test_a_site_that_a_full_disk_broke_off_is_built_again(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with full_disk(20_000):
        broken = invoke(RECORDS, "--out", str(site))
    assert broken.exit_code == 1
    assert f"File too large: {site}" in broken.stderr
    assert "Free some space there." in broken.stderr
    assert invoke(RECORDS, "--out", str(site)).exit_code == 0
    assert (site / "index.html").exists()


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    site, entry = tmp_path / "site", tmp_path / "doe.yaml"
    site.mkdir()
    (site / ".nojekyll").touch()
    for _ in ("an empty folder", "the site itself"):
        assert invoke(RECORDS, "--out", str(site)).exit_code == 0
    (site / "leaderboard.json").unlink()
    (site / "index.html").write_text("mine")
    entry.write_text("mine")
    for words in (
        ["--out", str(site)],
        ["--out", RECORDS],
        ["--new-entry", str(entry), "--submitter", "Jane Doe"],
    ):
        refused = invoke(RECORDS, *words)
        assert refused.exit_code == 2
        assert "Name a" in refused.stderr
    assert (site / "index.html").read_text() == entry.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([RECORDS], "A leaderboard is built, or checked, or gets an entry."),
        ([RECORDS, "--check", "--out", "S"], "A leaderboard is built, or checked"),
        ([RECORDS, "--check"], "is no file of an entry, and holds none."),
        ([RECORDS, "--new-entry", "doe.yaml"], "--submitter is missing."),
        ([RECORDS, "--check", "--title", "T"], "--title goes with --out, which is not given."),
        ([RECORDS, "--new-entry", "doe.yaml", "--title", "T"], "--title goes with --out"),
        ([RECORDS, "--out", "S", "--submitter", "J"], "--submitter goes with --new-entry"),
        ([RECORDS, "--check", "--link", "L"], "--link goes with --new-entry, which is not given."),
        ([RECORDS, "--new-entry", "doe.txt", "--submitter", "J"], "doe.txt is no YAML file."),
        (
            [RECORDS, "--new-entry", f"{__file__}/doe.yaml", "--submitter", "J"],
            f"Cannot write {__file__}/doe.yaml: File exists.",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words: list[str], said: str) -> None:
    refused = invoke(*words)
    assert refused.exit_code == 2
    assert said in refused.stderr
