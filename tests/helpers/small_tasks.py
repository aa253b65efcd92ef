"""Small regression and classification tasks in float64, and learners to compare on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metabench.plugin.contracts.episode import EpisodeShape, Labelled, TaskBatch, TaskShape
from metabench.plugin.contracts.learner import LearnerContext
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam
from metabench_plugins.spaces.conv4 import Conv4, Conv4Params
from metabench_plugins.spaces.mlp import Mlp, MlpParams

TASKS = 4
LINES = TaskShape("regression", (1,), 1)
IMAGES = TaskShape("classification", (1, 16, 16), 3)
SHAPES = {"regression": EpisodeShape(1, 5, 6), "classification": EpisodeShape(3, 2, 2)}


def context(params: Any, *, kind: str = "regression", **changes: Any) -> LearnerContext:
    """A context with a network of two hidden layers of 7 units, or Conv-4 with 4 filters."""
    space = Mlp(MlpParams(hidden=2, width=7), LINES)
    image_space = Conv4(Conv4Params(filters=4), IMAGES)
    values: dict[str, Any] = {
        "params": params,
        "task": LINES if kind == "regression" else IMAGES,
        "shape": SHAPES[kind],
        "space": space if kind == "regression" else image_space,
        "strategy": None,
        "steps_at_test": 3,
        "curve_steps": 3,
        "transductive": True,
        "meta_steps": 10,
        "device": torch.device("cpu"),
        "rng": torch.Generator().manual_seed(0),
    }
    return LearnerContext(**{**values, **changes})


def in_double(learner: Any) -> Any:
    """Put all meta-learned weights of a learner into float64, in place."""
    outer: OuterAdam = learner.outer
    for weight in outer.weights.values():
        weight.data = weight.data.double()
    return learner


def outer_rates(learner: Any) -> list[float]:
    """A list that gets the rate of the first group in each outer step from now on."""
    rates: list[float] = []
    outer: OuterAdam = learner.outer
    descend = outer.descend

    def recording(group: Group, *args: Any, lr: float) -> None:
        if group is outer.groups[0]:
            rates.append(lr)
        descend(group, *args, lr=lr)

    outer.descend = recording  # type: ignore[method-assign, assignment]
    return rates


def batch(kind: str = "regression", seed: int = 0) -> TaskBatch:
    """Random tasks in float64."""
    rng = torch.Generator().manual_seed(seed)
    shape = SHAPES[kind]

    def part(n: int) -> Labelled:
        if kind == "regression":
            x = torch.randn(TASKS, n, 1, generator=rng, dtype=torch.float64)
            return Labelled(x, (2 * x).sin() + torch.arange(TASKS)[:, None, None])
        y = torch.arange(shape.ways).repeat(TASKS, n // shape.ways)
        x = torch.randn(TASKS, n, *IMAGES.inputs, generator=rng, dtype=torch.float64)
        return Labelled(x + y[..., None, None, None], y)

    keys = tuple(map(str, range(TASKS)))
    return TaskBatch(part(shape.n_support), part(shape.n_query), ("s",) * TASKS, keys)


def generator(seed: int = 0) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)


def train(learner: Any, n_steps: int, *, kind: str = "regression") -> list[float]:
    """Make outer updates and return their losses."""
    return [
        float(learner.meta_step(batch(kind, seed), progress=0.0, rng=generator(seed))["loss"])
        for seed in range(n_steps)
    ]


def check_gradients(loss: Callable[[], Tensor], leaves: dict[str, Tensor]) -> None:
    """Compare the gradient by each leaf, in a random direction, with a finite difference."""
    gradients = torch.autograd.grad(loss(), list(leaves.values()))
    eps = 1e-7
    for index, (name, gradient) in enumerate(zip(leaves, gradients, strict=True)):
        direction = torch.randn(gradient.shape, generator=generator(index)).double()
        ends = []
        for move in (eps, -eps):
            with torch.no_grad():
                leaves[name].add_(direction, alpha=move)
                ends.append(float(loss()))
                leaves[name].sub_(direction, alpha=move)
        numeric = (ends[0] - ends[1]) / (2 * eps)
        exact = float((gradient * direction).sum())
        assert numeric == pytest.approx(exact, rel=2e-5, abs=1e-7), name
