"""The page of a folder as it is now: made again only if something in the folder has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from metabench.results.cache import settled, stamps

T = TypeVar("T")
State = list[tuple[str, tuple[int, ...] | None]]
"""Files with the stamp of each."""


def state_of(directory: Path, others: Iterable[Path] = ()) -> State:
    """What a page is made from: the records below a folder, and other files."""
    records = (file for kind in ("run.json", "*.jsonl") for file in directory.rglob(kind))
    return stamps(sorted({*records, *others}))


class Current(Generic[T]):
    """What is made from files, and kept until one of them changes.

    Args:
        make: makes it.
        state: gives the state of the files.
    """

    def __init__(self, make: Callable[[], T], state: Callable[[], State]) -> None:
        self._make = make
        self._state = state
        self._made: tuple[State, T] | None = None

    def __call__(self) -> T:
        """What is made from the files as they are now; an error is not kept."""
        now = self._state()
        if self._made is not None and self._made[0] == now:
            return self._made[1]
        self._made = None
        made = self._make()
        # A file that changed a moment ago may change again without another time.
        if settled(stamp for _, stamp in now):
            self._made = now, made
        return made
