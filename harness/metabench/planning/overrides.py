"""The changes that ``--set`` asks for: values by scope and name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from metabench.errors import UsageError, unknown
from metabench.planning.yaml_files import read_yaml
from metabench.text import counted

SCOPES = ("learner", "network", "strategy", "data", "protocol", "budget")
"""The scopes of ``--set``, in the words of a user."""

_INTERNAL = {"network": "space"}
"""What records, plans and suite files call a scope, where it is another word."""

OF_ONE = ("learner", "network", "strategy", "budget")
"""The scopes that may name what they apply to, ``learner[maml]``; a budget names a learner."""

Changes = Mapping[str, Mapping[str, Any]]
"""Values by scope, as records name it, and name. A scope of one thing is ``learner[maml]``."""

_SCOPE = re.compile(r"(?P<scope>[^\[\]]+)(?:\[(?P<one>[^\[\]]+)\])?")


def parse_changes(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read ``--set`` options.

    The scope ``space`` is the former name of ``network`` and means the same.

    >>> parse_changes(["learner.inner_lr=1e-2", "network.filters=32"])
    {'learner': {'inner_lr': 0.01}, 'space': {'filters': 32}}
    >>> parse_changes(["learner[maml].inner_lr=0.1"])
    {'learner[maml]': {'inner_lr': 0.1}}

    Raises:
        UsageError: an option is malformed, its scope is unknown, or its value is not YAML.
    """
    changes: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        place, dot, name = path.partition(".")
        parts = _SCOPE.fullmatch(place)
        if not (equals and dot and name and parts):
            raise UsageError(
                f"--set {text!r} is not of the form SCOPE.NAME=VALUE.",
                hint="For example: --set learner.inner_lr=0.01, or of one learner of several: "
                "--set 'learner[maml].inner_lr=0.01'.",
            )
        scope, one = parts["scope"], parts["one"]
        if scope not in (*SCOPES, *_INTERNAL.values()):
            raise unknown("scope of --set", scope, SCOPES)
        if one and scope not in (*OF_ONE, *_INTERNAL.values()):
            raise UsageError(
                f"--set {text!r} is for one of several, but {scope} is the same for all.",
                hint=f"Scopes that take a name in brackets: {', '.join(OF_ONE)}.",
            )
        scope = _INTERNAL.get(scope, scope)
        place = f"{scope}[{one}]" if one else scope
        try:
            read = read_yaml(value)
        except yaml.YAMLError as error:
            raise UsageError(
                f"--set {text!r} has a value that is not valid YAML.",
                hint=_unbalanced(value)
                or "Put the value in quotes if it contains brackets, braces or colons.",
            ) from error
        known = changes.setdefault(place, {})
        if name in known and (type(known[name]), known[name]) != (type(read), read):
            raise UsageError(
                f"--set {path} is given twice, with different values.", hint="Give it once."
            )
        known[name] = read
    return changes


def changes_of(changes: Changes, scope: str, one: str) -> dict[str, Any]:
    """What is set in a scope for one thing; what names the thing wins.

    >>> changes_of({"learner[b]": {"x": 1}, "learner": {"x": 2, "y": 3}}, "learner", "b")
    {'x': 1, 'y': 3}
    """
    return {**changes.get(scope, {}), **changes.get(f"{scope}[{one}]", {})}


def applying(changes: Changes, named: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The changes that apply to one run, by scope alone, in the order in which they were given.

    Args:
        changes: of a command.
        named: per scope of one thing, the thing that the run has.
    """
    scopes = dict.fromkeys(_parts(key)[0] for key in changes)
    found = {scope: changes_of(changes, scope, named.get(scope, "")) for scope in scopes}
    return {scope: values for scope, values in found.items() if values}


def check_names(changes: Changes, known: Mapping[str, Collection[str]]) -> None:
    """Refuse a scope of one thing that no run of the command has.

    Args:
        changes: of the command.
        known: per scope, the things that its runs have.

    Raises:
        UsageError: with the nearest names.
    """
    for key in changes:
        scope, one = _parts(key)
        if one and one not in known.get(scope, ()):
            word = scope_in_words(scope)
            what = "learner" if scope == "budget" else word
            raise UsageError(
                f"--set {word}[{one}]... names a {what} that no run of this command has.",
                hint=unknown(what, one, known.get(scope, ())).hint,
            )


def _parts(key: str) -> tuple[str, str]:
    """Scope and thing of a key of :data:`Changes`; the thing is empty where none is named."""
    scope, _, rest = key.partition("[")
    return scope, rest.removesuffix("]")


def _unbalanced(value: str) -> str:
    """A sentence on the first kind of bracket that is not closed as often as it is opened."""
    for opening, closing, kind in (("[", "]", "bracket"), ("{", "}", "brace")):
        opened, closed = value.count(opening), value.count(closing)
        if opened != closed:
            return f"It opens {counted(opened, kind)} and closes {closed}."
    return ""


def scope_in_words(scope: str) -> str:
    """The word of a user for a scope of :data:`Changes`.

    >>> scope_in_words("space"), scope_in_words("learner")
    ('network', 'learner')
    """
    words = {internal: word for word, internal in _INTERNAL.items()}
    return words.get(scope, scope)
