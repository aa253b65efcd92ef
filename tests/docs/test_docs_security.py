"""Each promise of SECURITY.md names tests that exist, and the page is found by who looks for it."""

from __future__ import annotations

import re
from pathlib import Path

from doc_pages import ROOT
from typer.testing import CliRunner

from metabench.cli import app

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")


def test_each_promise_names_tests_that_exist() -> None:
    files = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    promises = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
    assert len(promises) > 10
    for line in promises:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", line.split(" | ")[2])
        assert named, line
        for file, name in named:
            assert f"def {name}(" in files[file].read_text("utf-8"), f"{file}::{name}"


def test_the_page_is_linked() -> None:
    assert "](SECURITY.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "](../SECURITY.md)" in (ROOT / "docs" / "README.md").read_text("utf-8")


def test_a_plan_file_cannot_load_a_plugin(tmp_path: Path) -> None:
    plugin = tmp_path / "evil.py"
    plugin.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    words = ["--learner", "maml", "--suite", "toy-regression", "--budget", "smoke"]
    plan = tmp_path / "plan.yaml"
    saved = CliRunner().invoke(app, ["run", *words, "--dry-run", "--save-plan", str(plan)])
    assert saved.exit_code == 0
    for key in ("plugins", "plugin", "plugin_files"):
        hostile = tmp_path / "hostile.yaml"
        hostile.write_text(f"{plan.read_text()}\n{key}: [{plugin}]\n")
        refused = CliRunner().invoke(app, ["run", str(hostile), "--dry-run"])
        assert refused.exit_code == 2
        assert key in refused.stderr
    assert not (tmp_path / "ran").exists()
