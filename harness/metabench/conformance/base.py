"""What a check is: a name, something to run, and four ways to end."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from metabench.errors import MetabenchError
from metabench.plugin.blame import described


class CheckFailed(AssertionError):  # noqa: N818 - as in Skip, no error of the kit
    """A plugin breaks its contract; the message is a sentence for its author."""


class Skip(unittest.SkipTest):
    """A check cannot be run here; the message says why. pytest reports a skip."""


class Doubt(Skip):
    """Something looks wrong but may be right; the message says what. pytest reports a skip."""


@dataclass(frozen=True, slots=True)
class Check:
    """A named check. Call it: it returns, or raises :class:`CheckFailed`, Skip or Doubt."""

    name: str
    body: Callable[[], None]

    def __call__(self) -> None:
        """Run the check."""
        self.body()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended, and why if it did not pass."""

    status: Literal["ok", "FAILED", "skipped", "warning"]
    reason: str = ""


def run_check(check: Check) -> Outcome:
    """Run a check and catch what it raises, errors of the plugin included."""
    try:
        check()
    except Doubt as doubt:
        return Outcome("warning", str(doubt))
    except Skip as skip:
        return Outcome("skipped", str(skip))
    except CheckFailed as failure:
        return Outcome("FAILED", str(failure))
    except MetabenchError as error:
        return Outcome("FAILED", error.in_full)
    except (Exception, SystemExit) as error:
        return Outcome("FAILED", described(error))
    return Outcome("ok")


def require(condition: object, sentence: str) -> None:
    """Fail the check with a sentence unless the condition holds."""
    if not condition:
        raise CheckFailed(sentence)


def refuse(flaw: str) -> None:
    """Fail the check with a sentence that says what is wrong; "" if nothing is."""
    require(not flaw, flaw)


def raise_doubts(sentences: Iterable[str]) -> None:
    """Raise Doubt with all sentences, if there are any."""
    if text := " ".join(sentences):
        raise Doubt(text)
