"""How cost grows: CPU time of a meta-gradient against ways, shots, steps, width, side and tasks.

One size at a time is doubled, all its values take turns, and the exponent e of time ~ size^e is the
slope by least squares of the logarithms. The last column is the exponent of the last doubling.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import show
from maml import W1, W3, Maml
from race import Local, Rates, one_thread, race
from rich.table import Table

TOY = W1
IMAGES = replace(W3, inputs=(3, 42, 42), width=16, queries=5, steps=2, tasks=1)


@dataclass(frozen=True, slots=True)
class Axis:
    """One size that grows while the others stay.

    Attributes:
        name: as the table says it.
        base: the workload without it.
        field: what is replaced.
        sizes: its values, ascending.
    """

    name: str
    base: Maml
    field: str
    sizes: tuple[int, ...]

    def at(self, size: int) -> Maml:
        """The workload of one size."""
        value: Any = (3, size, size) if self.field == "inputs" else size
        return replace(self.base, **{self.field: value})


AXES = (
    Axis("toy: tasks", TOY, "tasks", (25, 50, 100, 200)),
    Axis("toy: points", TOY, "shots", (5, 10, 20, 40)),
    Axis("toy: inner steps", TOY, "steps", (1, 2, 4, 8)),
    Axis("toy: hidden units", TOY, "width", (25, 50, 100, 200)),
    Axis("images: tasks", IMAGES, "tasks", (1, 2, 4)),
    Axis("images: ways", IMAGES, "ways", (5, 10, 20)),
    Axis("images: shots", IMAGES, "shots", (1, 2, 4, 8)),
    Axis("images: queries", IMAGES, "queries", (5, 10, 20)),
    Axis("images: inner steps", IMAGES, "steps", (1, 2, 4, 8)),
    Axis("images: filters", IMAGES, "width", (8, 16, 32, 64)),
    Axis("images: side", IMAGES, "inputs", (21, 42, 84)),
)


def seconds_of(axis: Axis, *, rounds: int, seconds: float) -> dict[int, Rates]:
    """Meta-batches per CPU second by size."""
    entrants = {str(size): Local(axis.at(size).gradient()) for size in axis.sizes}
    rates = race(entrants, rounds=rounds, seconds=seconds)
    return {int(size): own for size, own in rates.items()}


def exponent(times: Mapping[int, float]) -> float:
    """The slope of log time against log size by least squares.

    >>> round(exponent({1: 3.0, 2: 12.0, 4: 48.0}), 6)
    2.0
    """
    x = [math.log(size) for size in times]
    y = [math.log(time) for time in times.values()]
    return statistics.linear_regression(x, y).slope


def row(axis: Axis, rates: Mapping[int, Rates]) -> Sequence[str]:
    """One line of the table: the exponent, its range over rounds, and that of the last doubling."""
    n_rounds = len(next(iter(rates.values())).rounds)
    by_round = [exponent({s: 1 / r.rounds[i] for s, r in rates.items()}) for i in range(n_rounds)]
    times = {size: 1 / own.median for size, own in rates.items()}
    last = dict(list(times.items())[-2:])
    return (
        axis.name,
        ", ".join(map(str, rates)),
        ", ".join(f"{1e3 * t:.3g}" for t in times.values()),
        f"{exponent(times):.2f}",
        f"{min(by_round):.2f} to {max(by_round):.2f}",
        f"{exponent(last):.2f}",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each size")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time of a turn, at least")
    given = parser.parse_args()
    one_thread()
    console = show.console()
    show.say_where(console)
    for base in (TOY, IMAGES):
        console.print(f"base: {base.summary}", highlight=False)
    made = Table()
    for heading in ("size", "values", "ms CPU", "exponent", "rounds", "last doubling"):
        made.add_column(heading)
    for axis in AXES:
        made.add_row(*row(axis, seconds_of(axis, rounds=given.rounds, seconds=given.seconds)))
    console.print(made)


if __name__ == "__main__":
    main()
