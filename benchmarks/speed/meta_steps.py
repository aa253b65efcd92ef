"""Meta-steps of learners as a suite sets them up, to be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from metabench.planning.plan import RunRequest, plan
from metabench.plugin.catalog import Catalog
from metabench.running.build import build
from metabench.sampling.seeding import generator

MetaStep = Callable[[], Mapping[str, Tensor | float]]
"""Trains a learner on the same tasks, with the same draws, each time, and returns what it logs."""


def meta_steps(
    request: RunRequest,
    catalog: Catalog,
    *,
    n_tasks: int,
    progress: float,
    device: torch.device | None = None,
) -> dict[str, MetaStep]:
    """One meta-step per learner of a request, by name; on the CPU where no device is given."""
    found = {}
    for cell in plan(request, catalog):
        built = build(cell.spec, catalog, device=device or torch.device("cpu"))
        (tasks,) = built.train.stream(0, 1, n_tasks)

        def step(learner=built.learner, tasks=tasks):  # type: ignore[no-untyped-def]
            return learner.meta_step(tasks, progress=progress, rng=generator("race"))

        found[cell.spec.learner.name] = step
    return found
