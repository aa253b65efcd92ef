"""A stranger's typed plugin: clean under ``mypy --strict``, and it works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metabench.cli import app

PLUGIN = Path(__file__).with_name("typed_plugin.py")


def strict(folder: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """Check files as a stranger would: away from the checkout and its configuration."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", *map(str, files)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.exhaustive  # CI checks the plugin beside the wheel
def test_it_is_clean_under_strict_types_and_a_mistake_is_found(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    source = PLUGIN.read_text(encoding="utf-8")
    wrong.write_text(source.replace("len(support.x)", "support"), encoding="utf-8")
    found = strict(tmp_path, PLUGIN, wrong)
    assert found.returncode == 1, found.stderr
    (mistake,) = (line for line in found.stdout.splitlines() if ": error: " in line)
    assert mistake.startswith("wrong.py:")
    assert 'Argument 2 to "share" has incompatible type "Labelled"' in mistake


def test_it_passes_the_kit() -> None:
    done = CliRunner().invoke(app, ["--plugin", str(PLUGIN), "plugins", "check", str(PLUGIN)])
    assert done.exit_code == 0, done.output


def test_it_runs(tmp_path: Path) -> None:
    arguments = ["run", "--plugin", str(PLUGIN), "--learner", "head-only", "--network", "small"]
    arguments += ["--suite", "toy-regression", "--budget", "smoke", "--limit", "2"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
