"""A learner whose step is what a test says, and runs of learners beside their programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from metabench.conformance.samples import made_up_tasks
from metabench.plugin.contracts.episode import Adapted, Labelled, TaskBatch
from metabench.plugin.contracts.learner import Learner
from metabench.running.engines.programs import as_recorded
from metabench.running.engines.stepper import Stepper

Body = Callable[["Small", TaskBatch, Any, torch.Generator], Tensor]
"""What a step does to a learner; it returns a loss."""


class Small:
    """A learner of a vector; ``body`` is its step, ``extra`` joins its state."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.weight = torch.ones(3)
        self.extra: dict[str, Any] = {}
        self.hidden = torch.zeros(3)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        return {"loss": self.body(self, tasks, progress, rng)}

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight, **self.extra}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weight = state["weight"]
        self.extra = {name: value for name, value in state.items() if name != "weight"}


def small_tasks(seed: int = 0, n_tasks: int = 3) -> TaskBatch:
    return made_up_tasks("regression", seed=seed, n_tasks=n_tasks)


def rng_of(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def beside(
    learners: Iterator[Learner], *, n_steps: int, tasks: Callable[[int], TaskBatch] = small_tasks
) -> tuple[Stepper, list[str]]:
    """Train a learner eagerly, and an equal one by programs; both must be equal to the bit."""
    eager, other = next(learners), next(learners)
    said: list[str] = []
    stepper = Stepper(other, as_recorded, say=said.append)
    for step in range(n_steps):
        progress = step / n_steps
        wanted = eager.meta_step(tasks(step), progress=progress, rng=rng_of(step))
        rng = rng_of(step)
        found = stepper(tasks(step), progress=progress, rng=rng)
        assert {k: float(v) for k, v in found.items()} == {k: float(v) for k, v in wanted.items()}
        assert same(eager.state_dict(), other.state_dict()), f"step {step}"
    return stepper, said


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal; not-a-number equals itself."""
    if isinstance(one, Tensor):
        return torch.equal(one.nan_to_num(), other.nan_to_num()) if one.numel() else True
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
