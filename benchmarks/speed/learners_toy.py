"""Meta-steps of every learner of toy regression: tasks per CPU second, beside MAML's.

With the network and the parameters of the suite; each learner works on the same 25 tasks. The last
column is the CPU time of MAML's step over that of the learner's.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping

import torch
from meta_steps import MetaStep, meta_steps
from race import Options, parse, steps_per_second

from metabench.planning.plan import RunRequest
from metabench.planning.suite import load_suite
from metabench.plugin.catalog import load_catalog

SUITE = "toy-regression"


def learners(n_tasks: int) -> Mapping[str, MetaStep]:
    """The meta-step of each learner; MAML first."""
    catalog = load_catalog()
    names = list(load_suite(catalog.suite(SUITE)).learners)
    names.sort(key=lambda name: (name != "maml", name))
    request = RunRequest(learners=tuple(names), suite=SUITE)
    return meta_steps(request, catalog, n_tasks=n_tasks, progress=0.0)


def compare(steps: Mapping[str, MetaStep], options: Options) -> None:
    """Let the learners take turns and print the table."""
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            rates[name].append(options.tasks * steps_per_second(step, options.seconds))
    print(f"torch {torch.__version__}, 1 thread of {os.cpu_count()}, {options.rounds} rounds")
    print(f"{'':16}{'tasks/s':>10}{'min':>10}{'max':>10}{'of maml':>10}")
    for name, rate in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rate, rates["maml"], strict=True))
        print(
            f"{name:16}{statistics.median(rate):10.1f}{min(rate):10.1f}{max(rate):10.1f}"
            f"{ratio:10.2f}"
        )


def main() -> None:
    """Race."""
    options = parse(__doc__ or "", tasks=25)
    compare(learners(options.tasks), options)


if __name__ == "__main__":
    main()
