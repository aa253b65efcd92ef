"""YAML files: the scalars of YAML 1.2, bounded in size, no key twice, no tags."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from metabench.data.plain_files import read_plain_text
from metabench.errors import UsageError

try:
    from yaml import CSafeLoader as _Parser
except ImportError:
    from yaml import SafeLoader as _Parser  # type: ignore[assignment]

MAX_TEXT = 4 * 2**20
"""No file of metabench is longer (characters)."""
MAX_BYTES = 4 * MAX_TEXT
"""Bytes of a file that may have so many."""
MAX_DEPTH = 50
"""Lists and mappings inside each other, at most."""
MAX_NODES = 200_000
"""Values of a file at most, those that aliases repeat included."""
MAX_NUMBER = 400
"""Characters of a number at most."""
_READ_OTHERWISE = frozenset("\t\ufeff")
"""Characters that libyaml allows in more places than the parser in Python."""


def read_mapping(file: Traversable, *, of: str) -> dict[Any, Any]:
    """Read a file that contains one mapping.

    Args:
        file: in UTF-8.
        of: what it describes, such as "a suite", for the error.

    Raises:
        UsageError: when it cannot be read, is not UTF-8, not valid YAML, or no mapping.
    """
    try:
        values = read_yaml(_text(file))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{file} cannot be read: {reason}.", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is not a text file in UTF-8.", hint="Save it in UTF-8."
        ) from error
    except yaml.YAMLError as error:
        said, lines = what_is_wrong(error)
        raise UsageError(f"{file} is not valid YAML: {said}.", hint=lines) from error
    if not isinstance(values, dict):
        raise UsageError(f"{file} does not describe {of}: it is not a mapping.")
    return values


def _text(file: Traversable) -> str:
    if isinstance(file, Path):
        return read_plain_text(file, MAX_BYTES)
    with file.open("rb") as opened:  # inside the archive of an installed package
        return opened.read(MAX_BYTES).decode("utf-8")


def what_is_wrong(error: yaml.YAMLError) -> tuple[str, str]:
    """What YAML says of a text: the place and the problem, and the line with a mark below it.

    >>> try:
    ...     read_yaml("a: 1\\nb: c: d")
    ... except yaml.YAMLError as error:
    ...     what_is_wrong(error)
    ('line 2, column 5: mapping values are not allowed here', '    b: c: d\\n        ^')
    """
    mark = getattr(error, "problem_mark", None)
    said = problem_of(error)
    if mark is None:
        return said, ""
    snippet = mark.get_snippet(indent=4) or ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}", snippet


def problem_of(error: yaml.YAMLError) -> str:
    """What YAML says of a text, without the place."""
    said = getattr(error, "problem", None) or str(error)
    return " ".join(said.split())


def read_yaml(text: str) -> Any:
    """Parse YAML with the core schema of YAML 1.2, in which ``010`` is ten and ``1:30`` is text.

    >>> read_yaml("{lr: 1e-4, mode: off, n: 010, time: 1:30, on: 2001-01-01}")
    {'lr': 0.0001, 'mode': 'off', 'n': 10, 'time': '1:30', 'on': '2001-01-01'}

    Raises:
        yaml.YAMLError: it is not YAML, has a key twice or a tag, or is longer or deeper than any
            file of metabench.
    """
    if len(text) > MAX_TEXT:
        raise yaml.YAMLError(f"it has {len(text):,} characters, more than {MAX_TEXT:,}")
    if not _READ_OTHERWISE & set(text):
        try:
            return yaml.load(text, Loader=_Loader)
        except (yaml.YAMLError, UnicodeError):
            pass  # the errors of the parser in Python show the line, and are the same everywhere
    return yaml.load(text, Loader=_LoaderInPython)


def flow(value: Any) -> str:
    """A value on one line, as it is written after ``--set NAME=``.

    >>> flow({"cell": [[0, 2, "skip"]]}), flow(0.01), flow(None)
    ('{cell: [[0, 2, skip]]}', '0.01', 'null')
    """
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=math.inf)
    return text.removesuffix("...\n").strip()


def file_text(values: dict[str, Any]) -> str:
    """A mapping as the text of a file, in its own order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


class _Rules(Composer, SafeConstructor, Resolver):
    """YAML 1.2 scalars within bounds; a tag, and a key that occurs twice, are errors."""

    def compose_document(self) -> yaml.Node | None:
        self.anchors = {}
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[int, int] = {}
        return super().compose_document()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]
        if getattr(event, "tag", None) is not None:
            raise _wrong(f"the tag {event.tag} is not read; leave it out", event)
        before = self._nodes
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _wrong(f"more than {MAX_DEPTH} lists or mappings inside each other", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        # An alias repeats all that its anchor holds.
        self._nodes += self._sizes.get(id(node), 0) if isinstance(event, yaml.AliasEvent) else 1
        if self._nodes > MAX_NODES:
            raise _wrong(f"more than {MAX_NODES:,} values", event)
        self._sizes.setdefault(id(node), self._nodes - before)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise _wrong(f"the key {key!r} is not text or a number", key_node)
            if key in seen:
                raise _wrong(f"the key {key!r} stands twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        digits = self._number(node).lower()
        base = {"0x": 16, "0o": 8}.get(digits[:2], 10)
        return int(digits[2:] if base != 10 else digits, base)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        return float(self._number(node).lower().replace(".inf", "inf").replace(".nan", "nan"))

    def _number(self, node: yaml.ScalarNode) -> str:
        if len(node.value) > MAX_NUMBER:
            raise _wrong(f"a number of {len(node.value):,} characters", node)
        return str(node.value)


def _wrong(sentence: str, where: yaml.Event | yaml.Node) -> yaml.YAMLError:
    mark: Any = where.start_mark
    return yaml.constructor.ConstructorError(None, None, sentence, mark)


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2 takes for a number, and 1.1 does not: ``1e-3`` and ``0o7``."""


_TAG = "tag:yaml.org,2002:"
_Rules.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ("~", "n", "N", "")),
    ("bool", "true|True|TRUE|false|False|FALSE", tuple("tTfF")),
    ("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", tuple("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        tuple("-+0123456789."),
    ),
):
    for _rules in (_Rules, _Dumper):
        _rules.add_implicit_resolver(
            f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), list(_first)
        )
_Rules.yaml_constructors = {
    **SafeConstructor.yaml_constructors,
    f"{_TAG}int": _Rules.construct_int,
    f"{_TAG}float": _Rules.construct_float,
}


class _Loader(_Rules, _Parser):
    """Parses with libyaml where it is installed, five times as fast as in Python."""

    def __init__(self, stream: str) -> None:
        _Parser.__init__(self, stream)


class _LoaderInPython(_Rules, yaml.SafeLoader):
    """Parses in Python."""
