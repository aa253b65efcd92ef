"""What ``--set`` says: values by scope and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from metabench.errors import UsageError, unknown
from metabench.planning.yaml_files import read_yaml

SCOPES = ("learner", "space", "strategy", "data", "protocol", "budget")
Changes = Mapping[str, Mapping[str, Any]]


def parse_changes(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read ``--set`` options.

    >>> parse_changes(["learner.inner_lr=1e-2", "protocol.queries=15"])
    {'learner': {'inner_lr': 0.01}, 'protocol': {'queries': 15}}
    """
    changes: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        scope, dot, name = path.partition(".")
        if not (equals and dot and name):
            raise UsageError(
                f"--set {text!r} is not of the form SCOPE.NAME=VALUE.",
                hint="For example --set learner.inner_lr=0.01.",
            )
        if scope not in SCOPES:
            raise unknown("scope of --set", scope, SCOPES)
        try:
            changes.setdefault(scope, {})[name] = read_yaml(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {text!r} has a value that cannot be read.") from error
    return changes
