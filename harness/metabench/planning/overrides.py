"""The changes that ``--set`` asks for: values by scope and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from metabench.errors import UsageError, unknown
from metabench.planning.yaml_files import read_yaml
from metabench.text import counted

SCOPES = ("learner", "network", "strategy", "data", "protocol", "budget")
"""The scopes of ``--set``, in the words of a user."""

_INTERNAL = {"network": "space"}
"""What records, plans and suite files call a scope, where it is another word."""

Changes = Mapping[str, Mapping[str, Any]]
"""Values by scope, as records name it, and name."""


def parse_changes(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read ``--set`` options.

    The scope ``space`` is the former name of ``network`` and means the same.

    >>> parse_changes(["learner.inner_lr=1e-2", "network.filters=32"])
    {'learner': {'inner_lr': 0.01}, 'space': {'filters': 32}}

    Raises:
        UsageError: an option is malformed, its scope is unknown, or its value is not YAML.
    """
    changes: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        scope, dot, name = path.partition(".")
        if not (equals and dot and name):
            raise UsageError(
                f"--set {text!r} is not of the form SCOPE.NAME=VALUE.",
                hint="For example: --set learner.inner_lr=0.01.",
            )
        if scope not in (*SCOPES, *_INTERNAL.values()):
            raise unknown("scope of --set", scope, SCOPES)
        try:
            changes.setdefault(_INTERNAL.get(scope, scope), {})[name] = read_yaml(value)
        except yaml.YAMLError as error:
            raise UsageError(
                f"--set {text!r} has a value that is not valid YAML.",
                hint=_unbalanced(value)
                or "Put the value in quotes if it contains brackets, braces or colons.",
            ) from error
    return changes


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
