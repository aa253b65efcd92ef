"""Meta-steps by the clock, on a GPU or one CPU thread: tasks per second as the meta-batch grows.

Networks, images and steps are those of the papers (budget ``paper``), images are synthetic. The
smallest meta-batch of each row is that of the suite.
"""

from __future__ import annotations

import argparse
import time

import torch
from meta_steps import meta_steps
from race import calls_per_second

from metabench.planning.plan import RunRequest
from metabench.plugin.catalog import Catalog, load_catalog
from metabench.running.devices import make_repeatable, pick_device, reuse_freed_memory
from metabench.running.provenance import describe

CASES = [
    ("toy-regression", "10-shot", "maml", (25, 250, 2500)),
    ("toy-regression", "10-shot", "mnas", (25, 250, 2500)),
    ("omniglot", "20w1s", "maml", (16, 64)),
    ("miniimagenet", "5w1s", "maml", (4, 16)),
    ("omniglot", "20w1s", "metanas", (5,)),
    ("multidataset", "5w1s", "mnas", (4,)),
]


def tasks_per_second(
    catalog: Catalog, case: tuple[str, str, str], n_tasks: int, device: torch.device, seconds: float
) -> float:
    """Take the same meta-step for a while, wait for each, and count."""
    suite, setting, learner = case
    request = RunRequest(
        learners=(learner,), suite=suite, settings=(setting,), budget="paper", data="synthetic"
    )
    steps = meta_steps(request, catalog, n_tasks=n_tasks, progress=0.5, device=device)

    def step() -> float:
        return float(steps[learner]()["loss"])  # waits

    step()
    return n_tasks * calls_per_second(step, seconds, clock=time.perf_counter)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row, at least")
    parser.add_argument("--only", default="", help="learners, separated by commas")
    given = parser.parse_args()
    device = torch.device(pick_device(given.device))
    torch.set_num_threads(1)
    reuse_freed_memory()
    if device.type == "cuda":
        make_repeatable()
    catalog = load_catalog()
    print(f"torch {torch.__version__}, {describe(device)}")
    print(f"{'':40}{'meta-batch':>12}{'tasks/s':>12}")
    for suite, setting, learner, sizes in CASES:
        if given.only and learner not in given.only.split(","):
            continue
        for size in sizes:
            case = (suite, setting, learner)
            rate = tasks_per_second(catalog, case, size, device, given.seconds)
            print(f"{' '.join(case):40}{size:12,}{rate:12,.1f}", flush=True)


if __name__ == "__main__":
    main()
