"""What reaches a terminal: text alone, not too long, and never a traceback."""

from __future__ import annotations

import ast
import logging
import os
import re
from pathlib import Path

import pytest
from result_factory import edit_json, make_spec, write_run
from typer.testing import CliRunner, Result

import metabench.cli
from metabench.cli import app, screen
from metabench.text import for_terminal

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e"
LONG = HOSTILE + "x" * 100_000 + " x" * 50_000
RUN = ("run", "--suite", "toy-regression", "--learner", "maml", "--dry-run", "--no-probe")


def said(*words: str | Path) -> Result:
    """What a command says; it has no control characters but ends of lines, and no traceback."""
    done = CliRunner().invoke(app, [*map(str, words)])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.output), repr(done.output)
    assert len(done.stderr) < 10_000
    return done


@pytest.mark.parametrize(
    "words",
    [
        ("report", "{}"),
        ("status", "{}"),
        ("show", "{}"),
        ("list", "{}"),
        ("compare", "{}", "maml"),
        ("figure", "{}"),
        ("export", "{}"),
        ("data", "import", "image-folder", "{}", "--name", "x"),
        ("data", "fetch", "{}"),
        ("plugins", "check", "{}"),
        ("leaderboard", "{}", "--check"),
        ("{}",),
        ("report", "--{}"),
        (*RUN, "--seed", "{}"),
        (*RUN, "--network", "{}"),
        (*RUN, "--set", "learner.inner_lr={}"),
        (*RUN, "--set", "{}=1"),
        (*RUN, "--data", "{}"),
        (*RUN, "--jobs", "{}"),
        (*RUN, "--save-plan", "/nowhere/{}"),
        (*RUN, "--plugin", "{}"),
        ("run", "{}", "--dry-run"),
    ],
    ids=" ".join,
)
def test_words_of_a_command_are_repeated_as_short_text(words: tuple[str, ...]) -> None:
    done = said(*(word.replace("{}", LONG) for word in words))
    assert done.exit_code in (1, 2, 3)


def test_many_values_are_refused_at_once() -> None:
    assert "--seed" in said(*RUN, "--seed", "," * 100_000).stderr
    many = f"learner.inner_lr={',' * 100_000}"
    assert "has 100,001 values, more than 1,000" in said(*RUN, "--set", many).stderr


def test_a_number_that_is_too_large_is_one_sentence() -> None:
    done = said(*RUN, "--jobs", "999999999999")
    assert done.exit_code == 2
    assert "executor.jobs=999999999999 is not valid for local" in done.stderr


def test_a_name_that_no_record_can_hold_is_refused_before_a_run_begins(tmp_path: Path) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    done = said("run", "--suite", "toy-regression", "--learner", "maml", "--out", out)
    assert done.exit_code == 2
    assert "is not text in UTF-8, so no record can hold it" in done.stderr
    assert not Path(out).exists()


def test_control_characters_of_records_and_folders_are_text(tmp_path: Path) -> None:
    root = tmp_path / "\x1b[31mred"
    write_run(root, make_spec("maml"))
    bad = write_run(root, make_spec("reptile"), status="failed", error=HOSTILE)
    write_run(root, make_spec("anil"), backend=HOSTILE, stamps=(HOSTILE,))
    for words in (("report", root), ("status", root), ("report", root, "--caption", "full")):
        assert "\\x1b[2J" in said(*words).output
    edit_json(bad / "run.json", status=HOSTILE)
    assert "\\x1b[31mred" in said("report", root).stderr


def test_control_characters_of_a_plugin_are_text(tmp_path: Path) -> None:
    file = tmp_path / "hostile.py"
    file.write_text(
        "from metabench import DatasetSpec, hookimpl\n"
        "from metabench_plugins.datasets.omniglot import SPEC\n"
        "import dataclasses\n"
        f"mine = dataclasses.replace(SPEC, name='mine', summary={HOSTILE!r}, licence={HOSTILE!r})\n"
        "@hookimpl\n"
        "def metabench_datasets():\n"
        "    return [mine]\n"
    )
    for words in (("list", "datasets"), ("show", "mine"), ("data", "list"), ("plugins", "list")):
        assert said(*words, "--plugin", file).exit_code == 0
    assert "\\x1b[2J" in said("list", "datasets", "--plugin", file).stdout
    file.write_text(f"raise ValueError({HOSTILE!r})")
    assert "\\x1b[2J" in said("plugins", "list", "--plugin", file).stdout
    assert "\\x1b[2J" in said("list", "learners", "--plugin", file).stderr


def test_control_characters_of_what_is_logged_are_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging, "lastResort", handler)
    screen.prepare()
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s", (HOSTILE,), None)
    assert "\\x1b[2J" in handler.format(record)
    assert "\x1b" not in handler.format(record)


def test_colors_of_our_own_stay_and_others_are_text() -> None:
    assert for_terminal("\x1b[31mred\x1b[0m\x1b[2J", styled=True) == "\x1b[31mred\x1b[0m\\x1b[2J"
    assert for_terminal("\x1b[31mred") == "\\x1b[31mred"


def test_only_one_module_prints() -> None:
    (folder,) = map(Path, metabench.cli.__path__)
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(folder.glob("*.py"))
        if path.name != "screen.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "typer.echo", "typer.secho", "sys.stdout.write")
    ]
    assert found == []
