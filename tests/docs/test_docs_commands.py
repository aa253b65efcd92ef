"""The commands that the documentation shows: all are known, and those that can be run are run."""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doc_pages import DOCS, PAGES, ROOT, Block, blocks, console
from PIL import Image
from typer.testing import CliRunner

from metabench.cli import app

TAUGHT = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
SHORT = shlex.split(
    "--jobs 1 --limit 2 --set budget.meta_steps=2 --set budget.meta_batch=2 --device cpu"
)
"""Appended to each ``metabench run``, ``tune`` and ``reproduce``, so that it ends in a moment."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with photos, in which a reader works."""
    rng = np.random.default_rng(0)
    for name in ("ants", "bees", "cats", "dogs", "eels", "foxes", "geese", "hens", "ibex", "jays"):
        home = tmp_path / "photos" / name
        home.mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(home / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(arguments: list[str]) -> tuple[int, str]:
    """Run metabench in this process: exit code, and all it printed."""
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def install(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``pip install -e`` does, for this test alone: code and metadata on the path."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = package.parent / "installed" / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["metabench"].items()
    lines = [f"{name} = {target}" for name, target in points]
    (info / "entry_points.txt").write_text("\n".join(["[metabench]", *lines]))
    monkeypatch.syspath_prepend(info.parent)
    monkeypatch.syspath_prepend(package / "src")


def execute(command: str, monkeypatch: pytest.MonkeyPatch, *, short: bool) -> tuple[int, str]:
    program, *arguments = shlex.split(command, comments=True)
    if program == "pip":
        *_, package = arguments
        install(Path(package).resolve(), monkeypatch)
        return 0, ""
    assert program == "metabench", f"do not know how to run {command!r}"
    verb, *words = arguments
    by_plan = verb in ("run", "tune") and not words[0].startswith("-")  # which says it all
    if short and verb in ("run", "tune", "reproduce") and not by_plan:
        arguments = shortened(arguments)
    return invoke(arguments)


def shortened(arguments: list[str]) -> list[str]:
    """A command that ends in a moment: :data:`SHORT` replaces what it has of its own."""
    own = {SHORT[i + 1].partition("=")[0] for i, word in enumerate(SHORT) if word == "--set"}
    kept, words = [], iter(arguments)
    for word in words:
        if word == "--set" and (value := next(words)).partition("=")[0] in own:
            continue
        kept += [word, value] if word == "--set" else [word]
    # An executor of a reader's own may take no --jobs.
    return kept + (SHORT[2:] if "--executor" in arguments else SHORT)


def follow(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, short: bool) -> None:
    """Do what a page says: write its files, run its commands, compare what it shows."""
    before = set(sys.modules)
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        if block.language == "console" and block.runs:
            for command in block.commands:
                code, printed = execute(command, monkeypatch, short=short)
                assert code == block.exit_code, f"{command}\n{printed}"
                for line in block.output:
                    assert line in printed, f"{command} does not print {line!r}:\n{printed}"
        if block.language == "python" and not block.file:
            exec(compile(block.text, page.name, "exec"), {})
    for name in set(sys.modules) - before:
        if name.startswith("metabench_"):
            monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("page", TAUGHT, ids=lambda page: page.stem)
def test_what_a_page_teaches_works(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(page, folder, monkeypatch, short=True)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_tutorial_works_at_full_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(DOCS / "tutorial.md", folder, monkeypatch, short=False)


def shown_commands() -> list[tuple[Path, str]]:
    """Every metabench command of every page."""
    lines = [
        (page, line)
        for page in PAGES
        for block in blocks(page)
        if block.language in ("console", "sh")
        for line in (block.commands or block.text.splitlines())
    ]
    found = []
    for page, line in lines:
        for part in line.split("&&"):
            program, *arguments = shlex.split(part, comments=True) or [""]
            if program.rpartition("/")[2] == "metabench":
                found.append((page, shlex.join(arguments)))
    return found


@pytest.fixture(scope="module")
def command_helps() -> Callable[[tuple[str, ...]], str]:
    """The help of a command, or of a group, without colors and line breaks."""
    known: dict[tuple[str, ...], str] = {}

    def ask(words: tuple[str, ...]) -> str:
        if words not in known:
            result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
            known[words] = result.output if result.exit_code == 0 else ""
        return known[words]

    return ask


def test_every_command_shown_has_the_options_it_names(
    command_helps: Callable[[tuple[str, ...]], str],
) -> None:
    commands = shown_commands()
    assert len(commands) > 40
    for page, command in commands:
        words = shlex.split(command)
        name = tuple(words[: 2 if words[0] in ("data", "plugins") else 1])
        described = command_helps(name)
        assert described, f"{page.name}: there is no command {' '.join(name)}"
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            known = described + command_helps(())
            assert f"{option} " in known, f"{page.name}: {command} has no option {option}"


def test_a_page_says_why_a_command_is_not_run() -> None:
    for page in TAUGHT:
        for block in console(page):
            known = ("not run: needs ", "exit code ")
            assert block.note == "" or block.note.startswith(known), (page.name, block.note)


# The README ------------------------------------------------------------------------------------


def setup_commands() -> list[str]:
    lines = [line for block in readme_blocks() for line in block.text.splitlines()]
    return [line for line in lines if "python3 -m venv" in line]


def readme_blocks() -> list[Block]:
    return [block for block in blocks(ROOT / "README.md") if block.language == "sh"]


def test_two_commands_set_everything_up() -> None:
    main_job, tests = setup_commands()
    assert [block.text.splitlines() for block in readme_blocks()[:2]] == [[main_job], [tests]]
    start = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e "
    assert main_job.startswith(f"{start}'.[stats]' && .venv/bin/metabench run ")
    assert tests.startswith(f"{start}'.[test]' && ")


def test_ci_runs_the_tests_of_the_readme() -> None:
    tests = setup_commands()[1].split(" && ")[-1]
    assert tests.endswith("-m pytest -q -n 2")
    script = ROOT / ".ci" / "run"
    assert tests in script.read_text(encoding="utf-8").splitlines()
    assert os.access(script, os.X_OK)


def test_the_main_job_of_the_readme_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = ""
    for part in setup_commands()[0].split(" && ")[2:]:
        code, printed = execute(part.removeprefix(".venv/bin/"), monkeypatch, short=True)
        assert code == 0, printed
    table = next(b.text for b in blocks(ROOT / "README.md") if "Learner" in b.text)
    assert table.splitlines()[0] in printed
    header = next(line for line in table.splitlines() if "Learner" in line)
    columns = next(line for line in printed.splitlines() if "Learner" in line)
    assert header.split() == columns.split()
