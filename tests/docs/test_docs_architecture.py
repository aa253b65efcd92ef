"""The architecture page names the file and the name that answer each question."""

from __future__ import annotations

import ast
import re

import pytest
from doc_pages import DOCS, ROOT

PAGE = DOCS / "explanation" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<question>.*\?) \| \[(?P<file>.*)\]\((?P<path>.*)\) \| `(?P<name>\w+)` \|$"
)
ANSWERS = [found.groupdict() for line in TEXT.splitlines() if (found := ROW.match(line))]
PACKAGES = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", TEXT, re.M)


def test_there_are_twenty_questions_and_more() -> None:
    assert len({answer["question"] for answer in ANSWERS}) >= 20


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["question"])
def test_the_file_of_an_answer_defines_the_name(answer: dict[str, str]) -> None:
    file = (PAGE.parent / answer["path"]).resolve()
    assert str(file).endswith(answer["file"])
    body = ast.parse(file.read_text(encoding="utf-8")).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert answer["name"] in defined


def test_every_package_is_there_and_what_to_read_first_exists() -> None:
    harness = ROOT / "harness" / "metabench"
    assert {name for name, _ in PACKAGES} == {
        init.parent.name for init in harness.glob("*/__init__.py")
    }
    for name, first in PACKAGES:
        files = re.findall(r"`([\w.]+)`", first)
        assert files
        assert [file for file in files if not (harness / name / file).exists()] == []


def test_the_picture_shows_the_layers_that_the_test_of_layers_holds() -> None:
    picture = TEXT.partition("```text\n")[2].partition("```")[0]
    lines = [set(re.findall(r"(\w+)(?:/|\.py)(?!\w)", line)) for line in picture.splitlines()]
    source = (ROOT / "tests" / "harness" / "test_floor_plan.py").read_text(encoding="utf-8")
    (layers,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    ]
    assert lines == [names for names in reversed(layers) if "__init__" not in names]
