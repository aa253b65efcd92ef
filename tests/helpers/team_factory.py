"""A team whose members are threads, and how its results are compared."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.plugin.catalog import Catalog
from metabench.plugin.contracts.ranks import own_tasks
from metabench.running.ranks.following import follow
from metabench.running.ranks.leading import Leader
from metabench.running.ranks.messages import Message

SECONDS = 120
"""Longest time that a thread waits for another."""


class Mail:
    """What passes between the threads of a team."""

    def __init__(self, count: int) -> None:
        self.words: list[Queue[Message]] = [Queue() for _ in range(count)]
        self.found: list[Queue[Any]] = [Queue() for _ in range(count)]
        self.sums: list[Queue[Any]] = [Queue() for _ in range(count)]
        self.results: list[Queue[Any]] = [Queue() for _ in range(count)]


class ThreadTeam:
    """As :class:`metabench.running.ranks.team.Team`, but in one process.

    Attributes:
        told: what the leader has said.
        n_sums: how often this rank has summed.
    """

    backend = "threads"
    device = torch.device("cpu")

    def __init__(self, rank: int, mail: Mail) -> None:
        self.rank, self.count = rank, len(mail.words)
        self.broken = False
        self.told: list[Message] = []
        self.n_sums = 0
        self._mail = mail

    def own(self, n_tasks: int) -> slice:
        return own_tasks(n_tasks, rank=self.rank, count=self.count)

    def summed(
        self, tensors: Sequence[Tensor | None], *, like: Sequence[Tensor]
    ) -> list[Tensor | None]:
        self.n_sums += 1
        self._mail.sums[self.rank].put(list(tensors))
        if self.rank == 0:
            of_all = [queue.get(timeout=SECONDS) for queue in self._mail.sums]
            total = [_sum(of_each) for of_each in zip(*of_all, strict=True)]
            for queue in self._mail.results:
                queue.put([None if one is None else one.clone() for one in total])
        found: list[Tensor | None] = self._mail.results[self.rank].get(timeout=SECONDS)
        return found

    def tell(self, message: Message) -> None:
        self.told.append(message)
        for queue in self._mail.words[1:]:
            queue.put(message)

    def hear(self) -> Message:
        return self._mail.words[self.rank].get(timeout=SECONDS)

    def gather(self, found: Any) -> list[Any]:
        self._mail.found[self.rank].put(found)
        if self.rank:
            return []
        return [queue.get(timeout=SECONDS) for queue in self._mail.found]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.broken = True
            raise

    def leave(self) -> None:
        pass


def _sum(tensors: Sequence[Tensor | None]) -> Tensor | None:
    there = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(there).sum(dim=0) if there else None


@contextmanager
def led(
    count: int,
    catalog: Catalog,
    *,
    followed: Callable[[Any, Catalog], None] = follow,
) -> Iterator[Leader]:
    """The leader of so many threads; the others follow until the end."""
    mail = Mail(count)
    failed: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            followed(ThreadTeam(rank, mail), catalog)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(1, count)]
    for thread in threads:
        thread.start()
    team: Any = ThreadTeam(0, mail)
    leader = Leader(lambda: team)
    assert leader.team is team
    try:
        yield leader
    finally:
        leader.end()
        for thread in threads:
            thread.join(SECONDS)
    assert not failed, failed


def lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of a run."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def close(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    """Whether two files have the same rows, up to rounding."""
    return len(first) == len(second) and all(
        a.keys() == b.keys()
        and all(a[k] == (b[k] if isinstance(b[k], str) else _near(b[k])) for k in a)
        for a, b in zip(first, second, strict=True)
    )


def _near(value: Any) -> Any:
    return value if value is None else pytest.approx(value, rel=1e-4)
