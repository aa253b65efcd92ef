"""Metric learners: a query is compared with the support set in a learned embedding.

The network without its head embeds examples. There is no inner loop: the outer loop descends the
cross-entropy of the query sets, and adaptation embeds the support set. The embedding may have
running statistics and dropout.

* ``protonet`` (Snell, Swersky and Zemel, NeurIPS 2017): a class is the mean c_k of its support
  embeddings; the logit of a query is ``-|f(x) - c_k|^2``.
* ``matching-net`` (Vinyals et al., NeurIPS 2016), without full-context embeddings: the probability
  of a class is the attention on its support examples, a softmax over the cosines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from metabench import (
    SKIPPED,
    Adapted,
    EpisodeShape,
    Labelled,
    LearnerContext,
    Params,
    TaskBatch,
    Training,
    predictor,
)
from metabench_plugins.learners.parts.attention import log_attention
from metabench_plugins.learners.parts.augmentation import (
    AugmentedParams,
    augmented,
    check_images,
)
from metabench_plugins.learners.parts.embedding import Embedding
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam, OuterOptimizer
from metabench_plugins.learners.parts.over_ranks import over_ranks, share_of_tasks
from metabench_plugins.learners.parts.query_log import QueryLog
from metabench_plugins.learners.parts.schedules import floor
from metabench_plugins.learners.parts.split_batch import tasks_of


class MetricParams(AugmentedParams):
    """Parameters of metric learners."""

    train_ways: int | None = Field(
        default=None,
        ge=2,
        le=1000,
        description="Classes per meta-training episode; null takes the setting's ways.",
    )
    outer_lr: float = Field(default=0.001, gt=0, le=1, description="Learning rate of Adam.")
    halve_every: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of meta-training after which the learning rate is halved, each time; 1 "
        "keeps it constant.",
    )
    skip_above: float | None = Field(
        default=20.0,
        gt=1,
        description="A meta-step is skipped if the norm of its gradient is not finite or more than "
        "this many times the median of the last 100; null for never.",
    )


class ProtoNetParams(MetricParams):
    """Parameters of prototypical networks."""

    distance: Literal["squared", "euclidean", "mean-squared"] = Field(
        default="squared",
        description="squared: the squared Euclidean distance; euclidean: its root; mean-squared: "
        "the squared distance divided by the number of features, as in the code of MetaOptNet.",
    )


class MatchingNetParams(MetricParams):
    """Parameters of matching networks."""

    scale: float = Field(
        default=1.0, gt=0, le=10_000, description="Factor of the cosines before the softmax."
    )


def train_shape(params: MetricParams, shape: EpisodeShape) -> EpisodeShape:
    """Metric learners may train with more classes per episode than they are tested with."""
    return EpisodeShape(params.train_ways or shape.ways, shape.shots, shape.queries)


class MetricLearner(ABC):
    """One embedding for all tasks.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        self._context = context
        self.params: Any = context.params
        check_images(self.params.augmentation, context.task)
        self.embed = Embedding(context, "a metric learner")
        self.outer = self.optimizer(self.embed.weights)

    def optimizer(self, embedding: Params) -> OuterOptimizer:
        """Make the outer optimizer; called once, before anything else."""
        p = self.params
        return OuterAdam([Group(embedding, p.outer_lr)], skip_above=p.skip_above)

    def rate(self, progress: float) -> float:
        """The factor of the learning rate after a share of meta-training."""
        # Rounding may put the quotient just below a whole number.
        rate: float = 0.5 ** floor(progress / self.params.halve_every + 1e-9)
        return rate

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """The mean loss of queries ``[n, ways]`` of classes ``[n]``."""
        return functional.cross_entropy(logits, y)

    def penalty(self) -> Tensor | float:
        """What joins the loss of a meta-step."""
        return 0.0

    def conditioned(
        self, x: Tensor, members: Tensor, training: Training | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Embed support sets.

        Args:
            x: their inputs, ``[tasks, n, *inputs]``.
            members: ``[tasks, n, ways]``, 1 where an example is of a class, else 0.
            training: of the meta-step; None to predict.

        Returns:
            their embedding, ``[tasks, n, d]``, and what embeds the queries of these tasks.
        """
        embed = partial(self.embed, training=training)
        return embed(x), embed

    @abstractmethod
    def logits(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """Compare embeddings.

        Args:
            queries: ``[tasks, q, d]``.
            support: ``[tasks, n, d]``.
            members: ``[tasks, n, ways]``, 1 where an example is of a class, else 0.

        Returns:
            ``[tasks, q, ways]``.
        """

    def logits_at_test(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """As :meth:`logits`, at meta-test."""
        return self.logits(queries, support, members)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Descend the mean loss of the query sets."""
        ways, ranks = self.params.train_ways or self._context.shape.ways, self._context.ranks
        n_tasks = len(tasks)
        supports, queries = (
            augmented(part, self.params.augmentation, rng=rng)
            for part in (tasks.support, tasks.query)
        )
        if ranks.count > 1:
            tasks = tasks_of(replace(tasks, support=supports, query=queries), ranks.own(n_tasks))
            supports, queries = tasks.support, tasks.query
        members = functional.one_hot(supports.y, ways)
        training = Training(rng=rng, progress=progress)
        support, embed = self.conditioned(supports.x, members, training)
        logits = self.logits(embed(queries.x), support, members.to(support.dtype))
        loss = self.loss(logits.flatten(0, 1), queries.y.flatten())
        log = QueryLog("classification")
        log.note(logits, queries.y)
        means = {"loss": loss.detach(), **log.means()}
        if ranks.count > 1:
            loss = loss * share_of_tasks(ranks, n_tasks)
        total = loss if ranks.rank else loss + self.penalty()
        gradients, means = over_ranks(
            ranks,
            self.outer.gradients(total),
            list(self.outer.weights.values()),
            means,
            n_tasks=n_tasks,
        )
        skipped = self.outer.apply(gradients, rate=self.rate(progress)).to(loss.dtype)
        self.embed.network.keep(training, skipped=skipped)
        return {**means, SKIPPED: skipped}

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Embed the support sets."""
        context = self._context
        members = functional.one_hot(support.y, context.shape.ways)
        embedded, embed = self.conditioned(support.x, members)
        embed = predictor(embed, support.x, transductive=context.queries_together)
        among = members.to(embedded.dtype)
        return Adapted(
            predict=torch.no_grad()(lambda x: self.logits_at_test(embed(x), embedded, among)),
            n_params=[sum(w.numel() for w in self.outer.weights.values())] * len(support.x),
        )

    def state_dict(self) -> dict[str, Any]:
        """Weights, the optimizer's moments, and the state of the network where it has one."""
        return self.outer.state_dict() | self.embed.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights, moments and the state of the network."""
        self.outer.load_state_dict(state)
        self.embed.network.load_state_dict(state)


class ProtoNet(MetricLearner):
    """Nearest class mean."""

    def logits(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """Minus the distances to the class means, each of which is ``[d]``."""
        means = members.mT @ support / members.sum(dim=1).unsqueeze(2)
        squares = (queries.unsqueeze(2) - means.unsqueeze(1)).square().sum(dim=3)
        match self.params.distance:
            case "euclidean":
                return -squares.clamp_min(1e-12).sqrt()
            case "mean-squared":
                return -squares / queries.shape[2]
            case _:
                return -squares


class MatchingNet(MetricLearner):
    """Attention on the support examples."""

    def logits(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """The logs of the classes' shares of the attention."""
        return log_attention(queries, support, members, scale=self.params.scale)
