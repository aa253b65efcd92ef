"""Meta-steps of learners that search small networks: tasks at once, beside one after another.

At budget ``search`` on synthetic images. ``at once`` is what a CPU does with maps this small; the
peer runs the same code with one task at a time. The last columns are the ratio, and how far the
losses of a first meta-step lie apart.
"""

from __future__ import annotations

import os
import statistics

import torch
from meta_steps import meta_steps
from race import Options, parse, steps_per_second

from metabench.planning.plan import RunRequest
from metabench.plugin.catalog import load_catalog
from metabench_plugins.spaces.parts import supernet

CASES = {"mnas": ("four-domains", "5w1s"), "metanas": ("omniglot", "20w1s")}
AT_ONCE = supernet.MAPS_AT_ONCE


class Case:
    """One learner and a meta-batch, with tasks at once or not."""

    def __init__(self, name: str, n_tasks: int, limit: int) -> None:
        suite, setting = CASES[name]
        request = RunRequest(
            learners=(name,), suite=suite, settings=(setting,), budget="search", data="synthetic"
        )
        steps = meta_steps(request, load_catalog(), n_tasks=n_tasks, progress=0.5)
        self._step = steps[name]
        self._limit = limit

    def __call__(self) -> float:
        """Make a meta-step and return its loss."""
        supernet.MAPS_AT_ONCE = self._limit
        return float(self._step()["loss"])


def compare(options: Options) -> None:
    """Let the two take turns, learner by learner."""
    print(f"torch {torch.__version__}, 1 thread of {os.cpu_count()}, {options.rounds} rounds")
    print(f"{'':12}{'at once':>12}{'by itself':>12}{'ratio':>8}{'difference':>12}   (tasks/s)")
    for name in CASES:
        cases = [Case(name, options.tasks, limit) for limit in (AT_ONCE, 1)]
        first = [case() for case in cases]
        rates: list[list[float]] = [[], []]
        for _ in range(options.rounds):
            for case, own in zip(cases, rates, strict=True):
                own.append(options.tasks * steps_per_second(case, options.seconds))
        ratio = statistics.median(a / b for a, b in zip(*rates, strict=True))
        difference = abs(first[0] - first[1]) / abs(first[1])
        at_once, alone = map(statistics.median, rates)
        print(f"{name:12}{at_once:12.2f}{alone:12.2f}{ratio:8.2f}{difference:12.1e}")


def main() -> None:
    """Race."""
    compare(parse(__doc__ or "", tasks=4))


if __name__ == "__main__":
    main()
