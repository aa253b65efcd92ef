"""Executes runs one after another, each in several processes that share its meta-steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from metabench.errors import UsageError
from metabench.plugin.catalog import load_catalog
from metabench.plugin.specs import RunEvent
from metabench.running.devices import prepare
from metabench.running.executors import Job, JobOutcome, one_by_one, run_job
from metabench.running.interrupt import StopRequest, held_back, let_in
from metabench.running.ranks.following import follow
from metabench.running.ranks.leading import Leader
from metabench.running.ranks.messages import End
from metabench.running.ranks.team import LostRankError, Team
from metabench.running.ranks.torchrun import World
from metabench.text import counted

HERE = "127.0.0.1"
LEAVING = 10.0
"""Seconds after which a follower is ended that does not end by itself."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """What a follower on this machine has to know; it can be pickled."""

    rank: int
    count: int
    port: int
    device: str
    threads: int
    plugin_files: tuple[Path, ...]


class SharedExecutor:
    """Runs jobs in several processes, which it starts on this machine.

    Args:
        ranks: how many processes there are, this one among them.
    """

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Run all jobs; see :class:`metabench.running.executors.Executor`."""

        def make(job: Job) -> JobOutcome:
            # Processes of its own: one that dies takes no other run with it.
            followers = _Followers(job, self._ranks)
            leader = Leader(followers.call)
            try:
                own = replace(job, device=own_device(job.device, 0))
                return run_job(own, emit=emit, stopped=stopped, leader=leader)
            finally:
                leader.end()
                followers.end()

        return one_by_one(jobs, make, stopped=stopped)


class TorchrunExecutor:
    """Runs jobs in the processes that torchrun has started, of which this is the first.

    Args:
        world: what torchrun says.
        device: as the user asks for it.
    """

    def __init__(self, world: World, device: str) -> None:
        self._world = world
        self._device = device

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        emit: Callable[[RunEvent], None],
        stopped: Callable[[], bool],
    ) -> list[JobOutcome]:
        """Run all jobs, perhaps none, and let the other processes go."""
        device = own_device(self._device, self._world.local_rank)
        team = Team(rank=0, count=self._world.count, device=torch.device(device))
        leader = Leader(lambda: team)

        def make(job: Job) -> JobOutcome:
            if team.broken:
                text = "a process of an earlier run has ended"
                return JobOutcome(job, "failed", text, "Run the same command to resume.")
            own = replace(job, device=device)
            return run_job(own, emit=emit, stopped=stopped, leader=leader)

        try:
            return one_by_one(jobs, make, stopped=stopped)
        finally:
            if not team.broken:
                team.tell(End())
            team.leave()


def follow_torchrun(
    world: World, *, device: str, threads: int, plugin_files: tuple[Path, ...]
) -> int:
    """Follow the first of the processes that torchrun has started; return the exit code.

    Args:
        world: what torchrun says.
        device: as the user asks for it.
        threads: CPU threads of this process.
        plugin_files: plugins given by file.
    """
    own = own_device(device, world.local_rank)
    return _follow(
        lambda: Team(rank=world.rank, count=world.count, device=torch.device(own)),
        device=own,
        threads=threads,
        plugin_files=plugin_files,
    )


def check_devices(device: str, ranks: int) -> None:
    """Refuse more processes on this machine than it has GPUs.

    Raises:
        UsageError: with what to do.
    """
    if torch.device(device).type != "cuda":
        return
    first, there = torch.device(device).index or 0, torch.cuda.device_count()
    if first + ranks > there:
        raise UsageError(
            f"--ranks {ranks} needs a GPU for each process, and there "
            f"{'is' if there == 1 else 'are'} {counted(there, 'GPU')} from cuda:0 on.",
            hint=f"Use --ranks {there - first} or fewer, or --device cpu.",
        )


def own_device(device: str, rank: int) -> str:
    """The device of one of the processes of a machine: the GPUs from the named one on.

    >>> own_device("cpu", 1), own_device("cuda", 1), own_device("cuda:2", 1)
    ('cpu', 'cuda:1', 'cuda:3')
    """
    asked = torch.device(device)
    return f"cuda:{(asked.index or 0) + rank}" if asked.type == "cuda" else device


