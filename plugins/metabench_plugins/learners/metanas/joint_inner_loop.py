"""The inner loop of MetaNAS: weights and logits descend together (Elsken et al. 2020, equation 3).

Each step is one forward and backward pass on a mini-batch. Adam with beta1 = 0 then updates weights
and logits, each with its own learning rate, weight decay (L2) and moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from metabench import Labelled, LearnerContext, Mixture, Params, SearchSpace, share, task_losses
from metabench_plugins.learners.parts.inner_adam import Moments, decayed, descend, descend_plainly
from metabench_plugins.learners.parts.mini_batches import take
from metabench_plugins.learners.parts.searched_space import (
    LossTerm,
    SearchedSpace,
    is_arch,
    operations_of,
)
from metabench_plugins.learners.parts.split_batch import gradients, parts, rows
from metabench_plugins.learners.reptile import ReptileParams

Mix = Callable[[Params, float, slice], Mixture]
"""Maps leaves of some tasks, a sharpness in [0, 1] and which tasks they are to a mixture."""


class JointParams(ReptileParams):
    """Parameters of the inner loop on weights and logits."""

    arch_inner_lr: float = Field(
        default=0.001,
        ge=0,
        le=100,
        description="Learning rate of the architecture logits in the inner loop.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Weight decay: L2 in the inner loop, whose gradient Adam normalizes.",
    )
    arch_decay: float = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Weight decay of the architecture logits: L2 in the inner loop, as for the "
        "weights.",
    )
    batches: Literal["one", "two"] = Field(
        default="one",
        description="one: a step updates weights and logits on the same mini-batch; two: it "
        "updates the logits on one mini-batch and then the weights on another, as in the "
        "released code.",
    )


@dataclass(frozen=True, slots=True)
class State:
    """The state of each task, with a task axis, or the meta-learned state, without one.

    Attributes:
        leaves: weights, and logits as ``arch.<cell>``.
        weights: Adam's moment of the weights.
        logits: Adam's moment of the logits.
    """

    leaves: Params
    weights: Moments
    logits: Moments

    @classmethod
    def begin(cls, leaves: Params) -> State:
        """Before the first step."""
        weights, logits = split(leaves)
        return cls(leaves, Moments.zero(weights), Moments.zero(logits))

    def share(self, n_tasks: int) -> State:
        """Give every task the same state."""
        leaves = share(self.leaves, n_tasks)
        return State(leaves, self.weights.share(n_tasks), self.logits.share(n_tasks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Some steps of a batch of tasks.

    Attributes:
        data: what mini-batches are taken from.
        drawn: which examples each mini-batch holds, ``[tasks, mini-batches, size]``.
        mix: how the leaves become weights of operations.
        sharpness: of each step.
        searching: whether logits move.
        masks: of DropPath, ``[tasks, mini-batches, ...]``.
        loss_term: what joins the loss where logits move; None for nothing.
    """

    data: Labelled
    drawn: Tensor
    mix: Mix
    sharpness: Sequence[float]
    searching: bool
    masks: Mixture = field(default_factory=dict)
    loss_term: LossTerm | None = None


class JointLoop:
    """Runs phases.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext, space: SearchSpace) -> None:
        self._context = context
        self._params: JointParams = context.params
        self._space = space

    def path(self, state: State, phase: Phase) -> Iterator[tuple[State, Tensor]]:
        """Yield the state after each step, and the loss of each task before it."""
        two = phase.searching and self._params.batches == "two"
        weights, logits = map(frozenset, split(state.leaves))
        turns = [logits, weights] if two else [weights | logits if phase.searching else weights]
        for step in range(len(phase.sharpness)):
            for turn, moving in enumerate(turns):
                batch = step * len(turns) + turn
                found, loss = self._gradients(state, phase, step, batch=batch, moving=moving)
                state = self._descend(state, found)
            yield state, loss

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mean loss of each task."""
        kind = self._context.task.kind
        return task_losses(outputs, y, kind=kind, reduction="mean", shots=1)

    def _gradients(
        self, state: State, phase: Phase, step: int, *, batch: int, moving: frozenset[str]
    ) -> tuple[Params, Tensor]:
        data = take(phase.data, phase.drawn[:, batch])
        masks = {name: mask[:, batch] for name, mask in phase.masks.items()}

        def loss(leaves: Params, part: slice) -> Tensor:
            mixture = phase.mix(leaves, phase.sharpness[step], part) | rows(masks, part)
            outputs = self._space.forward(operations_of(leaves), mixture, data.x[part])
            losses = self.losses(outputs, data.y[part])
            if phase.loss_term is None:
                return losses
            return losses + phase.loss_term(leaves, phase.sharpness[step])

        context = self._context
        divided = parts(len(data.x), data.x.shape[1], context)
        found, losses = gradients(loss, state.leaves, parts=divided, adapted=moving)
        if phase.loss_term is not None:
            # What is reported is the loss on the data.
            losses = losses - phase.loss_term(state.leaves, phase.sharpness[step])
        return found, losses

    def _descend(self, state: State, found: Params) -> State:
        """One step of the inner optimizer, weights and logits each at their rate and decay."""
        p = self._params
        leaves, moments = state.leaves, [state.weights, state.logits]
        rates = (p.inner_lr, p.weight_decay), (p.arch_inner_lr, p.arch_decay)
        for i, (part, (lr, decay)) in enumerate(zip(split(found), rates, strict=True)):
            own = decayed(part, leaves, decay=decay)
            if own and p.inner_optimizer == "sgd":
                leaves = descend_plainly(leaves, own, lr=lr)
            elif own:
                leaves, moments[i] = descend(leaves, own, moments[i], lr=lr, beta2=p.beta2)
        return State(leaves, *moments)


def mixing_of_each(
    search: SearchedSpace,
    n_tasks: int,
    *,
    threshold: float,
    rng: torch.Generator,
    at_test: bool = False,
) -> Mix:
    """The strategy's mixture; what it draws for a task does not depend on who runs beside it.

    A strategy that draws nothing mixes all tasks at once.
    """
    each = [search.mixing(rng=rng, at_test=at_test, threshold=threshold) for _ in range(n_tasks)]
    draws = search.draws and not at_test

    def mix(leaves: Params, sharpness: float, part: slice) -> Mixture:
        _, logits = split(leaves)
        if not draws:
            return each[part][0](logits, sharpness)
        own = [
            mixing({name: row[i : i + 1] for name, row in logits.items()}, sharpness)
            for i, mixing in enumerate(each[part])
        ]
        if len(own) == 1:
            return own[0]
        return {key: torch.cat([mixture[key] for mixture in own]) for key in own[0]}

    return mix


def split(leaves: Params) -> tuple[Params, Params]:
    """Weights, and logits under their full names."""
    logits = {name: leaf for name, leaf in leaves.items() if is_arch(name)}
    return operations_of(leaves), logits
