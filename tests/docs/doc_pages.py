"""The Markdown of the documentation as values: links, headings, files to write, commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *(page for page in DOCS.rglob("*.md") if "examples" not in page.parts),
    ]
)

_FENCED = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, with the comment on the line above it."""

    language: str
    text: str
    note: str

    @property
    def file(self) -> str:
        """The file that the block is the content of, or ''."""
        return self.note.removeprefix("file: ") if self.note.startswith("file: ") else ""

    @property
    def runs(self) -> bool:
        """Whether its commands are executed by the tests."""
        return not self.note.startswith("not run: ")

    @property
    def exit_code(self) -> int:
        """How its commands must end."""
        return int(self.note.removeprefix("exit code ")) if "exit code" in self.note else 0

    @property
    def commands(self) -> list[str]:
        """The lines after ``$``."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line[:2] == "$ "]

    @property
    def output(self) -> list[str]:
        """The other lines."""
        return [line for line in self.text.splitlines() if line[:2] != "$ "]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = _FENCED.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["language"], m["text"], m["note"] or "") for m in found]


def console(page: Path) -> list[Block]:
    """The blocks with commands of a reader."""
    return [block for block in blocks(page) if block.language == "console"]


def links(page: Path) -> list[str]:
    """Targets of the relative links of a page."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [match["target"] for match in _LINK.finditer(text)]


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
