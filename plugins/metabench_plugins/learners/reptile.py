"""Reptile (Nichol, Achiam and Schulman 2018).

From phi run k steps of Adam with beta1 = 0 on mini-batches of each task; then
``phi <- phi + eps * mean over tasks of (phi_task - phi)``, eps falling linearly to 0.

Adam's second moment is carried from task to task. With the task axis the tasks of one meta-batch
start from the same moment and the mean of their moments is carried on (``carry: mean``); the
released code runs them one after another (``carry: sequential``, slower).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Adapted, EpisodeShape, Labelled, TaskBatch
from metabench.functional import predictor, share, task_gradients
from metabench.losses import task_losses
from metabench.protocols import LearnerContext, Params
from metabench.runspec import Frozen


class ReptileParams(Frozen):
    """Parameters of Reptile."""

    train_shots: int | None = Field(
        default=None, ge=1, le=1000, description="Examples per class in meta-training; K if absent."
    )
    inner_optimizer: Literal["adam", "sgd"] = Field(
        default="adam", description="Adam with beta1 = 0, or plain descent."
    )
    inner_lr: float = Field(default=0.001, gt=0, le=100, description="Step of the inner loop.")
    inner_steps: int = Field(default=8, ge=1, le=1000, description="Inner steps in meta-training.")
    inner_batch: int = Field(
        default=10, ge=1, le=10_000, description="Examples per inner step in meta-training."
    )
    test_steps: int = Field(default=50, ge=0, le=10_000, description="Inner steps at meta-test.")
    test_batch: int = Field(
        default=5, ge=1, le=10_000, description="Examples per inner step at meta-test."
    )
    meta_lr: float = Field(default=1.0, gt=0, le=10, description="eps at the start of training.")
    meta_lr_end: float = Field(default=0.0, ge=0, le=10, description="eps at its end.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Decay of Adam's second moment.")
    carry: Literal["mean", "sequential"] = Field(
        default="mean", description="How the second moment goes from task to task."
    )


def train_shape(params: ReptileParams, shape: EpisodeShape) -> EpisodeShape:
    """Reptile trains on one set: all examples are support, queries are not used."""
    return EpisodeShape(shape.ways, params.train_shots or shape.shots, 0)


@dataclass(frozen=True, slots=True)
class Moments:
    """Adam's second moment, ``[*shape]`` shared or ``[tasks, *shape]``, and the steps behind it."""

    values: Params
    steps: int


class Reptile:
    """The learner: start weights, and the second moment that travels with them."""

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self._context = context
        self._params: ReptileParams = context.params
        self._space = context.space
        weights = context.space.init_weights(rng=context.rng)
        self._weights = {name: weight.to(context.device) for name, weight in weights.items()}
        self._moments = Moments({n: torch.zeros_like(w) for n, w in self._weights.items()}, 0)

    @torch.no_grad()
    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Move towards the mean of the weights that the tasks end at."""
        p = self._params
        size = 1 if p.carry == "sequential" else len(tasks)
        ends, losses = [], []
        for first in range(0, len(tasks), size):
            part = slice(first, first + size)
            support = Labelled(tasks.support.x[part], tasks.support.y[part])
            weights = share(self._weights, size)
            moments = Moments(share(self._moments.values, size), self._moments.steps)
            for batch in _mini_batches(support, p.inner_batch, p.inner_steps, rng):
                weights, moments, loss = self._inner_step(weights, moments, batch)
            self._moments = Moments(
                {name: value.mean(dim=0) for name, value in moments.values.items()}, moments.steps
            )
            ends.append({name: weight.mean(dim=0) for name, weight in weights.items()})
            losses.append(loss.mean())
        eps = p.meta_lr + (p.meta_lr_end - p.meta_lr) * progress
        self._weights = {
            name: torch.lerp(start, torch.stack([end[name] for end in ends]).mean(dim=0), eps)
            for name, start in self._weights.items()
        }
        return {"loss": torch.stack(losses).mean()}

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Take the test's number of mini-batch steps; state is left as it was."""
        p, context = self._params, self._context
        n_tasks = len(support.x)
        weights = share(self._weights, n_tasks)
        moments = Moments(share(self._moments.values, n_tasks), self._moments.steps)
        path = [weights]
        for step, batch in enumerate(_mini_batches(support, p.test_batch, p.test_steps, rng)):
            weights, moments, _ = self._inner_step(weights, moments, batch)
            if step < context.curve_steps:
                path.append(weights)
        predictors = [
            predictor(self._forward(w), support.x, transductive=context.transductive)
            for w in (*path, weights)
        ]
        return Adapted(predict=predictors[-1], curve=predictors[:-1])

    def state_dict(self) -> dict[str, Any]:
        """Start weights, second moment and its step count."""
        return {
            "weights": self._weights,
            "moments": self._moments.values,
            "moment_steps": self._moments.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._weights = dict(state["weights"])
        self._moments = Moments(dict(state["moments"]), state["moment_steps"])

    def _forward(self, weights: Params) -> Any:
        return lambda x: self._space.forward(weights, {}, x)

    def _inner_step(
        self, weights: Params, moments: Moments, batch: Labelled
    ) -> tuple[Params, Moments, Tensor]:
        """One step on one mini-batch; the loss is its mean, before the step, per task."""
        seen: list[Tensor] = []

        def loss(candidate: Params) -> Tensor:
            outputs = self._space.forward(candidate, {}, batch.x)
            kind = self._context.task.kind
            losses = task_losses(outputs, batch.y, kind=kind, reduction="mean", shots=1)
            seen.append(losses.detach())
            return losses

        gradients = task_gradients(loss, weights)
        p = self._params
        if p.inner_optimizer == "sgd":
            moved = {n: weights[n].add(g, alpha=-p.inner_lr) for n, g in gradients.items()}
            return weights | moved, moments, seen[0]
        steps = moments.steps + 1
        second = {
            n: torch.lerp(moments.values[n], g.square(), 1.0 - p.beta2)
            for n, g in gradients.items()
        }
        correction = 1.0 - p.beta2**steps
        moved = {
            n: torch.addcdiv(
                weights[n], g, (second[n] / correction).sqrt_().add_(1e-8), value=-p.inner_lr
            )
            for n, g in gradients.items()
        }
        return weights | moved, Moments(moments.values | second, steps), seen[0]


def _mini_batches(
    data: Labelled, size: int, steps: int, rng: torch.Generator
) -> Iterator[Labelled]:
    """Yield ``steps`` mini-batches per task, ``[tasks, size, ...]``.

    Each task walks through its shuffled examples without replacement and shuffles again when they
    are exhausted; a batch may span two walks.
    """
    n_tasks, n = data.y.shape[:2]
    size = min(size, n)
    walks = -(-steps * size // n)
    order = torch.rand(n_tasks, walks, n, generator=rng).argsort(dim=2).flatten(1)
    order = order.to(data.x.device)
    task = torch.arange(n_tasks, device=data.x.device)[:, None]
    for step in range(steps):
        index = order[:, step * size : (step + 1) * size]
        yield Labelled(data.x[task, index], data.y[task, index])
