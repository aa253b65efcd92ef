"""From Python objects to Markdown: docstrings, definitions, fields, options, tables."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from pydantic import BaseModel

from metabench.plugin.source_deviation import DEVIATIONS, SourceDeviation
from metabench.text import as_in_yaml

_DOCTEST = re.compile(r"^(>>> .*(?:\n.+)*)", re.M)
SECTIONS = {"Args:": "Arguments:", "Returns:": "Returns:", "Raises:": "Raises:"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def words(value: Any) -> str:
    """A value as a person would say it: ``filters=64, pool=stride``."""
    if isinstance(value, dict):
        return ", ".join(
            f"{key}: ({words(item)})" if isinstance(item, dict) else f"{key}={words(item)}"
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(words(item) for item in value)
    return as_in_yaml(value)


def prose(thing: Any) -> str:
    """The docstring as Markdown, without the fields of a class, which go to a table."""
    kept: list[str] = []
    section = ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line in ("Args:", "Returns:", "Raises:", "Attributes:"):
            section = line
            kept += ["", SECTIONS[line], ""] if line in SECTIONS else []
        elif section == "Attributes:":
            continue
        elif section and line.startswith("    ") and not line.startswith("     "):
            name, colon, text = line.strip().partition(": ")
            kept.append(
                f"- `{name}`: {text}" if colon and name.isidentifier() else f"- {name}{colon}{text}"
            )
        else:
            kept.append(f"  {line.strip()}" if section and line else line)
    text = re.sub(r"\n{3,}", "\n\n", _inline("\n".join(kept))).strip()
    return _DOCTEST.sub(r"```python\n\1\n```", text)


def _inline(text: str) -> str:
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def definition(function: Any, *, attribute: bool = False) -> str:
    """A function's head as it is written, on one line where it fits."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    arguments, returns = ast.unparse(node.args), ast.unparse(node.returns or ast.Constant(None))
    if attribute:
        return f"{node.name}: {returns}"
    return f"def {node.name}({arguments}) -> {returns}"


def attributes(kind: type) -> list[list[str]]:
    """Name, type and meaning of each public field of a class, inherited ones first."""
    rows: dict[str, list[str]] = {}
    for base in reversed(kind.__mro__):
        meanings = _attribute_texts(base)
        for name, annotation in inspect.get_annotations(base).items():
            if not name.startswith("_") and base.__module__.startswith("metabench"):
                rows[name] = [f"`{name}`", f"`{annotation}`", _inline(meanings.get(name, ""))]
    return list(rows.values())


def _attribute_texts(kind: type) -> dict[str, str]:
    _, _, listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    described = getattr(kind, "model_fields", {})
    texts = {name: str(field.description or "") for name, field in described.items()}
    name = ""
    for line in listed.splitlines():
        if found := re.match(r"    (\w+): (.*)", line):
            name, texts[found[1]] = found[1], found[2]
        elif name and line.strip():
            texts[name] += f" {line.strip()}"
    return texts


def fields(model: type[BaseModel]) -> list[list[str]]:
    """Name, values, default and meaning of each field of a record."""
    bases = reversed(model.__mro__)
    written = {k: v for base in bases for k, v in inspect.get_annotations(base).items()}
    rows = []
    for name, field in model.model_fields.items():
        if field.exclude:  # it is not written
            continue
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else f"`{words(default) or '(empty)'}`"
        if typing.get_origin(field.annotation) is typing.Literal:
            values = [" | ".join(f"`{word}`" for word in typing.get_args(field.annotation))]
        else:
            values = [f"`{written[name]}`", " and ".join(_bounds(field.metadata))]
        kind = ", ".join(part for part in values if part)
        rows.append([f"`{name}`", kind, shown, field.description or ""])
    return rows


def _bounds(metadata: Iterable[Any]) -> list[str]:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [(sign, getattr(m, key, None)) for m in metadata for key, sign in signs.items()]
    return [f"{sign} {limit}" for sign, limit in found if limit is not None]


def deviation_table(deviations: Sequence[SourceDeviation]) -> list[str]:
    """A heading and a table; nothing if there are no deviations."""
    rows = [
        [
            one.where,
            one.source,
            one.here,
            one.why,
            ", ".join(one.learners),
            one.conditions,
            "yes" if one.comparable else "no",
        ]
        for one in deviations
    ]
    header = ["place", "source", "here", "why", "learners", "only with", "compared"]
    shown = [i for i in range(len(header)) if any(row[i] for row in rows)]
    body = [[row[i] for i in shown] for row in rows]
    return [f"{DEVIATIONS}:", table([header[i] for i in shown], body)] if rows else []


def aliases(module: ModuleType) -> list[list[str]]:
    """Name, value and meaning of each documented assignment of a module."""
    body = ast.parse(inspect.getsource(module)).body
    rows = []
    for node, following in itertools.pairwise(body):
        text = following.value if isinstance(following, ast.Expr) else None
        if (
            isinstance(node, ast.Assign)
            and isinstance(text, ast.Constant)
            and isinstance(node.targets[0], ast.Name)
        ):
            name, value = node.targets[0].id, ast.unparse(node.value)
            rows.append([f"`{name}`", f"`{value}`", _inline(str(text.value))])
    return rows


def option_rows(command: Callable[..., Any]) -> list[list[str]]:
    """Name, values, default and meaning of each argument and option of a Typer command."""
    hints = typing.get_type_hints(command, include_extras=True)
    rows = []
    for name, parameter in inspect.signature(command).parameters.items():
        if hints[name] is typer.Context:
            continue
        kind, info = typing.get_args(hints[name])
        is_option = type(info).__name__ == "OptionInfo"
        # Typer takes the first name for a default when the option stands in an annotation.
        names = [
            word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)
        ]
        if is_option and not names:
            names = [f"--{name.replace('_', '-')}"]
        shown = ", ".join(f"`{word}`" for word in names) or f"`{info.metavar or name.upper()}`"
        rows.append([shown, _values(kind, info), _default(parameter.default), info.help or ""])
    return rows


def _values(kind: Any, info: Any) -> str:
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    plain = options[0] if options else kind
    if info.metavar and type(info).__name__ == "OptionInfo":
        return f"`{info.metavar}`"
    if isinstance(plain, type) and issubclass(plain, Enum):
        return " | ".join(f"`{member.value}`" for member in plain)
    named = {bool: "flag", int: "integer", float: "number", Path: "path", str: "text"}
    named |= {list[str]: "texts"}
    limits = [f">= {info.min}"] if info.min is not None else []
    limits += [f"<= {info.max}"] if info.max is not None else []
    return ", ".join([named[plain], *limits])


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    return "" if value in (None, "", False) else f"`{value}`"
