"""The trackers that a command names, and the parameters that ``--set tracker[NAME]`` gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metabench.errors import UsageError, unknown
from metabench.planning.overrides import Several, read_value

_PATH = re.compile(r"tracker(?:\[(?P<name>[^\[\]]*)\])?\.(?P<param>.+)")

TrackerParams = Mapping[str, Mapping[str, Any]]
"""Parameters by the name of the tracker; those of all trackers by ""."""


def without_trackers(texts: Iterable[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Divide ``--set`` options into those that say what to run, and parameters of trackers.

    >>> without_trackers(["learner.inner_lr=0.1", "tracker[mlflow].experiment=mine"])
    (['learner.inner_lr=0.1'], {'mlflow': {'experiment': 'mine'}})

    Raises:
        UsageError: a parameter of a tracker has several values, or is not valid YAML.
    """
    others: list[str] = []
    params: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, _, value = text.partition("=")
        if not (place := _PATH.fullmatch(path)):
            others.append(text)
            continue
        own, read = params.setdefault(place["name"] or "", {}), read_value(text, value)
        if isinstance(read, Several) or place["param"] in own:
            raise UsageError(
                f"--set {path} has several values, but all runs of a command have one tracker of "
                "a name.",
                hint="Give it one value; one with commas needs quotes or brackets.",
            )
        own[place["param"]] = read
    return others, params


def params_by_tracker(names: Sequence[str], params: TrackerParams) -> dict[str, dict[str, Any]]:
    """The parameters of each tracker of a command; what names the tracker wins.

    >>> params_by_tracker(["csv", "mlflow"], {"mlflow": {"uri": "local"}})
    {'csv': {}, 'mlflow': {'uri': 'local'}}

    Raises:
        UsageError: parameters are given for a tracker that the command does not name.
    """
    for name in params:
        if name and name not in names:
            raise UsageError(
                f"--set tracker[{name}]... names a tracker that this command does not use.",
                hint=unknown("tracker", name, names).hint if names else f"Add --tracker {name}.",
            )
    if "" in params and not names:
        raise UsageError(
            "--set tracker... is given, but the command uses no tracker.",
            hint="Add --tracker NAME; `metabench list trackers` lists them.",
        )
    return {name: {**params.get("", {}), **params.get(name, {})} for name in names}
