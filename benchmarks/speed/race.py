"""A race: peers take turns in one process on one thread, and CPU time is counted."""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.running.devices import reuse_freed_memory

MetaGradients = Callable[[], list[Tensor]]
"""One meta-step without the update: gradients of the outer loss, for all weights in one order."""
Peers = Callable[[torch.dtype], Mapping[str, MetaGradients]]
"""Makes the peers by name, ours first, on the same weights and data."""


@dataclass(frozen=True)
class Options:
    """How long to race."""

    tasks: int
    rounds: int
    seconds: float


def parse(description: str, *, tasks: int) -> Options:
    """Read the command line, and settle on one thread."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tasks", type=int, default=tasks, help="tasks of a meta-batch")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer; the median wins")
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU time of one turn, at least")
    given = parser.parse_args()
    torch.set_num_threads(1)
    reuse_freed_memory()
    torch.manual_seed(0)
    return Options(given.tasks, given.rounds, given.seconds)


def has_higher() -> bool:
    """Whether the package ``higher`` is here to race against; say so if not."""
    if importlib.util.find_spec("higher"):
        return True
    print("The package 'higher' is not installed (pip install higher): ours runs alone.")
    return False


def race(peers_of: Peers, options: Options) -> None:
    """Print tasks per CPU second of each peer in float32, and the ratio of ours to it.

    The last column is how far its meta-gradients are from ours in float64: the largest difference
    over the largest value.
    """
    exact = peers_of(torch.float64)
    gradients = {name: torch.cat([g.flatten() for g in step()]) for name, step in exact.items()}
    peers = peers_of(torch.float32)
    rates: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(options.rounds):
        for name, step in peers.items():
            rates[name].append(options.tasks * steps_per_second(step, options.seconds))
    ours = next(iter(peers))
    print(f"torch {torch.__version__}, 1 thread of {os.cpu_count()}, {options.rounds} rounds")
    print(f"{'':12}{'tasks/s':>10}{'min':>10}{'max':>10}{'ours/it':>10}{'difference':>12}")
    for name, rate in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates[ours], rate, strict=True))
        gap = gradients[name] - gradients[ours]
        difference = float(gap.abs().max() / gradients[ours].abs().max())
        print(
            f"{name:12}{statistics.median(rate):10.1f}{min(rate):10.1f}{max(rate):10.1f}"
            f"{ratio:10.2f}{difference:12.1e}"
        )


def steps_per_second(
    step: Callable[[], object], seconds: float, *, clock: Callable[[], float] = time.process_time
) -> float:
    """Call a step for a while, and return calls per second, of CPU time unless told otherwise."""
    start = clock()
    count = 0
    while (spent := clock() - start) < seconds:
        step()
        count += 1
    return count / spent
