"""The changes that ``--set`` asks for: values by scope and name."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from metabench.errors import UsageError, unknown
from metabench.planning.yaml_files import flow, problem_of, read_yaml
from metabench.text import counted

SCOPES = ("learner", "network", "strategy", "data", "protocol", "budget")
"""The scopes of ``--set``, in the words of a user."""

EXECUTOR = "executor"
"""The scope of ``--set`` that says how runs are made, and not what is run."""

_INTERNAL = {"network": "space"}
"""What records, plans and suite files call a scope, where it is another word."""

OF_ONE = ("learner", "network", "strategy", "budget")
"""The scopes that may name what they apply to, ``learner[maml]``; a budget names a learner."""

Changes = Mapping[str, Mapping[str, Any]]
"""Values by scope, as records name it, and name. A scope of one thing is ``learner[maml]``."""


@dataclass(frozen=True, slots=True)
class Several:
    """The values of a sweep: each makes runs of its own.

    Attributes:
        values: at least two, all different.
    """

    values: tuple[Any, ...]


MAX_VALUES = 1000
"""No sweep has more values of one parameter."""
_SCOPE = re.compile(r"(?P<scope>[^\[\]]+)(?:\[(?P<one>[^\[\]]+)\])?")


def parse_changes(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read ``--set`` options.

    The scope ``space`` is the former name of ``network`` and means the same. Values that are
    separated by commas are a sweep; commas inside brackets, braces and quotes separate none.

    >>> parse_changes(["learner.inner_lr=1e-2", "network.filters=32"])
    {'learner': {'inner_lr': 0.01}, 'space': {'filters': 32}}
    >>> parse_changes(["learner[maml].inner_lr=0.1"])
    {'learner[maml]': {'inner_lr': 0.1}}
    >>> parse_changes(["learner.inner_lr=0.1,0.2"])
    {'learner': {'inner_lr': Several(values=(0.1, 0.2))}}

    Raises:
        UsageError: an option is malformed, its scope is unknown, or its value is not YAML.
    """
    changes: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise _malformed(text)
        scope, name = place_of(path, said=text)
        read = read_value(text, value)
        known = changes.setdefault(scope, {})
        if name in known and (type(known[name]), known[name]) != (type(read), read):
            raise UsageError(
                f"--set {path} is given twice, with different values.",
                hint=f"Give it once. For a sweep, separate values by commas: --set {path}=A,B.",
            )
        known[name] = read
    return changes


