"""What a release must say the same everywhere."""

from __future__ import annotations

import re
import tomllib

import yaml
from doc_pages import ROOT


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (bibtex,) = re.findall(r"version = \{(.*)\}", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert citation["version"] == bibtex == project["version"]


def test_ci_on_the_forge_runs_the_same_script() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(text)["jobs"]["everything"]["steps"]
    assert "bash .ci/run" in [step.get("run") for step in steps]
