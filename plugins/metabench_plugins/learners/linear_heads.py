"""Learners whose inner loop solves for the best linear classifier of a learned embedding.

The network without its head embeds examples. The classifier W of a task is the solution of a convex
problem on the support set, and the outer loop differentiates through the solution. The logits of a
query are ``scale f(x)' W``.

* ``r2d2`` (Bertinetto et al., ICLR 2019): ridge regression of the one-hot labels.
* ``metaoptnet`` (Lee et al., CVPR 2019): ridge regression, or the multi-class SVM of Crammer and
  Singer. Its ridge weights are twice those of the regression, for its quadratic program has no
  factor 1/2 before the squared error.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from metabench import EpisodeShape, Frozen, Params
from metabench_plugins.learners.metric import MetricLearner, MetricParams
from metabench_plugins.learners.parts.augmentation import AugmentedParams
from metabench_plugins.learners.parts.crammer_singer import crammer_singer
from metabench_plugins.learners.parts.gradient_learner import leaves
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam, OuterOptimizer
from metabench_plugins.learners.parts.outer_sgd import OuterSgd
from metabench_plugins.learners.parts.rate_drops import RateDrops
from metabench_plugins.learners.parts.ridge import ridge


class EpisodeParams(Frozen):
    """Sizes of meta-training episodes."""

    train_ways: int | None = Field(
        default=None,
        ge=2,
        le=1000,
        description="Classes per meta-training episode; null takes the setting's ways.",
    )
    train_shots: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Support examples per class in meta-training; null takes the setting's shots.",
    )
    train_queries: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Query examples per class in meta-training; null takes the protocol's.",
    )


class R2d2Params(MetricParams, EpisodeParams):
    """Parameters of R2-D2."""

    outer_lr: float = Field(default=0.005, gt=0, le=1, description="Learning rate of Adam.")
    penalty: float = Field(
        default=50.0, gt=0, le=1e6, description="Initial penalty of the squared weights."
    )
    learn_penalty: bool = Field(
        default=True, description="Whether the logarithm of the penalty is meta-learned."
    )
    scale: float = Field(
        default=1.0, gt=0, le=1e6, description="Initial factor of the logits, which is learned."
    )


class MetaOptNetParams(RateDrops, EpisodeParams, AugmentedParams):
    """Parameters of MetaOptNet."""

    head: Literal["svm", "ridge"] = Field(
        default="svm",
        description="svm: the multi-class SVM of Crammer and Singer; ridge: ridge regression.",
    )
    penalty: float = Field(
        default=50.0, gt=0, le=1e6, description="Penalty of the squared weights of the ridge head."
    )
    bound: float = Field(
        default=0.1, gt=0, le=1e6, description="C of the SVM head, the bound of its dual weights."
    )
    iterations: int = Field(
        default=15,
        ge=1,
        le=100,
        description="Points that the SVM's solver looks at in meta-training, the start among them.",
    )
    test_iterations: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Points that the SVM's solver looks at in meta-test; the paper regularizes "
        "by few.",
    )
    scale: float = Field(
        default=1.0, gt=0, le=1e6, description="Initial factor of the logits, which is learned."
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Share of a query's label that the other classes have in meta-training.",
    )
    outer_lr: float = Field(default=0.1, gt=0, le=10, description="Initial learning rate of SGD.")
    rate_drops: tuple[tuple[float, float], ...] = Field(
        default=((1 / 3, 0.06), (2 / 3, 0.012), (5 / 6, 0.0024)),
        description="Pairs of a share of meta-training and the factor of outer_lr from there on; "
        "an empty list keeps it constant.",
    )
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Nesterov's momentum of SGD; 0 for none."
    )
    weight_decay: float = Field(
        default=5e-4, ge=0, le=1, description="Weight decay of all learned weights."
    )
    skip_above: float | None = Field(
        default=20.0,
        gt=1,
        description="A meta-step is skipped if the norm of its gradient is not finite or more than "
        "this many times the median of the last 100; null for never.",
    )


def train_shape(params: EpisodeParams, shape: EpisodeShape) -> EpisodeShape:
    """The embedding may be trained on episodes of another size than it is tested on."""
    return EpisodeShape(
        params.train_ways or shape.ways,
        params.train_shots or shape.shots,
        params.train_queries or shape.queries,
    )


class R2d2(MetricLearner):
    """Ridge regression with a learned penalty, and logits with a learned scale and bias.

    All classes share the bias, as in the source. It changes no probability.
    """

    def optimizer(self, embedding: Params) -> OuterOptimizer:
        """Adam, on the weights of the embedding and three numbers."""
        p: R2d2Params = self.params
        start = {"log_penalty": math.log(p.penalty), "scale": p.scale, "bias": 0.0}
        self._head = numbers(start, self._context.device)
        learned = {n: w for n, w in self._head.items() if p.learn_penalty or n != "log_penalty"}
        weights = embedding | {f"ridge.{name}": number for name, number in learned.items()}
        return OuterAdam([Group(weights, p.outer_lr)], skip_above=p.skip_above)

    def logits(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """See :meth:`MetricLearner.logits`."""
        head = self._head
        weights = ridge(support, members, penalty=head["log_penalty"].exp())
        return head["scale"] * (queries @ weights) + head["bias"]


class MetaOptNet(MetricLearner):
    """A ridge regression or an SVM, and logits with a learned scale."""

    def optimizer(self, embedding: Params) -> OuterOptimizer:
        """SGD with momentum, on the weights of the embedding and the scale."""
        p: MetaOptNetParams = self.params
        self._head = numbers({"scale": p.scale}, self._context.device)
        weights = embedding | {"logits.scale": self._head["scale"]}
        group = Group(weights, p.outer_lr, decay=p.weight_decay)
        return OuterSgd([group], momentum=p.momentum, skip_above=p.skip_above)

    def rate(self, progress: float) -> float:
        """The factor of the last drop that has come."""
        rate: float = self.params.rate(progress)
        return rate

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy; a smoothed label has ``1 - label_smoothing`` at its class."""
        p: MetaOptNetParams = self.params
        ways = logits.shape[1]
        # PyTorch gives the class itself a part of what it takes away.
        smoothing = p.label_smoothing * ways / (ways - 1)
        return functional.cross_entropy(logits, y, label_smoothing=smoothing)

    def logits(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """With the solver's iterations of meta-training; see :meth:`MetricLearner.logits`."""
        return self._logits(queries, support, members, iterations=self.params.iterations)

    def logits_at_test(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """With the solver's iterations of meta-test."""
        return self._logits(queries, support, members, iterations=self.params.test_iterations)

    def _logits(
        self, queries: Tensor, support: Tensor, members: Tensor, *, iterations: int
    ) -> Tensor:
        p: MetaOptNetParams = self.params
        if p.head == "ridge":
            weights = 2 * ridge(support, members, penalty=p.penalty)
        else:
            gram = support @ support.mT
            dual = crammer_singer(gram, members, bound=p.bound, iterations=iterations)
            weights = support.mT @ dual
        return self._head["scale"] * (queries @ weights)


def numbers(values: dict[str, float], device: torch.device) -> Params:
    """Make learned numbers, each a scalar, on a device."""
    return leaves({name: torch.tensor(value) for name, value in values.items()}, device)
