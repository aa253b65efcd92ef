"""Meta-steps of every learner of toy regression: tasks per CPU second, beside MAML's.

With the network and the parameters of the suite; each learner works on the same 25 tasks. The last
column is the CPU time of MAML's step over that of the learner's.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping

import torch
from race import Options, parse, steps_per_second

from metabench.building import build
from metabench.catalog import load_catalog
from metabench.planning import RunRequest, plan
from metabench.seeding import generator
from metabench.suite import load_suite

SUITE = "toy-regression"


def meta_steps(n_tasks: int) -> Mapping[str, Callable[[], object]]:
    """One meta-step per learner, by name; MAML first."""
    catalog = load_catalog()
    names = list(load_suite(catalog.suite(SUITE)).learners)
    names.sort(key=lambda name: (name != "maml", name))
    steps = {}
    for cell in plan(RunRequest(learners=tuple(names), suite=SUITE), catalog):
        built = build(cell.spec, catalog, device=torch.device("cpu"))
        (tasks,) = built.train.stream(0, 1, n_tasks)
        rng = generator("race")

        def step(learner=built.learner, tasks=tasks, rng=rng) -> object:  # type: ignore[no-untyped-def]
            return learner.meta_step(tasks, progress=0.0, rng=rng)

        steps[cell.spec.learner.name] = step
    return steps


def compare(steps: Mapping[str, Callable[[], object]], options: Options) -> None:
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
    compare(meta_steps(options.tasks), options)


if __name__ == "__main__":
    main()
