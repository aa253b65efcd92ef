"""Meta-steps and tests of learners as a suite sets them up, to be timed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from revision import (
    Catalog,
    ProgramAdapter,
    RunRequest,
    build,
    by_inductor,
    generator,
    open_engine,
    plan,
)
from torch import Tensor

MetaStep = Callable[[], Mapping[str, Tensor | float]]
"""Trains a learner on the same tasks, with the same draws, each time, and returns what it logs."""
CPU = torch.device("cpu")


def meta_steps(
    request: RunRequest,
    catalog: Catalog,
    *,
    n_tasks: int,
    progress: float,
    device: torch.device = CPU,
    compiled: bool = False,
) -> dict[str, MetaStep]:
    """One meta-step per learner of a request, by name; compiled if asked and if possible."""
    found = {}
    for name, built in _built(request, catalog, device):
        (tasks,) = built.train.stream(0, 1, n_tasks)

        make: Any = built.learner.meta_step
        if compiled and open_engine is not None:
            make = open_engine("compiled", built.learner, device=device, say=_say)

        def step(make: Any = make, tasks: Any = tasks) -> Mapping[str, Tensor | float]:
            logged: Mapping[str, Tensor | float] = make(
                tasks, progress=progress, rng=generator("race")
            )
            return logged

        found[name] = step
    return found


def meta_tests(
    request: RunRequest, catalog: Catalog, *, n_tasks: int, compiled: bool = False
) -> dict[str, Callable[[], Tensor]]:
    """Adaptation to test tasks and their predictions after each step, by learner.

    Compiled if asked and if possible, whether a run of that suite would or not.
    """
    found = {}
    for name, built in _built(request, catalog, CPU):
        (tasks,) = built.test.stream(0, 1, n_tasks)

        adapt: Any = _adapt
        if compiled and ProgramAdapter is not None:
            adapt = ProgramAdapter(by_inductor, size=n_tasks, say=_say)

        def test(learner: Any = built.learner, tasks: Any = tasks, adapt: Any = adapt) -> Tensor:
            adapted = adapt(learner, tasks, rng=generator("race"))
            with torch.no_grad():
                for predict in adapted.curve:  # first, as meta-test does
                    predict(tasks.query.x)
                outputs: Tensor = adapted.predict(tasks.query.x)
            return outputs

        found[name] = test
    return found


def _adapt(learner: Any, tasks: Any, *, rng: torch.Generator) -> Any:
    return learner.adapt(tasks.support, rng=rng)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _built(
    request: RunRequest, catalog: Catalog, device: torch.device
) -> Iterator[tuple[str, Any]]:
    for planned in plan(request, catalog):
        yield planned.spec.learner.name, build(planned.spec, catalog, device=device)
