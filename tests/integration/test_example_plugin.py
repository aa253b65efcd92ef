"""The example plugin, as the distribution it is: listed, checked and run from the command line.

CI installs it into a fresh environment besides; here its metadata lies on the path.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "metabench-proto"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Environment variables under which the example is an installed distribution."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / f"metabench_proto-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["metabench"]
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[metabench]", *lines]))
    path = os.pathsep.join([str(EXAMPLE / "src"), str(tmp_path)])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def metabench(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "metabench", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_example_is_listed(environment: dict[str, str]) -> None:
    plugins = json.loads(metabench(environment, "plugins", "list", "--json"))
    ours = [plugin for plugin in plugins if plugin["distribution"] == "metabench-proto"]
    assert {plugin["status"] for plugin in ours} == {"ok"}
    assert {plugin["name"]: plugin["provides"] for plugin in ours} == {
        "proto": {"learner": ["proto"]},
        "proto-more": {"learner": ["proto-classes"], "metric": ["margin"]},
    }


@pytest.mark.slow
def test_example_keeps_the_contract(environment: dict[str, str]) -> None:
    out = metabench(environment, "plugins", "check", "proto")
    others = [line for line in out.splitlines()[1:] if not line.startswith("  ok  ")]
    # Its optimizer is PyTorch's, which counts in Python, and it declares little that is optional.
    told = (
        "captured program",
        "can be captured",
        "can be repeated",
        "optional",
        "it declares nothing",
    )
    assert all(any(words in line for words in told) for line in others), others
    assert out.count("  ok  ") >= 25


@pytest.mark.slow
def test_example_runs_and_stands_in_the_table(environment: dict[str, str], tmp_path: Path) -> None:
    results = tmp_path / "results"
    metabench(
        environment,
        *["run", "--learner", "proto,proto-classes", "--suite", "omniglot", "--data", "synthetic"],
        *["--budget", "smoke", "--set", "budget[proto].meta_steps=200", "--metric", "margin"],
        *["--out", str(results)],
    )
    report = metabench(environment, "report", str(results), "--format", "json")
    tables = json.loads(report)["tables"]
    rows = {row["learner"]: row for row in tables[0]["rows"]}
    assert rows.keys() == {"proto", "proto-classes"}
    assert "synthetic" in rows["proto"]["stamps"]
    assert rows["proto"]["cells"]["omniglot"]["mean"] > 60  # guessing among five classes gives 20
    (file,) = results.glob("*/proto-classes/*/run.json")
    record = json.loads(file.read_text())
    # What the plugin brings for the suite, and the phases of its learner.
    assert record["spec"]["learner"]["params"]["batch"] == 64
    assert record["spec"]["training"]["meta_steps"] == 20
    assert [phase["name"] for phase in record["phases"]] == ["classify", "compare"]
    (first, *_) = (file.parent / "episodes.jsonl").read_text().splitlines()
    assert "margin" in json.loads(first)["metrics"]
