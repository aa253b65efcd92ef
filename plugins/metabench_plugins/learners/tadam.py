"""TADAM: a metric scaled, conditioned on the task, and trained together with a classifier.

Oreshkin, Rodriguez and Lacoste, NeurIPS 2018. The logit of class k is ``-a |f(x) - c_k|``, with the
Euclidean norm and class means c_k, as in the released code; a is a parameter that is not learned.

The embedding is computed twice. The first pass embeds the support set; its class means have the
mean c. Then each hidden layer l of the network gets

    gamma_l = gamma0_l h_l(c),    beta_l = beta0_l g_l(c),    y <- (1 + gamma_l) y + beta_l,     (1)

after its norm, and the second pass embeds support and query sets with it. g and h are

    u = swish(A_1 c),    g(c) = u + A_3 swish(A_2 u),

with biases. The scalars gamma0 and beta0 start at 0, and decay by a rate of their own.

Before an update on episodes, with a probability that falls over meta-training, an update on
labelled examples descends the cross-entropy of a linear classifier of the meta-train classes on the
unconditioned embedding.

Weight decay is a part of the losses, as L2: bounds of the gradient hold for it too. As in the
released code it concerns filters and matrices; biases, norms and the classifier do not decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from metabench import (
    EpisodeShape,
    LearnerContext,
    Params,
    Phase,
    TaskBatch,
    Training,
    TrainingOnly,
    nn,
)
from metabench_plugins.learners.metric import ProtoNet
from metabench_plugins.learners.parts.augmentation import AugmentedParams, augmented
from metabench_plugins.learners.parts.classifier_head import ClassifierHead
from metabench_plugins.learners.parts.gradient_learner import leaves
from metabench_plugins.learners.parts.labelled_classifier import LabelledClassifier
from metabench_plugins.learners.parts.outer_adam import Group, OuterOptimizer
from metabench_plugins.learners.parts.outer_sgd import OuterSgd
from metabench_plugins.learners.parts.rate_drops import RateDrops

PARTS = ("scale", "shift")
"""What equation 1 computes for each layer: gamma and beta."""
STAGES = 20
"""After each of as many parts of meta-training the probability of co-training falls."""
NET_SPREAD = 0.1
"""Factor of He's variance ``2 / outputs`` of the initial weights of the nets."""


