"""An inner loop at meta-test of which the state of few steps is alive at a time.

The curve of a learner is the score after each step. With the weights of all steps of all tasks, a
chunk of test tasks takes more memory than its network. Here a step is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

import torch

State = TypeVar("State")
Item = TypeVar("Item")


class StepsOnDemand(Generic[State]):
    """The states after 0, 1, ... steps; those of the present one and of the headline's are alive.

    Asked for a step that has passed, it begins anew: the steps are cheapest in order.

    Args:
        begin: gives the states in order; the same each time.
        headline: the step whose state is kept once it was made.
    """

    def __init__(self, begin: Callable[[], Iterator[State]], *, headline: int) -> None:
        self._begin = begin
        self._headline = headline
        self._kept: State | None = None
        self._restart()

    def _restart(self) -> None:
        self._path = self._begin()
        self._step = -1
        self._state: State | None = None

    @torch.no_grad()
    def at(self, step: int) -> State:
        """The state after some steps."""
        if step == self._headline and self._kept is not None:
            return self._kept
        if step < self._step:
            self._restart()
        while self._step < step:
            self._state = None  # the loop holds what it needs
            self._state = next(self._path)
            self._step += 1
            if self._step == self._headline:
                self._kept = self._state
        assert self._state is not None
        return self._state


class Later(Sequence[Item]):
    """A sequence that is made when it is first looked at; equal to a list of the same items.

    Args:
        make: makes it.
        length: how many items it has.

    >>> words = Later(lambda: ["a", "b"], length=2)
    >>> len(words), words[1], list(words)
    (2, 'b', ['a', 'b'])
    """

    def __init__(self, make: Callable[[], Sequence[Item]], *, length: int) -> None:
        self._make = make
        self._length = length
        self._made: Sequence[Item] | None = None

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if self._made is None:
            self._made = self._make()
        return self._made[index]
