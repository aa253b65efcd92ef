"""What the fields of a plugin's description must be: a wrong one is named when a plugin is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from importlib.resources.abc import Traversable
from typing import Any, get_args

from metabench.plugin.blame import words_of
from metabench.plugin.contracts.episode import TaskKind
from metabench.plugin.contracts.metric import Better
from metabench.plugin.source_deviation import SourceDeviation
from metabench.plugin.specs import Spec

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KINDS = get_args(TaskKind)

Test = Callable[[Any], bool]


def flaw_of(spec: Spec) -> str:
    """What is wrong with the fields of a description, in a sentence; "" if nothing is."""
    for field in fields(spec):
        value = getattr(spec, field.name)
        test, words = _rule(field.name, field.default)
        if value is not field.default and not test(value):
            return f"The {field.name} of {spec.name!r} is {in_short(value)}; it must be {words}."
    return ""


def _rule(name: str, default: Any) -> tuple[Test, str]:
    """What a field must be, by its name or else by its default, and the same in words."""
    if isinstance(default, bool):
        return lambda value: isinstance(value, bool), "True or False"
    if default == "":
        return lambda value: isinstance(value, str), "a text"
    if name in _CALLED:
        return _is_target, "callable or a string 'module:attr'"
    return _RULES.get(name, (lambda value: True, ""))


def in_short(value: object) -> str:
    """What a value is, on one short line; its type, where it cannot be written."""
    text = words_of(value, repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.splitlines()) <= 1


def _is_target(value: Any) -> bool:
    return bool(_TARGET.fullmatch(value)) if isinstance(value, str) else callable(value)


def _are_texts(value: Any) -> bool:
    return _is_listed(value) and all(isinstance(one, str) for one in value)


def _is_listed(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def _are_kinds(value: Any) -> bool:
    return _are_texts(value) and len(value) > 0 and set(value) <= set(_KINDS)


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(bound is None or isinstance(bound, int | float) for bound in value)
    )


_CALLED = (
    *("params", "factory", "function", "search_params", "train_shape", "phases", "steps_at_test"),
    *("conditions", "regularization", "synthetic", "state"),
)
"""Fields that hold what is called, or where it is found."""

_RULES: dict[str, tuple[Test, str]] = {
    "summary": (
        lambda value: _is_text(value) and value.strip() != "",
        "a text of one line that is not empty",
    ),
    "title": (_is_text, "a text of one line"),
    "kinds": (
        _are_kinds,
        f"a tuple with one or both of {' and '.join(map(repr, _KINDS))}",
    ),
    "kind": (lambda value: value in ("classes", "functions"), "'classes' or 'functions'"),
    "archive": (
        lambda value: isinstance(value, str) and bool(_TARGET.fullmatch(value)),
        "a string 'module:attr'",
    ),
    "better": (
        lambda value: value in get_args(Better),
        " or ".join(map(repr, get_args(Better))),
    ),
    "range": (_is_range, "a pair of numbers, of which one or both may be None"),
    "networks": (
        lambda value: _is_named(value) and _are_texts(value.values()),
        "a mapping from kinds of task to names of networks",
    ),
    "preset": (_is_named, "a mapping by the name of a parameter"),
    "trial": (_is_named, "a mapping by the name of a parameter"),
    "predictions": (_are_texts, "a tuple of names"),
    "test_only": (_are_texts, "a tuple of names"),
    "deviations": (
        lambda value: _is_listed(value) and all(isinstance(one, SourceDeviation) for one in value),
        "a tuple of SourceDeviation objects",
    ),
    "suite_defaults": (
        lambda value: isinstance(value, Mapping | Traversable),
        "a mapping by suite, or a file",
    ),
}
