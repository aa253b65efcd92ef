"""Peak memory and CPU time of a meta-step as the meta-batch grows, each in a process of its own.

Networks, images and steps are those of the papers (budget ``paper``), images are synthetic. The
memory is the peak of the process above what it has before the first meta-step.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time

import torch
from meta_steps import meta_steps

from metabench.planning.plan import RunRequest
from metabench.plugin.catalog import load_catalog
from metabench.running.devices import reuse_freed_memory


def peak() -> float:
    """Of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(case: tuple[str, str, str], n_tasks: int, steps: int, limit: float) -> list[float]:
    """Peak in MiB above the start, and the CPU seconds of the later meta-steps, the median."""
    torch.set_num_threads(1)
    reuse_freed_memory()
    suite, setting, learner = case
    request = RunRequest(
        learners=(learner,), suite=suite, settings=(setting,), budget="paper", data="synthetic"
    )
    step = meta_steps(request, load_catalog(), n_tasks=n_tasks, progress=0.5)[learner]
    before = peak()
    most = int(limit * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    spent = []
    for _ in range(steps):
        first = time.process_time()
        float(step()["loss"])
        spent.append(time.process_time() - first)
    return [peak() - before, statistics.median(spent[1:] or spent)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="miniimagenet")
    parser.add_argument("--setting", default="5w1s")
    parser.add_argument("--learner", default="maml")
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=3, help="meta-steps of each size")
    parser.add_argument("--limit", type=float, default=12.0, help="GiB from which a size fails")
    given = parser.parse_args()
    case = (given.suite, given.setting, given.learner)
    print(f"torch {torch.__version__}, 1 thread, {' '.join(case)}, budget paper")
    print(f"{'meta-batch':>12}{'peak MiB':>12}{'tasks/s':>12}")
    for n_tasks in given.tasks:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            work = (case, n_tasks, given.steps, given.limit)
            memory, seconds = pool.apply(measure, work)
        print(f"{n_tasks:12,}{memory:12,.0f}{n_tasks / seconds:12,.2f}", flush=True)


if __name__ == "__main__":
    main()
