"""What a meta-step costs that several processes share, beside one process.

Prints CPU seconds of a meta-step in one process and of each process that has a share, and how much
of that is passing sums and words. Rank 0 makes steps alone and together with the others in turns,
so that other work on the machine slows both alike. The bound of the speed-up is the time alone over
that of the busiest rank: what idle cores would give, if none had to wait.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from metabench import load_catalog
from metabench.planning.plan import RunRequest, plan
from metabench.plugin.contracts.ranks import ONE_RANK, Ranks
from metabench.running.build import build
from metabench.running.devices import prepare
from metabench.running.ranks.messages import Step
from metabench.running.ranks.team import Team
from metabench.sampling.seeding import generator

CPU = torch.device("cpu")
HERE = "127.0.0.1"
WORKLOADS = {
    "maml on toy regression, 25 tasks": ("maml", "toy-regression", 25),
    "mnas on toy regression, 25 tasks": ("mnas", "toy-regression", 25),
    "maml on Omniglot, 16 tasks": ("maml", "omniglot", 16),
    "protonet on Omniglot, 16 tasks": ("protonet", "omniglot", 16),
}
SIZES = {"omniglot": {"space": {"filters": 64}}}


@dataclass(frozen=True)
class Times:
    """CPU seconds of each step.

    Attributes:
        alone: in one process; of rank 0.
        shared: of this rank.
        passing: what of these went into sums and words.
    """

    alone: list[float]
    shared: list[float]
    passing: list[float]


def steps_of(name: str, ranks: Ranks) -> Callable[[int], Any]:
    """What makes the meta-step of a number."""
    learner, suite, tasks = WORKLOADS[name]
    catalog = load_catalog()
    request = RunRequest(
        learners=(learner,),
        suite=suite,
        budget="smoke",
        data="synthetic",
        changes={"budget": {"meta_batch": tasks}, **SIZES.get(suite, {})},
    )
    spec = plan(request, catalog)[0].spec
    built = build(spec, catalog, device=CPU, ranks=ranks)
    sampler = built.train

    def step(number: int) -> Any:
        (batch,) = sampler.stream(number, number + 1, tasks)
        rng = generator(spec.seed, "meta-train", number)
        return built.learner.meta_step(batch, progress=0.0, rng=rng)

    return step


def measure(name: str, team: Team, rounds: int) -> Times:
    """Make steps alone, in rank 0, and together, in turns."""
    passed = 0.0

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal passed
            begun = time.process_time()
            try:
                return method(*args, **named)
            finally:
                passed += time.process_time() - begun

        return call

    team.summed, team.tell, team.hear = map(  # type: ignore[method-assign]
        timed, (team.summed, team.tell, team.hear)
    )
    one, shared = steps_of(name, ONE_RANK), steps_of(name, team)
    times = Times([], [], [])
    for number in range(rounds + 1):
        if team.rank == 0:
            begun = time.process_time()
            one(number)
            times.alone.append(time.process_time() - begun)
        begun, passed = time.process_time(), 0.0
        if team.rank == 0:
            team.tell(Step(number))
        else:
            team.hear()
        shared(number)
        times.shared.append(time.process_time() - begun)
        times.passing.append(passed)
    return Times(*(values[1:] for values in (times.alone, times.shared, times.passing)))


def work(rank: int, count: int, port: int, names: list[str], rounds: int) -> None:
    """What each process does; rank 0 prints."""
    prepare(CPU, 1)
    store = dist.TCPStore(HERE, port, count, is_master=False)
    team = Team(rank=rank, count=count, device=CPU, store=store)
    for name in names:
        found = team.gather(measure(name, team, rounds))
        if rank == 0:
            report(name, found)
    team.leave()


def report(name: str, found: list[Times]) -> None:
    """Print medians in milliseconds."""
    alone = median(found[0].alone)
    shared = [median(one.shared) for one in found]
    passing = [median(one.passing) for one in found]
    each = zip(shared, passing, strict=True)
    ranks = ", ".join(f"{1e3 * own:.1f} ({1e3 * passed:.2f})" for own, passed in each)
    bound = alone / max(shared)
    print(
        f"{name}: alone {1e3 * alone:.1f} ms, of each rank (passing) {ranks} ms; "
        f"at most {bound:.2f} times as fast, efficiency {bound / len(shared):.0%}"
    )


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    options = parser.parse_args()
    names = options.workload or list(WORKLOADS)
    store = dist.TCPStore(HERE, 0, options.ranks, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    arguments = (options.ranks, store.port, names, options.rounds)
    processes = [context.Process(target=work, args=(r, *arguments)) for r in range(options.ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
