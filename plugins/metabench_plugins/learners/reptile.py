"""Reptile (Nichol, Achiam and Schulman 2018).

From phi run k steps of Adam with beta1 = 0 on mini-batches of each task; then
``phi <- phi + eps * mean over tasks of (phi_task - phi)``, eps falling linearly to 0.

Adam's second moment is carried from task to task. With the task axis the tasks of one meta-batch
start from the same moment and the mean of their moments is carried on (``carry: mean``); the
released code runs them one after another (``carry: sequential``, slower).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    Adapted,
    EpisodeShape,
    Frozen,
    Labelled,
    LearnerContext,
    Mixture,
    Params,
    TaskBatch,
    predictor,
    share,
    task_losses,
)
from metabench_plugins.learners.parts.inner_adam import Moments, decayed, descend, descend_plainly
from metabench_plugins.learners.parts.mini_batches import Sampling, mini_batches
from metabench_plugins.learners.parts.schedules import towards
from metabench_plugins.learners.parts.split_batch import gradients, parts, rows


class ReptileParams(Frozen):
    """Parameters of Reptile."""

    schedule: ClassVar[str] = "linear"
    """The shape of the way from ``meta_lr`` to ``meta_lr_end``."""

    train_shots: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Examples per class in meta-training; null takes the setting's shots.",
    )
    inner_optimizer: Literal["adam", "sgd"] = Field(
        default="adam", description="adam: Adam with beta1 = 0; sgd: plain gradient descent."
    )
    inner_lr: float = Field(
        default=0.001, gt=0, le=100, description="Learning rate of the inner loop."
    )
    inner_steps: int = Field(
        default=8, ge=1, le=1000, description="Inner-loop steps per task in meta-training."
    )
    inner_batch: int = Field(
        default=10, ge=1, le=10_000, description="Examples per inner-loop step in meta-training."
    )
    sampling: Sampling = Field(
        default="walk",
        description="How an inner-loop step draws its examples. walk: without replacement, "
        "shuffled after each pass over the support set, as in Reptile's code; replacement: each "
        "independently, as in MetaNAS's code. A batch as large as the set is the set.",
    )
    test_steps: int = Field(
        default=50, ge=0, le=10_000, description="Inner-loop steps per task at meta-test."
    )
    test_batch: int = Field(
        default=5, ge=1, le=10_000, description="Examples per inner-loop step at meta-test."
    )
    meta_lr: float = Field(
        default=1.0, gt=0, le=10, description="Outer step size eps at the start of meta-training."
    )
    meta_lr_end: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Outer step size eps at the end of meta-training; it changes linearly.",
    )
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Adam's beta2 in the inner loop.")
    carry: Literal["mean", "sequential"] = Field(
        default="mean",
        description="How Adam's second moment is carried on. mean: its mean over the "
        "meta-batch; sequential: from one task to the next, as in the released code.",
    )


def train_shape(params: ReptileParams, shape: EpisodeShape) -> EpisodeShape:
    """Reptile trains on one set: all examples are support, queries are not used."""
    return EpisodeShape(shape.ways, params.train_shots or shape.shots, 0)


class Reptile:
    """The learner: start weights, and the second moment that travels with them."""

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self._context = context
        self._params: ReptileParams = context.params
        self._space = context.space
        weights = context.space.init_weights(rng=context.rng)
        self._weights = {name: weight.to(context.device) for name, weight in weights.items()}
        self._moments = Moments.zero(self._weights)

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
            weights, moments = share(self._weights, size), self._moments.share(size)
            batches = mini_batches(
                support, size=p.inner_batch, steps=p.inner_steps, sampling=p.sampling, rng=rng
            )
            for batch in batches:
                noise = self.noise(batch, rng=rng)
                weights, moments, loss = self._inner_step(weights, moments, batch, noise)
            self._moments = moments.mean()
            ends.append({name: weight.mean(dim=0) for name, weight in weights.items()})
            losses.append(loss.mean())
        (mean, *others) = ends
        if others:
            mean = {name: torch.stack([end[name] for end in ends]).mean(dim=0) for name in mean}
        self._weights = {
            name: self.towards(start, mean[name], progress=progress)
            for name, start in self._weights.items()
        }
        return {"loss": torch.stack(losses).mean()}

    def noise(self, batch: Labelled, *, rng: torch.Generator) -> Mixture:
        """Draw what disturbs the network in one step of meta-training: nothing."""
        return {}

    def decay(self) -> float:
        """L2 penalty of the weights in the inner loop: none."""
        return 0.0

    def towards(self, start: Tensor, end: Tensor, *, progress: float) -> Tensor:
        """Move a weight towards the mean of the tasks' ends."""
        p = self._params
        return towards(start, end, p.meta_lr + (p.meta_lr_end - p.meta_lr) * progress)

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Take the test's number of mini-batch steps; state is left as it was."""
        p, context = self._params, self._context
        n_tasks = len(support.x)
        weights, moments = share(self._weights, n_tasks), self._moments.share(n_tasks)
        path = [weights]
        batches = mini_batches(
            support, size=p.test_batch, steps=p.test_steps, sampling=p.sampling, rng=rng
        )
        for step, batch in enumerate(batches):
            weights, moments, _ = self._inner_step(weights, moments, batch, {})
            if step < context.curve_steps:
                path.append(weights)
        predictors = [
            predictor(self._forward(w), support.x, transductive=context.queries_together)
            for w in (*path, weights)
        ]
        return Adapted(predict=predictors[-1], curve=predictors[:-1])

    def state_dict(self) -> dict[str, Any]:
        """Start weights, second moment and its step count."""
        return {"weights": self._weights, **self._moments.to_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._weights = dict(state["weights"])
        self._moments = Moments.from_state(state)

    def _forward(self, weights: Params) -> Any:
        return lambda x: self._space.forward(weights, {}, x)

    def _inner_step(
        self, weights: Params, moments: Moments, batch: Labelled, noise: Mixture
    ) -> tuple[Params, Moments, Tensor]:
        """One step on one mini-batch; the loss is its mean, before the step, per task."""
        p, context = self._params, self._context

        def loss(candidate: Params, part: slice) -> Tensor:
            outputs = self._space.forward(candidate, rows(noise, part), batch.x[part])
            kind = context.task.kind
            return task_losses(outputs, batch.y[part], kind=kind, reduction="mean", shots=1)

        divided = parts(len(batch.x), batch.x.shape[1], context)
        found, losses = gradients(loss, weights, parts=divided)
        found = decayed(found, weights, decay=self.decay())
        if p.inner_optimizer == "sgd":
            return descend_plainly(weights, found, lr=p.inner_lr), moments, losses
        weights, moments = descend(weights, found, moments, lr=p.inner_lr, beta2=p.beta2)
        return weights, moments, losses
