"""All commands that print what is there choose the format in the same way."""

from __future__ import annotations

import json
from enum import EnumType
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from result_factory import GOLDEN
from typer.testing import CliRunner

from metabench.cli import app

RECORDS = GOLDEN / "records"


def commands(group: typer.Typer, before: str = "") -> dict[str, dict[str, Any]]:
    """The types of the options of every command, by its words."""
    found = {
        f"{before}{one.name}": get_type_hints(one.callback)
        for one in group.registered_commands
        if one.callback is not None
    }
    for part in group.registered_groups:
        assert part.typer_instance is not None
        found |= commands(part.typer_instance, f"{before}{part.name} ")
    return found


COMMANDS = commands(app)


def formats(types: dict[str, Any]) -> set[str]:
    """What ``--format`` takes; nothing of a command without it."""
    kinds = get_args(types.get("format")) or (types.get("format"),)
    return {str(one) for kind in kinds if isinstance(kind, EnumType) for one in kind}


def test_json_is_short_for_a_format_wherever_it_is_one() -> None:
    speaking = {name for name, one in COMMANDS.items() if "json" in formats(one)}
    short = {name for name, one in COMMANDS.items() if "as_json" in one}
    assert speaking == short
    assert speaking >= {
        *("report", "compare", "claims", "genotypes", "status", "list", "show", "doctor"),
        *("data list", "data show", "references list", "references check", "plugins list"),
    }
    assert all("table" in formats(COMMANDS[name]) for name in speaking)


@pytest.mark.parametrize(
    "command",
    [
        ("report", RECORDS),
        ("compare", "maml", "reptile", RECORDS, "--suite", "multidataset"),
        ("claims", RECORDS),
        ("list", "learners"),
        ("show", "maml"),
        ("references", "list"),
        ("plugins", "list"),
    ],
)
def test_both_ways_print_the_same_json(command: tuple[str | Path, ...]) -> None:
    words = [str(word) for word in command]
    short, long = (
        CliRunner().invoke(app, [*words, *option]).stdout
        for option in (["--json"], ["--format", "json"])
    )
    assert short == long
    assert json.loads(short)
    table, usual = (
        CliRunner().invoke(app, [*words, *option]).stdout for option in (["-f", "table"], [])
    )
    assert table == usual != short


@pytest.mark.parametrize("command", [("report", RECORDS), ("list",), ("claims", RECORDS)])
def test_two_formats_are_refused(command: tuple[str | Path, ...]) -> None:
    done = CliRunner().invoke(app, [*map(str, command), "--json", "--format", "table"])
    assert done.exit_code == 2
    assert "--json is short for --format json, but --format is table." in done.stderr


def test_a_report_in_json_goes_to_a_json_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(RECORDS), "--json", "-o", str(tmp_path / "a.md")])
    assert "a.md ends in .md, but --format is json" in done.stderr
    assert done.stdout == ""
