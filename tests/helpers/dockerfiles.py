"""A Dockerfile as instructions, and what is wrong with one where no Docker can tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

KNOWN = frozenset(
    {
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    }
)
OF_IMAGE = frozenset({"python", "pip", "metabench"})
"""Commands of the image that the machine that runs the tests need not have."""
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_COMMAND = re.compile(r"(?:^|&&|;|\|\||\)|\|)\s*([a-z][\w.-]*)(?=\s|$)")
_SHELL = frozenset({"case", "esac", "echo", "exit", "set", "if", "then", "fi", "true"})


@dataclass(frozen=True, slots=True)
class Instruction:
    """A line of a Dockerfile, with the lines that continue it.

    Attributes:
        name: in capitals.
        rest: what follows.
        line: its number.
    """

    name: str
    rest: str
    line: int

    @property
    def words(self) -> list[str]:
        """What follows, without flags."""
        return [word for word in self.rest.split() if not word.startswith("--")]

    @property
    def flags(self) -> dict[str, str]:
        """The flags by name."""
        pairs = (w[2:].partition("=") for w in self.rest.split() if w.startswith("--"))
        return {name: value for name, _, value in pairs}


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile."""
    found: list[Instruction] = []
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or not line.strip():
            continue
        start = start if pending else number
        if line.endswith("\\"):
            pending += f"{line[:-1]}\n"
            continue
        name, _, rest = (pending + line).strip().partition(" ")
        found.append(Instruction(name.upper(), rest.strip(), start))
        pending = ""
    if pending:
        found.append(Instruction("", pending, start))
    return found


def flaws(text: str, root: Path, *, ignored: str = "") -> list[str]:
    """What is wrong with a Dockerfile, a sentence each.

    Args:
        text: of the Dockerfile.
        root: the folder that is sent to Docker.
        ignored: text of its ``.dockerignore``.
    """
    found = instructions(text)
    return [f"line {line}: {said}" for line, said in _flaws(found, root, ignored.splitlines())]


def _flaws(found: list[Instruction], root: Path, ignored: list[str]) -> Iterator[tuple[int, str]]:
    arguments: set[str] = set()
    stages: set[str] = set()
    in_stage: set[str] = set()
    for one in found:
        if one.name not in KNOWN:
            yield one.line, f"{one.name or 'a line that goes on'} is no instruction"
        if not stages and not in_stage and one.name not in ("ARG", "FROM"):
            yield one.line, f"{one.name} before the first FROM"
        if one.name == "ARG":
            (in_stage if in_stage else arguments).add(one.rest.partition("=")[0])
        if one.name == "FROM":
            in_stage = {"FROM"}
            if "AS" in one.words:
                stages.add(one.words[-1])
            for name in set(_VARIABLE.findall(one.rest)) - arguments:
                yield one.line, f"the argument {name} is not declared"
        if one.name in ("COPY", "ADD"):
            yield from ((one.line, said) for said in _copied(one, root, ignored, stages))
        if one.name in ("ENTRYPOINT", "CMD", "VOLUME") and not _is_list(one.rest):
            yield one.line, f"{one.name} is not a JSON list"
        if one.name == "RUN":
            yield from ((one.line, said) for said in _run(one.rest, in_stage))
    if not any(one.name == "ENTRYPOINT" for one in found):
        yield len(found), "there is no ENTRYPOINT"


def _copied(one: Instruction, root: Path, ignored: list[str], stages: set[str]) -> Iterator[str]:
    if (stage := one.flags.get("from")) is not None:
        if stage not in stages:
            yield f"there is no stage {stage}"
        return
    for source in one.words[:-1]:
        if not (root / source).exists():
            yield f"there is no {source} to copy"
        elif _is_ignored(source, ignored):
            yield f"{source} is not sent to Docker, because .dockerignore names it"


def _is_ignored(source: str, lines: list[str]) -> bool:
    """Whether the last line that matches keeps a path out."""
    out = False
    for line in lines:
        pattern = line.strip().removesuffix("/")
        if pattern and not pattern.startswith("#") and fnmatch(source, pattern.lstrip("!")):
            out = not pattern.startswith("!")
    return out


def _is_list(text: str) -> bool:
    try:
        words = json.loads(text)
    except ValueError:
        return False
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


def _run(script: str, declared: set[str]) -> Iterator[str]:
    script = script.replace("\n", " ")
    checked = subprocess.run(
        ["sh", "-n", "-c", script], capture_output=True, text=True, check=False
    )
    if checked.returncode:
        yield f"the shell cannot read it: {checked.stderr.strip()}"
        return
    plain = re.sub(r"\$\([^)]*\)|\"[^\"]*\"|'[^']*'", "x", script)
    for name in sorted({*_COMMAND.findall(plain)} - _SHELL - OF_IMAGE):
        if shutil.which(name) is None:
            yield f"there is no command {name}"
    assigned = set(re.findall(r"(?:^|\s)([a-z_]+)=", script))
    for name in sorted({*_VARIABLE.findall(script)} - declared - assigned - {"PATH"}):
        yield f"the variable {name} is not declared"


def build_arguments(text: str) -> Mapping[str, str]:
    """The build arguments with their defaults."""
    pairs = (one.rest.partition("=") for one in instructions(text) if one.name == "ARG")
    return {name: value for name, _, value in pairs}
