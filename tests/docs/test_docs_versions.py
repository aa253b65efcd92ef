"""Versions: lower bounds and pins are sound, and what is claimed to work is tried."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.machinery import SourceFileLoader
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

import pytest
import yaml
from doc_pages import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
REQUIREMENTS = [
    requirement
    for line in [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    if (requirement := Requirement(line)).name != "metabench"
]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert len({name for name, _ in found}) == len(found), "a package is pinned twice"
    return {canonicalize_name(name): version for name, version in found}


def test_each_pin_is_within_the_bounds() -> None:
    pinned = pins()
    for requirement in REQUIREMENTS:
        version = Version(pinned[canonicalize_name(requirement.name)])
        assert requirement.specifier.contains(version), requirement


def brought(requirements: list[Requirement]) -> set[str]:
    """The installed packages that requirements bring, and those that these bring."""
    found: set[tuple[str, str]] = set()
    left = with_extras(requirements)
    while left:
        name, extra = left.pop()
        if (name, extra) in found:
            continue
        try:
            needs = [Requirement(line) for line in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue
        found.add((name, extra))
        left += with_extras(n for n in needs if not n.marker or n.marker.evaluate({"extra": extra}))
    return {name for name, _ in found}


def with_extras(requirements: Iterable[Requirement]) -> list[tuple[str, str]]:
    return [(canonicalize_name(one.name), x) for one in requirements for x in ("", *one.extras)]


# A CUDA build of torch brings these, and pins them itself.
OF_TORCH = re.compile(r"nvidia-.*|triton|cuda-.*")


def test_all_that_an_install_brings_is_pinned() -> None:
    there = brought(REQUIREMENTS)
    assert {
        "numpy",
        "scipy",
        "sympy",
        "contourpy",
        "click" if "click" in there else "rich",
    } <= there
    unpinned = {name for name in there - pins().keys() if not OF_TORCH.fullmatch(name)}
    assert not unpinned, "write their versions into constraints.txt"


@pytest.fixture(scope="module")
def lowest() -> ModuleType:
    loader = SourceFileLoader("lowest", str(ROOT / ".ci" / "lowest"))
    spec = spec_from_loader("lowest", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_lowest_versions_are_those_of_pyproject(lowest: ModuleType) -> None:
    project = {
        "name": "x",
        "dependencies": ["numpy>=1.26", "rich>=13.8"],
        "optional-dependencies": {
            "docs": ["mkdocs>=1.6,<2"],
            "test": ["x[docs]", "pytest>=8"],
            "other": ["ray>=2.52"],
        },
    }
    assert lowest.lowest(project, ("docs", "test")) == [
        "mkdocs==1.6",
        "numpy==1.26",
        "pytest==8",
        "rich==13.8",
    ]
    with pytest.raises(ValueError, match=r"'torch' in pyproject\.toml has no lower bound"):
        lowest.lowest({**project, "dependencies": ["torch"]}, ())


def test_what_the_lowest_versions_are_tried_with_exists(lowest: ModuleType) -> None:
    assert lowest.EXTRAS
    assert {*lowest.EXTRAS} <= EXTRAS.keys()
    assert all((ROOT / path).exists() for path in lowest.TESTS)
    names = {pin.partition("==")[0] for pin in lowest.lowest(PROJECT, lowest.EXTRAS)}
    assert {Requirement(line).name for line in PROJECT["dependencies"]} <= names
    assert "python .ci/lowest" in [step.get("run") for step in WORKFLOW["jobs"]["lowest"]["steps"]]
    assert "`python3.11 .ci/lowest`" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert ".ci/lowest" not in (ROOT / ".ci" / "run").read_text("utf-8")


def test_the_lowest_versions_are_tried_on_the_lowest_python() -> None:
    (setup,) = (
        s for s in WORKFLOW["jobs"]["lowest"]["steps"] if "python-version" in s.get("with", {})
    )
    assert f">={setup['with']['python-version']}" == PROJECT["requires-python"]


def test_each_python_that_is_named_is_tried() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert named == WORKFLOW["jobs"]["everything"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={named[0]}"
