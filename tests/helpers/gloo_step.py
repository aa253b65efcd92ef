"""A meta-step in float64 by real processes, which are started anew and import this file."""

from __future__ import annotations

import multiprocessing
from typing import Any

import torch
import torch.distributed as dist

from metabench.conformance.bench import Bench
from metabench.conformance.learners import _shared_step
from metabench.conformance.samples import in_float64
from metabench.plugin.catalog import load_catalog
from metabench.running.ranks.team import Team

HERE = "127.0.0.1"


def step_of(learner: str, kind: str, ranks: Any) -> tuple[Any, Any, Any]:
    """What a rank logs and sums in a meta-step, and the state that it leaves."""
    catalog = load_catalog()
    spec = catalog.learner(learner)
    bench = Bench(spec, kind, lambda: catalog, searched=spec.searches)  # type: ignore[arg-type]
    with in_float64():
        return _shared_step(bench, 0, ranks)


def steps_by_gloo(learners: dict[str, str], count: int) -> dict[str, list[tuple[Any, Any, Any]]]:
    """By learner, what each rank finds; see :func:`step_of`.

    Args:
        learners: the kind of task by name.
        count: how many processes there are, this one among them.
    """
    store = dist.TCPStore(HERE, 0, count, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_follow, args=(rank, count, store.port, learners), daemon=True)
        for rank in range(1, count)
    ]
    for process in others:
        process.start()
    try:
        return _steps(0, count, store, learners)
    finally:
        for process in others:
            process.join(60)


def _follow(rank: int, count: int, port: int, learners: dict[str, str]) -> None:
    store = dist.TCPStore(HERE, port, count, is_master=False)
    _steps(rank, count, store, learners)


def _steps(
    rank: int, count: int, store: Any, learners: dict[str, str]
) -> dict[str, list[tuple[Any, Any, Any]]]:
    team = Team(rank=rank, count=count, device=torch.device("cpu"), store=store)
    found = {name: team.gather(step_of(name, kind, team)) for name, kind in learners.items()}
    team.leave()
    return found
