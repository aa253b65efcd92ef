"""The processes that share the tasks of each meta-step, as a learner of one of them sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Ranks(Protocol):
    """The processes that make one run together; each has a rank.

    Every rank gets the whole meta-batch and the same generator, so it draws what a single process
    would draw. It runs the inner loops of its own tasks, and adds its part of a sum. What follows
    from the sum, such as the step of the outer optimizer, is then the same on all ranks.
    """

    @property
    def rank(self) -> int:
        """Which one this process is, from 0. What is not of single tasks is added by rank 0."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def own(self, n_tasks: int) -> slice:
        """The tasks of a meta-batch that this rank runs; at least one."""
        ...

    def summed(
        self, tensors: Sequence[Tensor | None], *, like: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Sum tensors over all ranks; every rank gets the same bits.

        Call it once in a meta-step, on all ranks with as many tensors.

        Args:
            tensors: what this rank adds; None for a gradient that its tasks do not have.
            like: tensors with the shapes of the sums.

        Returns:
            The sums; None where no rank adds anything.
        """
        ...


class OneRank:
    """A single process: all tasks are its own, and a sum is what it adds."""

    rank = 0
    count = 1

    def own(self, n_tasks: int) -> slice:
        """All tasks."""
        return slice(0, n_tasks)

    def summed(
        self, tensors: Sequence[Tensor | None], *, like: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """The tensors themselves."""
        return list(tensors)


ONE_RANK = OneRank()
"""What a learner has that trains in a single process."""


def own_tasks(n_tasks: int, *, rank: int, count: int) -> slice:
    """Divide tasks among ranks: in order, in shares whose sizes differ by at most one.

    >>> own_tasks(5, rank=0, count=2), own_tasks(5, rank=1, count=2)
    (slice(0, 3, None), slice(3, 5, None))
    """
    least, larger = divmod(n_tasks, count)
    first = least * rank + min(rank, larger)
    return slice(first, first + least + (rank < larger))
