"""The processes of a run and what passes between them: words, sums and findings.

Words pass through gloo, on the CPU, so that nobody waits for a device to read them. Sums of tensors
on GPUs pass through NCCL.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from metabench.errors import MetabenchError
from metabench.plugin.contracts.ranks import own_tasks
from metabench.running.ranks.messages import Message, Step

PATIENCE = timedelta(days=30)
"""How long a follower waits for a word: the leader may be busy with what it does alone. If it dies,
its followers know at once."""


class LostRankError(MetabenchError):
    """A process that makes a run together with others has ended."""


class Team:
    """This process among those that make runs together; it implements :class:`metabench.Ranks`.

    Args:
        rank: of this process.
        count: how many there are.
        device: where tensors live.
        store: where they meet; None to meet where the environment says, as torchrun sets it.
        who: says which process has ended, if that can be known; None for "another one".

    Attributes:
        backend: what sums pass through, ``gloo`` or ``nccl``.
        seconds: how long this process has passed words and sums, or waited for them.
    """

    def __init__(
        self,
        *,
        rank: int,
        count: int,
        device: torch.device,
        store: Any = None,
        who: Callable[[], str] | None = None,
    ) -> None:
        self.rank, self.count, self.device = rank, count, device
        self.backend = "nccl" if device.type == "cuda" else "gloo"
        self.seconds = 0.0
        self._who = who
        self._broken = False
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with self._naming_lost_ranks():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=store,
                rank=rank,
                world_size=count,
                timeout=PATIENCE,
            )

    # What a learner sees -----------------------------------------------------------------------

    def own(self, n_tasks: int) -> slice:
        """The tasks of a meta-batch that this rank runs."""
        return own_tasks(n_tasks, rank=self.rank, count=self.count)

    def summed(
        self, tensors: Sequence[Tensor | None], *, like: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Sum over all ranks, in one piece; see :meth:`metabench.Ranks.summed`."""
        # A network may run some operations for the tasks of one rank alone.
        brought = torch.tensor([tensor is not None for tensor in tensors], dtype=torch.int32)
        self._reduce(brought)
        there = brought.bool().tolist()
        pieces = [
            torch.zeros_like(other) if tensor is None else tensor
            for tensor, other, any_has in zip(tensors, like, there, strict=True)
            if any_has
        ]
        if not pieces:
            return [None] * len(there)
        flat = torch.cat([piece.detach().flatten() for piece in pieces])
        self._reduce(flat)
        parts = iter(torch.split(flat, [piece.numel() for piece in pieces]))
        return [
            next(parts).view(other.shape).to(other.dtype) if any_has else None
            for other, any_has in zip(like, there, strict=True)
        ]

    def _reduce(self, tensor: Tensor) -> None:
        with self._naming_lost_ranks():
            dist.all_reduce(tensor)

    # Words -------------------------------------------------------------------------------------

    def tell(self, message: Message) -> None:
        """Say something to all followers."""
        if isinstance(message, Step):  # the one that is said often is short
            self._broadcast(torch.tensor([-1, message.number]))
            return
        words = torch.frombuffer(bytearray(pickle.dumps(message)), dtype=torch.uint8)
        self._broadcast(torch.tensor([len(words), 0]))
        self._broadcast(words)

    def hear(self) -> Message:
        """Wait for what the leader says."""
        head = torch.zeros(2, dtype=torch.int64)
        self._broadcast(head)
        size, number = head.tolist()
        if size < 0:
            return Step(number)
        words = torch.empty(size, dtype=torch.uint8)
        self._broadcast(words)
        message: Message = pickle.loads(words.numpy().tobytes())
        return message

    def _broadcast(self, tensor: Tensor) -> None:
        with self._naming_lost_ranks():
            dist.broadcast(tensor, 0)

    def gather(self, found: Any) -> list[Any]:
        """Bring a finding to the leader, who gets those of all by rank; others get none."""
        findings: list[Any] | None = [None] * self.count if self.rank == 0 else None
        with self._naming_lost_ranks():
            dist.gather_object(found, findings)
        return findings or []

    # Its end -----------------------------------------------------------------------------------

    @property
    def broken(self) -> bool:
        """Whether ranks are no more at the same place, so that no run can be made any more."""
        return self._broken

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Do something that others do at the same time; if it fails, they do not know."""
        try:
            yield
        except BaseException:
            self._broken = True
            raise

    @contextmanager
    def _naming_lost_ranks(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        except (RuntimeError, ValueError) as error:  # torch raises them where a peer has gone
            self._broken = True
            raise LostRankError(
                f"{self._who() if self._who else 'Another process of this run has ended'}. "
                f"All {self.count} processes that share the meta-steps are needed.",
                hint="Run the same command to resume it. A message of the other process, if it "
                "left one, is above.",
            ) from error
        finally:
            self.seconds += time.perf_counter() - begun

    def leave(self) -> None:
        """End the connections."""
        if dist.is_initialized():
            dist.destroy_process_group()
