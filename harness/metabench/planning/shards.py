"""A share of planned runs, for one of several commands that make all of them together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from metabench.errors import UsageError
from metabench.planning.plan import PlannedRun


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares.

    Attributes:
        number: which one, from 1.
        of: how many there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def divide(self, runs: Sequence[PlannedRun]) -> tuple[list[PlannedRun], list[PlannedRun]]:
        """The runs of this shard, and those that it leaves to others, in their order.

        Runs are dealt out in the order of their ids. All shards of a number together have each run
        once, shards differ by one run at most, and each has some of each learner where there are
        many.
        """
        ids = sorted(one.spec.run_id for one in runs)
        own = set(ids[self.number - 1 :: self.of])
        return (
            [one for one in runs if one.spec.run_id in own],
            [one for one in runs if one.spec.run_id not in own],
        )


def parse_shard(text: str) -> Shard:
    """Read ``NUMBER/OF``.

    >>> parse_shard("2/4")
    Shard(number=2, of=4)

    Raises:
        UsageError: it has another form, or there is no such shard.
    """
    parts = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    number, of = (int(parts[1]), int(parts[2])) if parts else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(
            f"--shard {text!r} is not one of several shards.",
            hint="For the first of four write 1/4, for the last 4/4.",
        )
    return Shard(number, of)
