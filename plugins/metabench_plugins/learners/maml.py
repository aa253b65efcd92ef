"""MAML, second and first order (Finn, Abbeel and Levine, ICML 2017; PROTOCOLS 2.3, 2.4 and 7).

Inner: ``w <- w - inner_lr * grad L(w; support)``, full support in every step.
Outer: Adam on the mean over tasks of ``L(w_S; query)``, through all inner steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench.episodes import Adapted, Labelled, TaskBatch
from metabench.functional import inner_loop, inner_path, is_norm, predictor, share
from metabench.losses import Reduction, task_losses
from metabench.protocols import LearnerContext, Params
from metabench.runspec import Frozen
from metabench_plugins.learners.outer import OuterAdam


class MamlParams(Frozen):
    """Parameters of MAML."""

    inner_lr: float = Field(default=0.01, gt=0, le=100, description="Step of the inner loop.")
    inner_steps: int = Field(default=5, ge=1, le=100, description="Inner steps in meta-training.")
    outer_lr: float = Field(default=0.001, gt=0, le=1, description="Adam's rate in the outer loop.")
    order: Literal["second", "first"] = Field(
        default="second", description="Through the inner gradients, or first-order MAML."
    )
    reduction: Reduction = Field(
        default="per_shot",
        description="Cross-entropy summed over a set and divided by K, or its mean.",
    )
    adapt_norm: bool = Field(
        default=False, description="Whether scale and shift of norm layers move in the inner loop."
    )
    clip: float | None = Field(
        default=None, gt=0, description="Element-wise bound of the outer gradient."
    )


class Maml:
    """The learner: shared start weights, and an inner loop from them."""

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self._context = context
        self._params: MamlParams = context.params
        self._space = context.space
        weights = context.space.init_weights(rng=context.rng)
        self._weights = {
            name: weight.to(context.device).requires_grad_() for name, weight in weights.items()
        }
        self._adapted = frozenset(
            name for name in weights if self._params.adapt_norm or not is_norm(name)
        )
        self._outer = OuterAdam(self._weights, lr=self._params.outer_lr, clip=self._params.clip)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """One outer update on the mean query loss of the batch."""
        p = self._params
        adapted = inner_loop(
            lambda w: self._loss(w, tasks.support),
            share(self._weights, len(tasks)),
            steps=p.inner_steps,
            lr=p.inner_lr,
            order=p.order,
            adapted=self._adapted,
        )
        # The outer loss of a `per_shot` system is divided by the support's K as well.
        loss = self._loss(adapted, tasks.query).mean()
        self._outer.step(loss)
        return {"loss": loss.detach()}

    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Take the protocol's number of steps from the start weights."""
        context = self._context
        path = inner_path(
            lambda w: self._loss(w, support),
            share(self._weights, len(support.x)),
            steps=max(context.steps_at_test, context.curve_steps),
            lr=self._params.inner_lr,
            order="none",
            adapted=self._adapted,
        )
        curve = [
            predictor(self._forward(w), support.x, transductive=context.transductive) for w in path
        ]
        return Adapted(predict=curve[context.steps_at_test], curve=curve[: context.curve_steps + 1])

    def state_dict(self) -> dict[str, Any]:
        """Start weights and Adam's moments."""
        return {"weights": dict(self._weights), "outer": self._outer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["weights"][name])
        self._outer.load_state_dict(state["outer"])

    def _forward(self, weights: Params) -> Any:
        return lambda x: self._space.forward(weights, {}, x)

    def _loss(self, weights: Params, data: Labelled) -> Tensor:
        return task_losses(
            self._space.forward(weights, {}, data.x),
            data.y,
            kind=self._context.task.kind,
            reduction=self._params.reduction,
            shots=self._context.shape.shots,
        )