class _Followers:
    """The other processes of one job, on this machine.

    Args:
        job: the job.
        count: how many processes make it, this one among them.
    """

    def __init__(self, job: Job, count: int) -> None:
        self._job = job
        self._count = count
        self._processes: list[SpawnProcess] = []

    def call(self) -> Team:
        """Start them, and return the team of this process.

        Raises:
            LostRankError: when one of them ends before it is there.
        """
        job, count = self._job, self._count
        store = dist.TCPStore(  # type: ignore[attr-defined]
            HERE, 0, count, is_master=True, wait_for_workers=False
        )
        context = multiprocessing.get_context("spawn")
        with _loopback():
            for rank in range(1, count):
                device = own_device(job.device, rank)
                seat = _Seat(rank, count, store.port, device, job.threads, job.plugin_files)
                process = context.Process(target=_follow_here, args=(seat,), daemon=True)
                with held_back():
                    process.start()
                self._processes.append(process)
            _wait_for(self._processes, store)
            return Team(
                rank=0,
                count=count,
                device=torch.device(own_device(job.device, 0)),
                store=store,
                who=partial(_ended, self._processes),
            )

    def end(self) -> None:
        """Wait until they have ended, and end those that do not."""
        until = time.monotonic() + LEAVING
        for process in self._processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _wait_for(processes: Sequence[SpawnProcess], store: Any) -> None:
    """Wait until all followers are there.

    Raises:
        LostRankError: when one has ended before.
    """
    names = [_arrival(rank) for rank in range(1, len(processes) + 1)]
    while not store.check(names):
        if any(process.exitcode is not None for process in processes):
            raise LostRankError(
                f"{_ended(processes)} before the run began.",
                hint="Its own message, if it left one, is above.",
            )
        time.sleep(0.02)


def _arrival(rank: int) -> str:
    return f"metabench/there/{rank}"


def _follow_here(seat: _Seat) -> None:
    """What a process does that follows on this machine."""

    def team() -> Team:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            HERE, seat.port, seat.count, is_master=False
        )
        store.set(_arrival(seat.rank), "")
        device = torch.device(seat.device)
        return Team(rank=seat.rank, count=seat.count, device=device, store=store)

    # A Ctrl-C reaches all processes of a terminal; this one ends when the leader does.
    with redirect_stdout(sys.stderr), StopRequest(patient=True):
        let_in()
        code = _follow(
            team, device=seat.device, threads=seat.threads, plugin_files=seat.plugin_files
        )
    sys.exit(code)


def _follow(
    open_team: Callable[[], Team], *, device: str, threads: int, plugin_files: tuple[Path, ...]
) -> int:
    """Follow to the end; return the exit code. Once all are there, only the leader stops."""
    prepare(torch.device(device), threads)
    team = None
    try:
        team = open_team()
        with StopRequest(patient=True):
            follow(team, load_catalog(plugin_files))
    except LostRankError:
        return 1  # the leader tells the user, unless it is the one that has ended
    finally:
        if team is not None:
            team.leave()
    return 0


def _ended(processes: Sequence[SpawnProcess]) -> str:
    """Which of the processes of this machine have ended, in words."""
    wait_until = time.monotonic() + 2.0  # a connection may end before its process
    while time.monotonic() < wait_until and all(p.exitcode is None for p in processes):
        time.sleep(0.02)
    for rank, process in enumerate(processes, start=1):
        if (code := process.exitcode) is not None:
            how = f"code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
            return f"Process {rank + 1} of {len(processes) + 1} has ended with {how}"
    return f"A connection among {len(processes) + 1} processes is lost"


@contextmanager
def _loopback() -> Iterator[None]:
    """Let gloo connect processes of this machine without a look at its name or its networks."""
    name = "GLOO_SOCKET_IFNAME"
    before: Mapping[str, str] = {name: os.environ[name]} if name in os.environ else {}
    os.environ[name] = "lo" if sys.platform.startswith("linux") else "lo0"
    try:
        yield
    finally:
        with suppress(KeyError):
            del os.environ[name]
        os.environ.update(before)
