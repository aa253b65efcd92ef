"""The Dockerfile holds what can be held without Docker; `.ci/run` builds it where Docker works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from dockerfiles import build_arguments, flaws, instructions
from typer.testing import CliRunner

from metabench.cli import app

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "how-to" / "run-in-a-container.md").read_text(encoding="utf-8")


def test_the_dockerfile_has_no_flaw() -> None:
    assert flaws(DOCKERFILE, ROOT, ignored=IGNORED) == []
    assert len(instructions(DOCKERFILE)) > 15


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("WORKDIR /src", "WORKDRI /src", "line 9: WORKDRI is no instruction"),
        ("COPY harness harness", "COPY harnes harness", "there is no harnes to copy"),
        ("COPY harness harness", "COPY docs docs", "docs is not sent to Docker"),
        ("--from=build", "--from=built", "there is no stage built"),
        ('ENTRYPOINT ["metabench"]', "ENTRYPOINT metabench", "ENTRYPOINT is not a JSON list"),
        ('ENTRYPOINT ["metabench"]', "", "there is no ENTRYPOINT"),
        ("esac", "esca", "the shell cannot read it"),
        ("RUN install", "RUN nothere", "there is no command nothere"),
        ("ARG DEVICE=cpu", "ARG GADGET=cpu", "the variable DEVICE is not declared"),
        ("ARG PYTHON=3.12", "", "the argument PYTHON is not declared"),
    ],
)
def test_a_flaw_is_found(good: str, bad: str, said: str) -> None:
    assert good in DOCKERFILE
    assert any(said in flaw for flaw in flaws(DOCKERFILE.replace(good, bad), ROOT, ignored=IGNORED))


def test_all_that_the_wheel_needs_is_copied() -> None:
    copied = {
        word
        for one in instructions(DOCKERFILE)
        if one.name == "COPY" and "from" not in one.flags
        for word in one.words[:-1]
    }
    wheel = re.search(r"only-include = (\[.*\])", (ROOT / "pyproject.toml").read_text())
    assert wheel is not None
    needed = {path.partition("/")[0] for path in json.loads(wheel[1])}
    assert needed | {"pyproject.toml", "README.md", "LICENSE", "constraints.txt"} == copied


def test_the_commands_in_the_image_exist() -> None:
    asked = re.findall(r"metabench ([a-z][a-z-]*)", "\n".join(DOCKERFILE.splitlines()[4:]))
    for name in asked:
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0, name
    assert asked


def test_the_page_names_arguments_and_commands_that_exist() -> None:
    named = re.findall(r"--build-arg (\w+)=", PAGE)
    assert {"DEVICE", "EXTRAS"} <= {*named} <= build_arguments(DOCKERFILE).keys()
    runs = [line for line in PAGE.splitlines() if line.startswith("docker run ")]
    assert len(runs) >= 3
    for line in runs:
        words = shlex.split(line)
        image = next(i for i, word in enumerate(words) if word.startswith("metabench"))
        command, *options = words[image + 1 :]
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, line
        for option in options:
            assert not option.startswith("--") or f"{option} " in shown.output, line