def without_executor(texts: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Divide ``--set`` options into those that say what to run, and parameters of the executor.

    >>> without_executor(["learner.inner_lr=0.1", "executor.partition=gpu"])
    (['learner.inner_lr=0.1'], {'partition': 'gpu'})

    Raises:
        UsageError: a parameter of the executor has several values, or is not valid YAML.
    """
    others: list[str] = []
    params: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        scope, dot, name = path.partition(".")
        if scope != EXECUTOR or not (equals and dot and name):
            others.append(text)
            continue
        read = read_value(text, value)
        if isinstance(read, Several) or name in params:
            raise UsageError(
                f"--set {path} has several values, but all runs of a command have one executor.",
                hint="Give it one value; one with commas needs quotes or brackets.",
            )
        params[name] = read
    return others, params


def place_of(path: str, *, said: str) -> tuple[str, str]:
    """Scope, as records name it, and name of a parameter.

    >>> place_of("network[conv4].filters", said="")
    ('space[conv4]', 'filters')

    Args:
        path: of the form ``SCOPE.NAME``.
        said: what the user said, for errors.

    Raises:
        UsageError: it has another form, or the scope is unknown.
    """
    place, dot, name = path.partition(".")
    parts = _SCOPE.fullmatch(place)
    if not (dot and name and parts):
        raise _malformed(said)
    scope, one = parts["scope"], parts["one"]
    if scope == EXECUTOR:
        raise UsageError(
            f"{said!r} is about how runs are made, and does not belong to what is run.",
            hint=f"Give it on the command line, as --set {path}=VALUE.",
        )
    if scope not in (*SCOPES, *_INTERNAL.values()):
        raise unknown("scope of --set", scope, SCOPES)
    if one and scope not in (*OF_ONE, *_INTERNAL.values()):
        raise UsageError(
            f"--set {said!r} is for one of several, but {scope} is the same for all.",
            hint=f"Scopes that take a name in brackets: {', '.join(OF_ONE)}.",
        )
    scope = _INTERNAL.get(scope, scope)
    return f"{scope}[{one}]" if one else scope, name


def check_one_name_each(paths: Iterable[str]) -> None:
    """Refuse a parameter that is named by both words of its scope, `network.a` and `space.a`.

    Args:
        paths: of the form ``SCOPE.NAME``; one that occurs twice is no matter here.

    Raises:
        UsageError: with both.
    """
    said: dict[tuple[str, str], str] = {}
    for path in paths:
        other = said.setdefault(place_of(path, said=path), path)
        if other != path:
            raise UsageError(
                f"{other} and {path} are one parameter.", hint="Leave out one of them."
            )


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"--set {text!r} is not of the form SCOPE.NAME=VALUE.",
        hint="For example: --set learner.inner_lr=0.01, or of one learner of several: "
        "--set 'learner[maml].inner_lr=0.01'.",
    )


def read_value(text: str, value: str) -> Any:
    """The value of an option: one, or several between commas.

    Args:
        text: the whole option, for errors.
        value: what follows the equals sign.

    Raises:
        UsageError: when it is not valid YAML.
    """
    parts = split_outside(value)
    if len(parts) > MAX_VALUES:
        raise UsageError(
            f"--set {text!r} has {len(parts):,} values, more than {MAX_VALUES:,}.",
            hint="Make several commands of fewer values.",
        )
    try:
        found = [read_yaml(part) for part in parts]
    except yaml.YAMLError as error:
        raise UsageError(
            f"--set {text!r} has a value that is not valid YAML: {problem_of(error)}.",
            hint=_unbalanced(value)
            or "Put the value in quotes if it contains brackets, braces, colons or commas.",
        ) from error
    if len(found) == 1:
        return found[0]
    return several(found, where=f"--set {text!r}")


def several(values: Iterable[Any], *, where: str) -> Several:
    """The values of a sweep.

    Args:
        values: at least two, all different.
        where: what they are given in, for errors.

    Raises:
        UsageError: when one stands twice or is left out.
    """
    found = tuple(values)
    written = [flow(value) for value in found]
    twice = next((one for one in written if written.count(one) > 1), None)
    if twice is not None:
        raise UsageError(f"{where} names the value {twice} twice.", hint="Name each value once.")
    if len(found) < 2:
        raise UsageError(
            f"{where} has fewer than two values, which is no sweep.",
            hint="Give at least two values.",
        )
    return Several(found)


_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
"""Text in quotes, with what YAML escapes in it."""


def split_outside(text: str) -> list[str]:
    """Split at the commas outside brackets, braces and quotes.

    >>> split_outside("0.1,[1, 2],'a,b'")
    ['0.1', '[1, 2]', "'a,b'"]

    What a quotation mark opens and nothing closes is no text in quotes.
    """
    parts, start, depth, at = [], 0, 0, 0
    opens = True  # whether a quotation mark here would begin text in quotes
    while at < len(text):
        if opens and (quoted := _QUOTED.match(text, at)):
            at, opens = quoted.end(), False
            continue
        sign, at = text[at], at + 1
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth <= 0:
            parts.append(text[start : at - 1])
            start = at
        opens = sign in "[{," or (sign == ":" and depth > 0) or (opens and sign.isspace())
    return [*parts, text[start:]]


def combinations(changes: Changes) -> list[Changes]:
    """The combinations of the values of all sweeps; the last sweep changes fastest.

    >>> [c["learner"]["a"] for c in combinations({"learner": {"a": Several((1, 2)), "b": 3}})]
    [1, 2]
    """
    swept = swept_in(changes)
    found: list[Changes] = []
    for values in product(*(changes[scope][name].values for scope, name in swept)):
        one = {scope: dict(inner) for scope, inner in changes.items()}
        for (scope, name), value in zip(swept, values, strict=True):
            one[scope][name] = value
        found.append(one)
    return found


def written(value: Any) -> str:
    """A value as ``--set`` reads it, with quotes around text whose commas would separate values.

    >>> written("a,b"), written([1, 2]), written(0.1)
    ('"a,b"', '[1, 2]', '0.1')
    """
    text = flow(value)
    return json.dumps(value) if len(split_outside(text)) > 1 else text


def swept_in(changes: Changes) -> list[tuple[str, str]]:
    """Scope and name of each sweep."""
    return [
        (scope, name)
        for scope, values in changes.items()
        for name, value in values.items()
        if isinstance(value, Several)
    ]


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
    scopes = dict.fromkeys(parts_of_scope(key)[0] for key in changes)
    found = {scope: changes_of(changes, scope, named.get(scope, "")) for scope in scopes}
    return {scope: values for scope, values in found.items() if values}


def sweep_in_words(
    changes: Changes, swept: Iterable[tuple[str, str]], named: Mapping[str, str]
) -> list[str]:
    """The values of one run that other runs of its grid have otherwise.

    A value that one for its own learner or network hides is none of the run.

    >>> sweep_in_words({"learner": {"a": 1}}, [("learner", "a")], {"learner": "maml"})
    ['a=1']

    Args:
        changes: of the run's request.
        swept: scope and name of each sweep of the grid.
        named: per scope of one thing, the thing that the run has.
    """
    found = []
    for key, name in swept:
        scope, one = parts_of_scope(key)
        own = named.get(scope, "")
        hidden = not one and name in changes.get(f"{scope}[{own}]", {})
        if one in ("", own) and not hidden:
            found.append(f"{name}={written(changes[key][name])}")
    return found


def check_names(changes: Changes, known: Mapping[str, Collection[str]]) -> None:
    """Refuse a scope of one thing that no run of the command has.

    Args:
        changes: of the command.
        known: per scope, the things that its runs have.

    Raises:
        UsageError: with the nearest names.
    """
    for key in changes:
        scope, one = parts_of_scope(key)
        if one and one not in known.get(scope, ()):
            word = scope_in_words(scope)
            what = "learner" if scope == "budget" else word
            raise UsageError(
                f"--set {word}[{one}]... names a {what} that no run of this command has.",
                hint=unknown(what, one, known.get(scope, ())).hint,
            )


def parts_of_scope(key: str) -> tuple[str, str]:
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

    >>> scope_in_words("space"), scope_in_words("space[conv4]"), scope_in_words("learner")
    ('network', 'network[conv4]', 'learner')
    """
    words = {internal: word for word, internal in _INTERNAL.items()}
    kind, bracket, rest = scope.partition("[")
    return f"{words.get(kind, kind)}{bracket}{rest}"
