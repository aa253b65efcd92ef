"""Errors that a user can act on: each has one sentence, one hint and one exit code."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class MetabenchError(Exception):
    """An expected error. The command line prints it without a traceback.

    Args:
        message: one sentence that says what was asked and what was found.
        hint: what to do next; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def in_full(self) -> str:
        """The message and the hint, on one line."""
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the hint when the error crosses a process boundary."""
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[MetabenchError], message: str, hint: str) -> MetabenchError:
    return kind(message, hint=hint)


class UsageError(MetabenchError):
    """The user asked for something that does not exist or is out of bounds."""

    exit_code = 2


class DataError(MetabenchError):
    """Data is missing, damaged, or too small for what was asked."""

    exit_code = 3


class PluginError(MetabenchError):
    """A plugin cannot be loaded or breaks its contract."""

    exit_code = 4


class DivergedError(MetabenchError):
    """Training produced a value that is not finite, or too large to compute with."""


_LONGEST = 200
"""Characters of a name; a longer one is no misspelled name, and comparing it takes long."""


def _near(name: str, names: Iterable[str]) -> list[str]:
    """At most three names that differ little from one, the nearest first.

    Names that differ only in case, hyphens and spaces are nearer than all others, and then alone.
    """
    if len(name) > _LONGEST:
        return []
    by_case: dict[str, list[str]] = {}
    for one in names:
        by_case.setdefault(one.casefold(), []).append(one)
    equal = [key for key in by_case if _small(key) == _small(name)]
    near = equal or difflib.get_close_matches(name.casefold(), by_case, n=3)
    return [one for key in near for one in by_case[key]][:3]


def _small(name: str) -> str:
    """A name without what people write in different ways."""
    return re.sub(r"[\s_-]", "", name.casefold())


def unknown(kind: str, name: str, known: Iterable[str], *, of: str = "") -> UsageError:
    """Describe an unknown name with its nearest known names.

    >>> unknown("learner", "malm", ["maml", "reptile"]).hint
    'Did you mean maml?'
    >>> unknown("learner", "M-NAS", ["mnas", "mnas-nm", "tnas"]).hint
    'Did you mean mnas?'
    >>> unknown("column", "nonsense", ["average", "sine"]).hint
    'Known: average, sine.'

    Args:
        kind: the kind of thing, such as ``learner``.
        name: the name that was given.
        known: the names that exist.
        of: what the thing belongs to, such as ``suite omniglot``; may be empty.
    """
    names = sorted(set(known))
    close = _near(name, names)
    if close:
        hint = f"Did you mean {' or '.join(close)}?"
    else:
        hint = f"Known: {', '.join(names) or 'none'}."
    owner = f" of {of}" if of else ""
    return UsageError(f"Unknown {kind} {name!r}{owner}.", hint=hint)
