"""MAML++: MAML whose rates, norms and loss depend on the inner step (Antoniou et al., ICLR 2019).

At inner step ``s = 0 .. S-1``, for every adapted tensor ``l``, with a loss per task ``L``:

    w_l <- w_l - eta_{l,s} grad_{w_l} L(w, bn_s; support)
    outer loss = sum_s v_s L(w after step s, bn_s; query),    v of :func:`loss_weights`

``bn_s`` are scale and shift of the norms at step ``s``. The outer loop learns them with ``eta`` and
the initial weights. Meta-training has 100 parts, the epochs of the paper: ``v`` and the rate of the
outer loop change from part to part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from metabench import (
    Frozen,
    Labelled,
    Order,
    Params,
    Reduction,
    TaskBatch,
    inner_path,
    is_norm,
    share,
)
from metabench_plugins.learners.maml import Maml, MamlParams
from metabench_plugins.learners.parts.gradient_learner import Start, leaves
from metabench_plugins.learners.parts.outer_adam import Group
from metabench_plugins.learners.parts.query_log import QueryLog
from metabench_plugins.learners.parts.schedules import Scalar, cos, floor

N_PARTS = 100
"""Parts of meta-training; the source has as many epochs, of 500 meta-steps each."""
LEAST = 0.03
"""A loss weight does not fall below this share of 1/S, until only the last step counts."""


class StepwiseParams(Frozen):
    """What MAML++ adds to MAML; each part can be switched off."""

    learn_rates: bool = Field(
        default=True,
        description="Whether the outer loop learns a rate for each tensor and inner step, from "
        "inner_lr on.",
    )
    norm_per_step: bool = Field(
        default=True,
        description="Whether norm layers have a scale and a shift of their own for each inner "
        "step.",
    )
    multi_step_parts: int = Field(
        default=10,
        ge=0,
        le=N_PARTS,
        description="Hundredths of meta-training in which the query loss after every inner step "
        "counts, the last one more and more; then it counts alone. 0 for never.",
    )
    first_order_parts: int = Field(
        default=0,
        ge=0,
        le=N_PARTS,
        description="First hundredths of meta-training with first-order gradients, whatever the "
        "order of the rest.",
    )
    outer_lr_end: float | None = Field(
        default=1e-5,
        ge=0,
        le=1,
        description="What Adam's learning rate falls to, along a cosine in a hundred steps; null "
        "keeps it constant.",
    )


class MamlPlusParams(StepwiseParams, MamlParams):
    """Parameters of MAML++."""

    inner_lr: float = Field(
        default=0.1,
        gt=0,
        le=100,
        description="Learning rate of the inner loop, at which learned rates start.",
    )
    reduction: Reduction = Field(
        default="mean",
        description="mean: mean cross-entropy; per_shot: its sum over the set divided by K, as in "
        "MAML's code. Regression always uses the mean.",
    )


def part_of(progress: Scalar) -> Scalar:
    """The part of meta-training, 0 to 99, given the share that is done.

    >>> [part_of(step / 50) for step in (0, 7, 49)]
    [0.0, 14.0, 98.0]
    """
    part = floor(N_PARTS * progress + 1e-9)
    return part if part < N_PARTS else part - 1


def loss_weights(part: float, *, steps: int, parts: int) -> tuple[float, ...]:
    """Weights ``v`` of the query losses after each inner step; their sum is 1.

    They begin equal. Those before the last fall by ``1 / (steps * parts)`` per part.

    Args:
        part: of meta-training, from 0.
        steps: number of inner steps S.
        parts: number of parts after which the last loss counts alone.

    >>> [round(v, 3) for v in loss_weights(5, steps=5, parts=10)]
    [0.1, 0.1, 0.1, 0.1, 0.6]
    >>> loss_weights(10, steps=5, parts=10)
    (0.0, 0.0, 0.0, 0.0, 1.0)
    """
    before = steps - 1
    if part >= parts:
        return (*[0.0] * before, 1.0)
    fallen = part / (steps * parts)
    early = max(1 / steps - fallen, LEAST / steps)
    last = min(1 / steps + before * fallen, 1 - before * LEAST / steps)
    return (*[early] * before, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledStart(Start):
    """A start at some part of meta-training.

    Attributes:
        order: how the outer gradient depends on the inner steps.
        losses: weights of the query losses after each inner step.
    """

    order: Order
    losses: Sequence[float]


class MamlPlus(Maml):
    """MAML with learned rates, norms and losses for each inner step."""

    def groups(self, rng: torch.Generator) -> Sequence[Group]:
        """The start weights, norms ``[steps, channels]``, and ``steps + 1`` rates per tensor.

        Adam's bound of the elements holds for the weights alone. As in the source, the last rate
        of each tensor is used nowhere.
        """
        p, device = self.params, self.context.device
        super().groups(rng)
        if p.norm_per_step:
            self._weights = {
                name: _repeated(w, p.inner_steps) if is_norm(name) else w
                for name, w in self._weights.items()
            }
        network = Group(self._weights, p.outer_lr, p.max_norm)
        if not p.learn_rates:
            self._rates: Params = {}
            return [network]
        adapted = [name for name in self._weights if name in self._adapted]
        rates = {name: torch.full((p.inner_steps + 1,), p.inner_lr) for name in adapted}
        named = leaves(rates, device, prefix="rate.")
        self._rates = dict(zip(adapted, named.values(), strict=True))
        return [network, Group(named, p.outer_lr, p.max_norm, clipped=False)]

    def begin(
        self, support: Labelled, *, rng: torch.Generator, progress: float | None
    ) -> ScheduledStart:
        """Shared weights; order and losses of the part of meta-training."""
        p, part = self.params, part_of(0.0 if progress is None else progress)
        return ScheduledStart(
            weights=share(self._weights, len(support.x)),
            adapted=self._adapted,
            order="first" if part < p.first_order_parts else p.order,
            losses=loss_weights(part, steps=p.inner_steps, parts=p.multi_step_parts),
        )

    def outer_rate(self, progress: float) -> float:
        """The factor of Adam's learning rate in the part of meta-training."""
        p = self.params
        if p.outer_lr_end is None:
            return 1.0
        end: float = p.outer_lr_end / p.outer_lr
        return end + (1 - end) * (1 + cos(math.pi * part_of(progress) / N_PARTS)) / 2

    def query_passes(self, start: Start) -> int:
        """One after each inner step whose loss counts."""
        assert isinstance(start, ScheduledStart)
        return sum(map(bool, start.losses))

    def losses_of_tasks(
        self, start: Start, tasks: TaskBatch, *, log: QueryLog | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The weighted sum over inner steps of the query losses of each task, ``[tasks]``.

        The predictions after the last step are noted in the log.
        """
        assert isinstance(start, ScheduledStart)
        steps = self.params.inner_steps
        shots = tasks.support.y.shape[1] // self.context.shape.ways
        path = self._path(start, tasks.support, steps=steps, anneal=steps, order=start.order)
        first, *others = [
            v
            * self._loss(
                start, weights, data=tasks.query, shots=shots, log=log if step == steps else None
            )
            for step, (v, weights) in enumerate(zip((0.0, *start.losses), path, strict=True))
            if v
        ]
        return sum(others, start=first), None

    def _path(
        self,
        start: Start,
        support: Labelled,
        *,
        steps: int,
        anneal: int,
        order: Order | None = None,
    ) -> Iterator[Params]:
        """Adapt; the weights that it yields have the norms of the step that led to them.

        Steps beyond those of meta-training have the rates and norms of its last step.
        """
        p = self.params
        last = p.inner_steps - 1
        losses = [
            partial(self._support_loss, start, min(step, last), data=support)
            for step in range(steps)
        ]
        rates = {name: rate.unbind() for name, rate in self._rates.items()}
        masks = [
            {name: rate[min(step, last)] for name, rate in rates.items()} for step in range(steps)
        ]
        path = inner_path(
            losses,
            start.weights,
            steps=steps,
            lr=1.0 if p.learn_rates else p.inner_lr,
            order=order or p.order,
            adapted=start.adapted,
            masks=masks if p.learn_rates else None,
            clip=p.inner_clip,
        )
        for taken, weights in enumerate(path):
            yield self._at(weights, min(max(taken - 1, 0), last))

    def _support_loss(self, start: Start, step: int, weights: Params, *, data: Labelled) -> Tensor:
        return self._loss(start, self._at(weights, step), data=data)

    def _at(self, weights: Params, step: int) -> Params:
        """The weights with the norms of an inner step."""
        if not self.params.norm_per_step:
            return weights
        return {name: w[:, step] if is_norm(name) else w for name, w in weights.items()}


def _repeated(leaf: Tensor, steps: int) -> Tensor:
    """A leaf for each inner step, ``[*shape] -> [steps, *shape]``."""
    return leaf.detach().expand(steps, *leaf.shape).clone().requires_grad_()
