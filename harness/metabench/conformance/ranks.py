"""Ranks without processes: each is a thread, and one runs at a time until all have to sum."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from torch import Tensor

from metabench.plugin.contracts.ranks import Ranks, own_tasks

Sums = list[Tensor | None]
Found = TypeVar("Found")


class ThreadRank:
    """One of some ranks, each of which runs in a thread of its own.

    Args:
        rank: of this thread.
        meeting: where all of them meet.
    """

    def __init__(self, rank: int, meeting: _Meeting) -> None:
        self.rank = rank
        self.count = meeting.count
        self._meeting = meeting

    def own(self, n_tasks: int) -> slice:
        """The tasks of this rank."""
        return own_tasks(n_tasks, rank=self.rank, count=self.count)

    def summed(self, tensors: Sequence[Tensor | None], *, like: Sequence[Tensor]) -> Sums:
        """Sum over all threads, in the order of their ranks."""
        of_all = self._meeting.exchange(self.rank, tensors)
        return [_sum(of_each) for of_each in zip(*of_all, strict=True)]


class _Meeting:
    """Where threads hand over what they have. Only the one that holds the turn runs."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.turn = threading.Condition()
        self._gone = 0
        self._times = 0
        self._brought: dict[int, Sequence[Tensor | None]] = {}
        self._of_all: list[Sequence[Tensor | None]] = []

    def exchange(
        self, rank: int, tensors: Sequence[Tensor | None]
    ) -> list[Sequence[Tensor | None]]:
        """Bring tensors, and get those of all once all have come."""
        self._brought[rank] = tensors
        if len(self._brought) == self.count:
            self._of_all = [self._brought[one] for one in range(self.count)]
            self._brought = {}
            self._times += 1
            self.turn.notify_all()
            return self._of_all
        times = self._times
        self.turn.wait_for(lambda: self._times > times or self._gone)
        if self._times == times:
            raise _Alone
        return self._of_all

    def leave(self) -> None:
        """Whoever waits for one that is done, or has failed, waits in vain."""
        self._gone += 1
        self.turn.notify_all()


class _Alone(RuntimeError):  # noqa: N818 - says what the thread is
    """Another thread brings nothing any more."""


def together(count: int, work: Callable[[Ranks], Found]) -> list[Found]:
    """Let each of some ranks do a piece of work; return what they found, in order.

    Args:
        count: how many ranks there are.
        work: what each does, with its own rank.

    Raises:
        RuntimeError: when a rank sums more often than another; what ``work`` raised goes first.
    """
    meeting = _Meeting(count)

    def run(rank: int) -> Found:
        with meeting.turn:
            try:
                return work(ThreadRank(rank, meeting))
            finally:
                meeting.leave()

    with ThreadPoolExecutor(count) as threads:
        running = [threads.submit(run, rank) for rank in range(count)]
    errors = [error for one in running if (error := one.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, _Alone)):
        if isinstance(error, _Alone):
            raise RuntimeError("a rank sums more often than another") from None
        raise error
    return [one.result() for one in running]


class NotedRanks:
    """Ranks whose sums can be looked at.

    Args:
        ranks: who sums.

    Attributes:
        sums: all of them, in order.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.rank, self.count = ranks.rank, ranks.count
        self.sums: list[Sums] = []

    def own(self, n_tasks: int) -> slice:
        """As the ranks have it."""
        return self._ranks.own(n_tasks)

    def summed(self, tensors: Sequence[Tensor | None], *, like: Sequence[Tensor]) -> Sums:
        """As the ranks have it."""
        found = self._ranks.summed(tensors, like=like)
        self.sums.append([None if one is None else one.detach().clone() for one in found])
        return found


def distance(first: Sequence[Tensor | None], second: Sequence[Tensor | None]) -> float:
    """How far tensors differ, as a part of the largest number among the second ones.

    Infinite where one of two is None.
    """
    if [one is None for one in first] != [one is None for one in second]:
        return math.inf
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    largest = max((float(b.abs().max()) for _, b in pairs if b.numel()), default=0.0)
    farthest = max((float((a - b).abs().max()) for a, b in pairs if b.numel()), default=0.0)
    return farthest / largest if farthest else 0.0


def _sum(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return sum(present[1:], start=present[0]) if present else None
