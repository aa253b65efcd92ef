"""The documentation is held to the code: reference, links, changelog, fields of suite files."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from doc_pages import DOCS, PAGES, ROOT, anchors, blocks, links

import metabench
import metabench.conformance
import metabench.data
import metabench.nn
from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.planning.overrides import OF_ONE, SCOPES
from metabench.planning.runspec import EpisodeProtocol, RunSpec, SourceChoice, Training
from metabench.planning.suite import Budget, Suite, SuiteSource, load_suite
from metabench.plugin import hookspecs
from metabench.plugin.catalog import Catalog, Kind
from metabench.results.schema import EpisodeRecord, Provenance, RunRecord

REFERENCE = DOCS / "reference"
PAGE_OF: dict[Kind, str] = {
    "learner": "learners.md",
    "dataset": "datasets.md",
    "space": "spaces.md",
    "strategy": "strategies.md",
    "metric": "metrics.md",
    "executor": "executors.md",
    "tracker": "trackers.md",
}
RECORDS = (
    RunRecord,
    Provenance,
    EpisodeRecord,
    RunSpec,
    SourceChoice,
    EpisodeProtocol,
    Training,
)


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate_reference.py"), "--check"],
        capture_output=True,
        text=True,
    )
    advice = "Run `python docs/generate_reference.py`."
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{advice}"


def test_the_reference_names_no_folder_of_the_writer() -> None:
    for page in REFERENCE.glob("*.md"):
        assert str(ROOT) not in page.read_text(encoding="utf-8")
        assert str(Path.home()) + "/" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [n for n in vars(hookspecs) if n.startswith("metabench_")])
def test_every_hook_is_there_with_its_signature(name: str) -> None:
    signature = inspect.signature(getattr(hookspecs, name))
    arguments = ", ".join(f"{p.name}: {p.annotation}" for p in signature.parameters.values())
    page = (REFERENCE / "hooks.md").read_text(encoding="utf-8")
    assert f"\n## {name}\n" in page
    assert f"\ndef {name}({arguments}) -> {signature.return_annotation}\n" in page


DOORS = (metabench, metabench.nn, metabench.data, metabench.conformance)
PUBLIC = [(door, name) for door in DOORS for name in door.__all__]


def test_the_list_of_public_names_is_exactly_what_the_doors_offer() -> None:
    page = (REFERENCE / "public-names.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", page, re.M)
    assert sorted(listed) == sorted((name, door.__name__) for door, name in PUBLIC)
    assert len({name for name, _ in listed}) == len(listed), "one name has two doors"


@pytest.mark.parametrize(("door", "name"), PUBLIC, ids=lambda v: getattr(v, "__name__", v))
def test_every_public_name_is_there_and_described(door: ModuleType, name: str) -> None:
    thing = getattr(door, name)
    assert name in dir(door)
    pages = {page.name: page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md")}
    if inspect.isfunction(thing):
        of_scripts = thing.__module__.startswith("metabench.api.")
        page, mark = ("python.md", "##") if of_scripts else ("helpers.md", "###")
        section = pages[page].partition(f"\n{mark} {name}\n")[2].partition(f"\n{mark} ")[0]
        assert f"from {door.__name__} import {name}" in section
        assert [a for a in inspect.signature(thing).parameters if f"{a}: " not in section] == []
    elif inspect.isclass(thing) and issubclass(thing, MetabenchError):
        assert f"`{name}`" in pages["errors.md"]
    elif inspect.isclass(thing):
        assert f"\n## {name}\n" in pages["contracts.md"] + pages["hooks.md"] + pages["python.md"]
    else:
        where = pages["contracts.md"] + pages["hooks.md"]
        assert f"`{name}`" in where or f"`@{door.__name__}.{name}`" in where


def _imports(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "metabench":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.split(".")[0] == "metabench")


def _plugin_sources() -> Iterator[tuple[str, str]]:
    """Python that plugins are made of, or copied from: built-in, example, template, docs."""
    for folder in (ROOT / "plugins", DOCS / "examples"):
        yield from ((str(file), file.read_text(encoding="utf-8")) for file in folder.rglob("*.py"))
    for page in PAGES:
        if page.parent.name not in ("decisions", "reference"):
            for block in blocks(page):
                if block.language == "python" and ">>>" not in block.text:
                    yield str(page), block.text


def test_plugins_import_from_the_doors_alone() -> None:
    allowed = {(door.__name__, name) for door, name in PUBLIC}
    allowed |= {("metabench", door.__name__.partition(".")[2]) for door in DOORS[1:]}
    allowed |= {(door.__name__, "") for door in DOORS}
    sources = list(_plugin_sources())
    assert len(sources) > 100
    wrong = {
        f"{where}: from {module} import {name}"
        for where, source in sources
        for module, name in _imports(source)
        if (module, name) not in allowed
    }
    assert wrong == set()


@pytest.mark.parametrize(
    "protocol",
    [
        thing
        for door, name in PUBLIC
        if getattr(thing := getattr(door, name), "_is_protocol", False)
    ],
    ids=lambda protocol: protocol.__name__,
)
def test_every_protocol_can_be_asked_for(protocol: type) -> None:
    assert not isinstance(object(), protocol)


def test_every_scope_of_set_is_there() -> None:
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    _, _, section = page.partition("## Scopes of `--set`")
    section, _, _ = section.partition("\n## ")
    brackets = [f"{scope}[NAME]" for scope in (*OF_ONE, "tracker")]
    scopes = (*SCOPES, *brackets, "executor.NAME", "tracker")
    assert [scope for scope in scopes if f"`{scope}`" not in section] == []


def test_every_command_and_option_is_there() -> None:
    from typer.main import get_command

    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    pending = [("metabench", get_command(app))]
    n_options = 0
    while pending:
        name, command = pending.pop()
        children = getattr(command, "commands", {})
        pending += [(f"{name} {child}", found) for child, found in children.items()]
        if children and name != "metabench":
            continue
        assert f"\n## {name}\n" in page
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            options = [word for word in parameter.opts if word.startswith("-")]
            if "completion" in parameter.name or parameter.name == "help":
                continue
            assert all(f"`{word}`" in section for word in options), (name, options)
            assert (parameter.help or "") in section.replace("\\|", "|")
            n_options += len(options)
    assert n_options > 25


@pytest.mark.parametrize(
    "model",
    [RunRecord, Provenance, EpisodeRecord, RunSpec, SourceChoice, EpisodeProtocol, Training],
)
def test_every_field_of_a_record_is_there_with_its_meaning(model: type[RunRecord]) -> None:
    page = (REFERENCE / "records.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {model.__name__}\n")[2].partition("\n## ")[0]
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} has no description"
        if field.exclude:
            assert f"| `{name}` |" not in section  # it is not written
            continue
        (line,) = [line for line in section.splitlines() if line.startswith(f"| `{name}` |")]
        assert field.description in line


def builtin(catalog: Catalog, kind: Kind) -> dict[str, Any]:
    """What metabench itself brings, whatever else is installed."""
    named = catalog.named(kind).items()
    return {n: thing for n, thing in named if catalog.origin(kind, n).distribution == "metabench"}


@pytest.mark.parametrize("kind", PAGE_OF)
def test_every_builtin_is_there(catalog: Catalog, kind: Kind) -> None:
    text = (REFERENCE / PAGE_OF[kind]).read_text(encoding="utf-8")
    for name, spec in builtin(catalog, kind).items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert spec.summary in section
        for parameter in spec.params_model().model_fields:
            assert f"| `{parameter}` |" in section, f"{name}.{parameter} is missing"


def test_every_suite_is_there(catalog: Catalog) -> None:
    text = (REFERENCE / "suites.md").read_text(encoding="utf-8")
    for name, file in builtin(catalog, "suite").items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        suite = load_suite(file)
        for word in (*suite.settings, *suite.budgets):
            assert f"`{word}`" in section, f"{name}: {word} is missing"


def test_the_changelog_names_every_version(catalog: Catalog) -> None:
    text = " ".join((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split())
    versions = {(n, s.version) for kind in PAGE_OF for n, s in builtin(catalog, kind).items()}
    suites = builtin(catalog, "suite")
    versions |= {(n, load_suite(file).version) for n, file in suites.items()}
    missing = sorted(f"{n} {v}" for n, v in versions if f"`{n}` {v}" not in text)
    assert not missing, f"CHANGELOG.md does not name {', '.join(missing)}"


@pytest.mark.parametrize("model", [Suite, Budget, SuiteSource])
def test_the_page_on_suites_shows_every_field(model: type[Suite]) -> None:
    (text,) = [b.text for b in blocks(DOCS / "how-to" / "add-a-suite.md") if b.language == "yaml"]
    assert [name for name in model.model_fields if f"{name}:" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(found), f"{page.name}: {target}"


def test_every_page_can_be_reached() -> None:
    linked = {(p.parent / t.partition("#")[0]).resolve() for p in PAGES for t in links(p)}
    lost = [page for page in PAGES if page not in linked and page.parent != ROOT]
    assert lost == []