class TadamParams(RateDrops, AugmentedParams):
    """Parameters of TADAM."""

    train_ways: int | None = Field(
        default=None,
        ge=2,
        le=1000,
        description="Classes per meta-training episode; null takes the setting's ways.",
    )
    metric_scale: float = Field(
        default=7.5, gt=0, le=10_000, description="a, the factor of the distances."
    )
    distance: Literal["euclidean", "squared"] = Field(
        default="euclidean",
        description="euclidean: the Euclidean distance, as in the released code; squared: its "
        "square, as in the text.",
    )
    condition: bool = Field(
        default=True, description="Whether the second pass is conditioned on the task."
    )
    factor_penalty: float = Field(
        default=0.01, ge=0, description="Weight decay of the scalars gamma0 and beta0."
    )
    co_training: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="Probability of an update on labelled examples in the first twentieth of "
        "meta-training; in each further one it is multiplied by this number. 0 for none.",
    )
    co_batch: int = Field(
        default=64, ge=1, le=10_000, description="Labelled examples of such an update."
    )
    outer_lr: float = Field(default=0.1, gt=0, le=10, description="Initial learning rate of SGD.")
    rate_drops: tuple[tuple[float, float], ...] = Field(
        default=((0.5, 0.1), (7 / 12, 0.01), (2 / 3, 0.001)),
        description="Pairs of a share of meta-training and the factor of outer_lr from there on; "
        "an empty list keeps it constant.",
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(
        default=5e-4,
        ge=0,
        le=1,
        description="Weight decay of filters and matrices, but for the classifier's.",
    )
    max_norm: float | None = Field(
        default=1.0,
        gt=0,
        description="Bound on the norm of each tensor's outer gradient; null for none.",
    )
    skip_above: float | None = Field(
        default=20.0,
        gt=1,
        description="A meta-step is skipped if the norm of its gradient is not finite or more than "
        "this many times the median of the last 100; null for never.",
    )


def phases(params: TadamParams, shape: EpisodeShape) -> Sequence[Phase]:
    """Episodes and labelled examples in every meta-step."""
    n = params.co_batch if params.co_training else 0
    return [Phase(name="meta-train", share=1.0, examples=n)]


class Tadam(ProtoNet):
    """Class means in an embedding that depends on the task.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        super().__init__(context)
        self.co_optimizer: OuterOptimizer | None = None
        if self.params.co_training:
            self.classifier = LabelledClassifier(context, self.embed, ClassifierHead())
            self.co_optimizer = self._sgd(self.embed.weights | self.classifier.weights)

    def optimizer(self, embedding: Params) -> OuterOptimizer:
        """SGD on the embedding and on what conditions it."""
        embed, rng = self.embed, self._context.rng
        self._layers = embed.hidden if self.params.condition else {}
        drawn: Params = {}
        for layer, units in self._layers.items():
            for part in PARTS:
                drawn |= _new_net(f"{layer}.{part}", embed.features, units, rng)
        self._conditioning = leaves(drawn, self._context.device, prefix="condition.")
        return self._sgd(embedding | self._conditioning)

    def rate(self, progress: float) -> float:
        """The factor of the last drop that has come."""
        rate: float = self.params.rate(progress)
        return rate

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Perhaps classify labelled examples, then descend the query loss of the episodes."""
        p: TadamParams = self.params
        drawn = float(torch.rand((), generator=rng))
        if self.co_optimizer is not None and drawn < p.co_training ** (int(STAGES * progress) + 1):
            assert tasks.labelled is not None
            training = Training(rng=rng, progress=progress)
            examples = augmented(tasks.labelled, p.augmentation, rng=rng)
            loss = self.classifier.loss(examples, training) + self._decay(self.embed.weights)
            skipped = self.co_optimizer.step(loss, rate=self.rate(progress))
            self.embed.network.keep(training, skipped=skipped)
        return super().meta_step(tasks, progress=progress, rng=rng)

    def conditioned(
        self, x: Tensor, members: Tensor, training: Training | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Embed support sets, and once more conditioned on what they are."""
        film = self.film(self.embed(x, training), members)
        embed = partial(self.embed, training=training, extra=film)
        return embed(x), embed

    def logits(self, queries: Tensor, support: Tensor, members: Tensor) -> Tensor:
        """Minus the scaled distances to the class means."""
        scale: float = self.params.metric_scale
        return scale * super().logits(queries, support, members)

    def film(self, support: Tensor, members: Tensor) -> Params:
        """Equation 1 for each hidden layer.

        Args:
            support: the unconditioned embedding, ``[tasks, n, features]``.
            members: ``[tasks, n, ways]``, 1 where an example is of a class, else 0.

        Returns:
            ``<layer>.film.scale`` and ``<layer>.film.shift``, ``[tasks, units]``.
        """
        if not self._layers:
            return {}
        among = members.to(support)
        means = among.mT @ support / among.sum(dim=1).unsqueeze(2)
        task = means.mean(dim=1)
        return {
            f"{layer}.film.{part}": self._net(f"condition.{layer}.{part}", task)
            for layer in self._layers
            for part in PARTS
        }

    def penalty(self) -> Tensor:
        """The L2 of weight decay, and that of the scalars of equation 1."""
        factors = [w for name, w in self._conditioning.items() if name.endswith(".factor")]
        own: float = self.params.factor_penalty / 2
        return self._decay(self.outer.weights) + own * _squares(factors)

    def _decay(self, weights: Params) -> Tensor:
        """The L2 of the filters and matrices among some weights."""
        half: float = self.params.weight_decay / 2
        return half * _squares([weight for weight in weights.values() if weight.dim() > 1])

    def state_dict(self) -> dict[str, Any]:
        """As :meth:`MetricLearner.state_dict`, and that of co-training."""
        own = super().state_dict()
        if self.co_optimizer is not None:
            own["co_training"] = TrainingOnly(self.co_optimizer.state_dict())
        return own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        if self.co_optimizer is not None and "co_training" in state:
            self.co_optimizer.load_state_dict(state["co_training"])
        super().load_state_dict(state)

    def _sgd(self, weights: Params) -> OuterOptimizer:
        p: TadamParams = self.params
        group = Group(weights, p.outer_lr, p.max_norm, each=True)
        return OuterSgd([group], momentum=p.momentum, nesterov=False, skip_above=p.skip_above)

    def _net(self, name: str, task: Tensor) -> Tensor:
        """A conditioning net on ``task [tasks, features]``: ``[tasks, units]``."""
        w = self._conditioning

        def affine(x: Tensor, i: int) -> Tensor:
            return nn.linear(x[None], w[f"{name}.{i}.weight"][None], w[f"{name}.{i}.bias"][None])[0]

        u = functional.silu(affine(task, 1))
        return w[f"{name}.factor"] * (u + affine(functional.silu(affine(u, 2)), 3))


def _new_net(name: str, features: int, units: int, rng: torch.Generator) -> Params:
    """Weights of a conditioning net, with the variance of the source, and its factor 0."""
    weights: Params = {}
    for i, inputs in enumerate((features, units, units), start=1):
        drawn = torch.randn(inputs, units, generator=rng)
        weights[f"{name}.{i}.weight"] = math.sqrt(NET_SPREAD * 2 / units) * drawn
        weights[f"{name}.{i}.bias"] = torch.zeros(units)
    weights[f"{name}.factor"] = torch.zeros(())
    return weights


def _squares(weights: Sequence[Tensor]) -> Tensor:
    """The sum of the squares of all elements."""
    sums = [weight.square().sum() for weight in weights]
    return torch.stack(sums).sum() if sums else torch.zeros(())
