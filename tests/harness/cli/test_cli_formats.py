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


@pytest.mark.parametrize("option", [("--wide",), ("--caption", "full"), ("--caption", "short")])
def test_what_says_how_much_of_a_table_is_shown_is_refused_where_none_is(
    option: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = {"compare": ["maml", "reptile", str(RECORDS)], "show": ["maml"]}
    of_records = ("report", "claims", "genotypes")
    concerned = [
        name
        for name, one in COMMANDS.items()
        if option[0].removeprefix("--") in one and "json" in formats(one)
    ]
    assert {"report", "compare", "claims"} <= {*concerned}
    for name in concerned:
        for format in formats(COMMANDS[name]) - {"table"}:
            own = arguments.get(name, [str(RECORDS)] if name in of_records else [])
            done = CliRunner().invoke(app, [*name.split(), *own, *option, "--format", format])
            assert done.exit_code == 2, name
            assert f"{option[0]} is for a table, but --format is {format}." in done.stderr, name
            assert "choose --format table" in " ".join(done.stderr.split())
    words = ["report", str(RECORDS), *option, "--output", str(tmp_path / "table.md")]
    assert "but --format is md" in CliRunner().invoke(app, words).stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("report R --commands --wide", "--commands prints no scores"),
        ("report R --commands --caption full", "--commands prints no scores"),
        ("claims R some-claim --caption short", "--caption is for the list of claims"),
        ("reproduce m-nas/table-1 --dry-run --wide", "--wide is for the table, which --dry-run"),
        ("status R --every 2", "--every goes with --watch, which is not given."),
        ("view R --bundle B --port 80", "--port is for a page that is served"),
        ("view R --bundle B --no-browser", "--no-browser is for a page that is served"),
    ],
)
def test_an_option_that_cannot_act_beside_another_is_refused(command: str, said: str) -> None:
    words = [str(RECORDS) if word == "R" else word for word in command.split()]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_a_report_in_json_goes_to_a_json_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(RECORDS), "--json", "-o", str(tmp_path / "a.md")])
    assert "a.md ends in .md, but --format is json" in done.stderr
    assert done.stdout == ""
