"""What ``--help`` shows of every command is what its options say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from metabench.cli import app


def commands() -> Iterator[tuple[str, Any]]:
    """The words of each command and group, with the command."""
    pending = [("", get_command(app))]
    while pending:
        words, command = pending.pop()
        yield words, command
        children = getattr(command, "commands", {})
        pending += [(f"{words} {name}".strip(), child) for name, child in children.items()]


COMMANDS = dict(commands())


def told(text: str) -> str:
    """Words without boxes, backticks and line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text.replace("`", "")).split())


@pytest.mark.parametrize("words", COMMANDS)
def test_every_help_text_appears_as_it_was_written(words: str) -> None:
    result = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "1000"})
    assert result.exit_code == 0
    shown = told(result.output)
    for parameter in COMMANDS[words].params:
        assert told(getattr(parameter, "help", "") or "") in shown, parameter.name
    for paragraph in (COMMANDS[words].help or "").split("\n\n"):
        assert told(paragraph) in shown


def test_defaults_that_are_told_in_words_appear() -> None:
    result = CliRunner().invoke(app, ["figure", "--help"], env={"COLUMNS": "200"})
    assert "[default: as in the file name, or svg]" in result.output
