"""The floor plan: no two files import each other in a circle, and no package imports upwards.

Every import counts, those inside functions and those for type checkers alone included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "harness", ROOT / "plugins")

LAYERS = (
    {"errors", "values", "text", "durable"},
    {"plugin", "data", "stats"},
    {"sampling", "nn", "inner_steps"},
    {"planning"},
    {"results"},
    {"running", "reports"},
    {"papers"},
    {"conformance", "render"},
    {"api"},
    {"cli"},
    {"__init__", "__main__"},
)
"""From the bottom up: a package may import from its own layer and from those below it."""

Imports = Mapping[str, set[str]]


def imports_of(*roots: Path) -> Imports:
    """The modules that each module imports, by dotted name, of those below ``roots``."""
    files = {_name(file, root): file for root in roots for file in root.rglob("*.py")}
    return {name: set(_imported(file, files)) - {name} for name, file in files.items()}


def _name(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _imported(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{file}: imports are absolute"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                if module in known or node.module in known:
                    yield module if module in known else node.module


def layer(module: str) -> int:
    """How high a module of the harness stands."""
    parts = module.split(".")
    part = parts[1] if len(parts) > 1 else "__init__"
    return next(height for height, names in enumerate(LAYERS) if part in names)


def upward(imports: Imports) -> list[str]:
    """Imports of the harness from a lower package to a higher one."""
    return [
        f"{module} imports {other}"
        for module, others in imports.items()
        for other in sorted(others)
        if module.partition(".")[0] == "metabench"
        and (other.partition(".")[0] != "metabench" or layer(other) > layer(module))
    ]


def test_no_two_files_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(imports_of(*SOURCES)).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' <- '.join(error.args[1])}") from error


def test_no_package_imports_from_a_higher_one() -> None:
    assert upward(imports_of(*SOURCES)) == []


def test_forbidden_imports_are_found(tmp_path: Path) -> None:
    for folder in ("results", "render"):
        (tmp_path / "metabench" / folder).mkdir(parents=True)
    low = tmp_path / "metabench" / "results" / "low.py"
    high = tmp_path / "metabench" / "render" / "high.py"
    low.write_text("def late():\n    from metabench.render.high import draw\n")
    high.write_text("import metabench.results.low\n")
    found = imports_of(tmp_path)
    assert upward(found) == ["metabench.results.low imports metabench.render.high"]
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()


def test_the_top_of_the_harness_is_short() -> None:
    top = [path for path in (ROOT / "harness" / "metabench").iterdir() if path.name[:2] != "__"]
    assert len(top) <= 20
    assert {path.stem for path in top} - {"py"} == set().union(*LAYERS[:-1])
