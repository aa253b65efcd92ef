"""A race: entrants take turns on one thread, and their CPU time is counted.

What is compared runs in turns, so that other work on the machine slows all of them alike. A ratio
is the median of the ratios within each round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from revision import reuse_freed_memory

Step = Callable[[], object]


class Entrant(Protocol):
    """Something that can be timed."""

    def rate(self, seconds: float) -> float:
        """Work for a while, and return tasks per CPU second."""
        ...


@dataclass(frozen=True, slots=True)
class Local:
    """A step of this process, and how many tasks it serves."""

    step: Step
    tasks: float = 1

    def rate(self, seconds: float) -> float:
        """Repeat the step for a while."""
        return self.tasks * calls_per_second(self.step, seconds)


@dataclass(frozen=True, slots=True)
class Rates:
    """Tasks per CPU second of one entrant, round by round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.rounds)

    def over(self, other: Rates) -> float:
        """How many times as fast as another entrant: the median over rounds."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))

    def range_over(self, other: Rates) -> tuple[float, float]:
        """The smallest and the largest ratio of a round."""
        ratios = [a / b for a, b in zip(self.rounds, other.rounds, strict=True)]
        return min(ratios), max(ratios)


def race(entrants: Mapping[str, Entrant], *, rounds: int, seconds: float) -> dict[str, Rates]:
    """Let entrants take turns, each round in the opposite order, after one step to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in entrants}
    for entrant in entrants.values():
        entrant.rate(0)
    for number in range(rounds):
        order = list(entrants) if number % 2 == 0 else list(reversed(entrants))
        for name in order:
            rates[name].append(entrants[name].rate(seconds))
    return {name: Rates(tuple(own)) for name, own in rates.items()}


def calls_per_second(
    step: Step, seconds: float, *, clock: Callable[[], float] = time.process_time
) -> float:
    """Call a step for a while, at least once; calls per second, of CPU time where not said."""
    start = clock()
    count = 0
    while True:
        step()
        count += 1
        spent = clock() - start
        if spent >= seconds and spent > 0:
            return count / spent


def one_thread() -> None:
    """Settle on one thread, and on memory that is used again, as a run of metabench does."""
    torch.set_num_threads(1)
    reuse_freed_memory()
    torch.manual_seed(0)


def here() -> dict[str, str]:
    """What figures depend on: processor, torch and threads."""
    return {
        "processor": _processor(),
        "torch": torch.__version__,
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()}",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    widest = torch.backends.cpu.get_cpu_capability()
    return f"{names[0] if names else 'unknown processor'}, {widest}"
