"""Prototypical networks beside a classifier of all meta-train classes, and the margin.

The loss is that of the episodes, plus a share of the classifier's on labelled examples and on the
query examples, whose global classes ``tasks.classes`` tells. In the first phase there are labelled
examples alone. A network with a state is trained by its training pass.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from metabench import (
    Adapted,
    Frozen,
    Labelled,
    LearnerContext,
    StatefulSpace,
    TaskBatch,
    Training,
    TrainingOnly,
    predictor,
)
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from metabench_proto.learner import class_means, squared_distances

CLASSIFIER = "classifier"


class ProtoClassesParams(Frozen):
    """What a user can set with ``--set learner.NAME=VALUE``."""

    outer_lr: float = Field(default=0.001, gt=0, le=1, description="Adam's learning rate.")
    first: float = Field(default=0.5, gt=0, lt=1, description="Share of the first phase.")
    batch: int = Field(default=32, ge=1, le=10_000, description="Labelled examples per meta-step.")
    share: float = Field(default=0.5, ge=0, le=10, description="Of the classifier in the loss.")


class ProtoClasses:
    """The learner: one embedding for all tasks, and a linear classifier of all classes on it."""

    def __init__(self, context: LearnerContext) -> None:
        assert context.space is not None
        self._context, self._space = context, context.space
        weights = context.space.init_weights(rng=context.rng)
        weights[CLASSIFIER] = torch.zeros(context.task.outputs, context.train_classes)
        state = context.space.init_state() if isinstance(context.space, StatefulSpace) else {}
        self._state = {name: one.to(context.device) for name, one in state.items()}
        self._weights = {n: w.to(context.device).requires_grad_() for n, w in weights.items()}
        self._adam = torch.optim.Adam(list(self._weights.values()), lr=context.params.outer_lr)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Descend the loss of labelled examples, and that of episodes where there are some."""
        share, training = self._context.params.share, Training(rng=rng, progress=progress)
        assert tasks.labelled is not None
        embedded = self._embed(tasks.labelled.x, training)
        loss = share * _cross_entropy(self._classify(embedded), tasks.labelled.y)
        if len(tasks):
            assert tasks.classes is not None
            queries = self._near(tasks.support, training)(tasks.query.x)
            means = self._means(tasks.support, training)
            loss = loss + _cross_entropy(-squared_distances(queries, means), tasks.query.y)
            classes = tasks.classes.gather(1, tasks.query.y)  # [tasks, q], over all sources
            loss = loss + share * _cross_entropy(self._classify(queries), classes)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self._state = {name: one[0] for name, one in training.state.items()} or self._state
        return {"loss": loss.detach()}

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Take the class means of the support sets."""
        means, embed = self._means(support), self._near(support)
        return Adapted(predict=torch.no_grad()(lambda x: -squared_distances(embed(x), means)))

    def state_dict(self) -> dict[str, Any]:
        """Weights, the network's state, and Adam's moments, which only training needs."""
        return {
            "weights": dict(self._weights),
            "state": dict(self._state),
            "adam": TrainingOnly(self._adam.state_dict()["state"]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, with or without Adam's moments."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["weights"][name])
        self._state = {name: one.clone() for name, one in state["state"].items()}
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state.get("adam", {}), "param_groups": groups})

    def _means(self, support: Labelled, training: Training | None = None) -> Tensor:
        embedded = self._embed(support.x, training)
        return class_means(embedded, support.y, ways=self._context.task.outputs)

    def _near(self, support: Labelled, training: Training | None = None) -> Any:
        """What embeds queries as the protocol asks: all together, or each beside the support."""
        embed = partial(self._embed, training=training)
        return predictor(embed, support.x, transductive=self._context.queries_together)

    def _classify(self, embedded: Tensor) -> Tensor:
        """From ``[tasks, n, d]`` to logits ``[tasks, n, classes]``."""
        return embedded @ self._weights[CLASSIFIER]

    def _embed(self, x: Tensor, training: Training | None = None) -> Tensor:
        """Embed examples ``[tasks, n, *inputs]``; all tasks share weights and state."""
        shared = {n: one[None] for n, one in (self._weights | self._state).items()}
        del shared[CLASSIFIER]
        if training is not None and isinstance(self._space, StatefulSpace):
            return self._space.forward_training(shared, {}, x, training=training)
        return self._space.forward(shared, {}, x)


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The mean over tasks and examples, of logits ``[tasks, n, classes]`` and ``y [tasks, n]``."""
    return functional.cross_entropy(logits.flatten(0, 1), y.flatten())


def margin(outputs: Tensor, y: Tensor) -> Tensor:
    """From logits ``[tasks, q, classes]`` and classes ``[tasks, q]`` to scores ``[tasks]``."""
    own = outputs.gather(2, y[..., None])
    others = outputs.scatter(2, y[..., None], -torch.inf)
    return (own[..., 0] - others.amax(dim=2)).mean(dim=1)
