"""What a verdict holds for, if that is less than the paper's sentence.

A verdict is written with its scope, ``supported (one seed) [search]``. With one seed it holds for
the trained networks and not for the learners. The stamps say how the runs differ from the paper's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["supported", "refuted", "undecided", "not comparable"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What narrows a verdict down.

    Attributes:
        one_seed: whether some learner was trained with one seed only.
        stamps: of the runs, except the budget that the claim itself names.
    """

    one_seed: bool = False
    stamps: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to add to the verdict."""
        return self.one_seed or bool(self.stamps)

    def of(self, verdict: Verdict) -> str:
        """A verdict as it is written, never without its scope.

        >>> Scope(one_seed=True, stamps=("search", "subset")).of("supported")
        'supported (one seed) [search, subset]'
        """
        seeds = " (one seed)" if self.one_seed else ""
        return verdict + seeds + (f" [{', '.join(self.stamps)}]" if self.stamps else "")


WHOLE = Scope()
"""Of a verdict that holds for the learners, trained as the claim asks."""


def joined(scopes: Iterable[Scope]) -> Scope:
    """The scope of what rests on all of these."""
    scopes = list(scopes)
    stamps = dict.fromkeys(stamp for scope in scopes for stamp in scope.stamps)
    return Scope(any(scope.one_seed for scope in scopes), tuple(stamps))
