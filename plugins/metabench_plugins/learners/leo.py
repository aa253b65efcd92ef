"""LEO: adaptation in a latent space that generates classifiers (Rusu et al., ICLR 2019).

Features x of a frozen network, of length 1, are encoded in context. With the pairs of all support
examples,

    e_i = W_e drop(x_i),    (mu_n, u_n) = mean over i of class n, over all j of r(e_i, e_j),     (1)

r a perceptron with two hidden layers and no biases. Each support example k of class n has a code
and decodes a linear classifier of the class:

    z_nk = mu_n + s(u_n) eps,    (m, v) = W_d z_nk,    w_nk = m + s(v) eps',                     (2)
    s(u) = max(exp(u) - 1 + offset, 1e-10),    logit_n(x) = mean_k w_nk . drop(x),

where eps are standard normals in meta-training and 0 at meta-test. Inner steps descend the sum of
the support cross-entropies, in z and then in w, with learned rates for each coordinate:

    z <- z - eta_z grad_z L(support),    w <- w - eta_w grad_w L(support).                       (3)

The outer loss of a task is

    CE(query) + beta KL + gamma mean (stop(z_S) - z_0)^2,                                        (4)

with KL the mean of log q(z) - log N(z; 0, 1) over the elements of the drawn codes, and joined by
lambda_1/2 |W|^2 over encoder, r and W_d and by lambda_2 mean (C - I)^2, C the cosines of the rows
of W_d.

Here the network is first trained as a classifier of the meta-train classes, in a phase of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from metabench import (
    SKIPPED,
    Adapted,
    EpisodeShape,
    Labelled,
    LearnerContext,
    Params,
    Phase,
    Reduction,
    TaskBatch,
    Training,
    nn,
    predictor,
    task_losses,
)
from metabench_plugins.learners.parts.augmentation import (
    AugmentedParams,
    augmented,
    check_images,
)
from metabench_plugins.learners.parts.classifier_head import ClassifierHead
from metabench_plugins.learners.parts.gradient_learner import leaves
from metabench_plugins.learners.parts.outer_adam import Group, OuterAdam
from metabench_plugins.learners.parts.pretrained_embedding import PretrainedEmbedding
from metabench_plugins.learners.parts.query_log import QueryLog

PRE_TRAIN = "pre-train"
NO_SPREAD = 1e-10
LARGEST_LOG_SPREAD = 10.0
"""A larger u of equation 2 counts as this, so that a code that runs away does not overflow."""


class LeoParams(AugmentedParams):
    """Parameters of LEO; the defaults are those of the released code."""

    features: Literal["pre-trained", "inputs"] = Field(
        default="pre-trained",
        description="pre-trained: the last hidden layer of the network, trained as a classifier of "
        "the meta-train classes first; inputs: the data are features, and no network is used.",
    )
    pretrain_fraction: float = Field(
        default=0.5, gt=0, lt=1, description="Share of meta-training that trains the network."
    )
    pretrain_batch: int = Field(
        default=64, ge=1, le=10_000, description="Labelled examples per step that trains it."
    )
    pretrain_lr: float = Field(
        default=0.001, gt=0, le=1, description="Learning rate of Adam in these steps."
    )
    latent: int = Field(default=64, ge=1, le=4096, description="Length of a code.")
    latent_steps: int = Field(default=5, ge=0, le=100, description="Inner steps on the codes.")
    tuning_steps: int = Field(
        default=5, ge=0, le=100, description="Inner steps on the classifiers that follow."
    )
    latent_lr: float = Field(
        default=1.0, ge=0, le=100, description="Initial rate of the steps on the codes."
    )
    tuning_lr: float = Field(
        default=0.001, ge=0, le=100, description="Initial rate of the steps on the classifiers."
    )
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="Share of each feature vector that is dropped."
    )
    kl_weight: float = Field(default=0.001, ge=0, description="beta, factor of the KL term.")
    encoder_penalty: float = Field(
        default=1e-9, ge=0, description="gamma, factor of the distance that codes move."
    )
    l2_penalty: float = Field(default=1e-8, ge=0, description="lambda_1, weight decay.")
    orthogonality_penalty: float = Field(
        default=0.001, ge=0, description="lambda_2, factor of the decoder's correlations."
    )
    outer_lr: float = Field(default=1e-4, gt=0, le=1, description="Learning rate of Adam.")
    clip: float | None = Field(
        default=0.1, gt=0, description="Bound on each element of the outer gradient."
    )
    max_norm: float | None = Field(
        default=0.1, gt=0, description="Bound on the norm of each tensor's outer gradient."
    )
    skip_above: float | None = Field(
        default=20.0,
        gt=1,
        description="A meta-step is skipped if the norm of its gradient is not finite or more than "
        "this many times the median of the last 100; null for never.",
    )

    @model_validator(mode="after")
    def _augments_images(self) -> LeoParams:
        if self.augmentation is not None and self.features == "inputs":
            raise ValueError(
                "`augmentation` changes the images of pre-training, which `features: inputs` "
                "leaves out"
            )
        return self


def phases(params: LeoParams, shape: EpisodeShape) -> Sequence[Phase]:
    """The network first, on labelled examples; then LEO, on episodes."""
    if params.features == "inputs":
        return [Phase(name="meta-train", share=1.0)]
    share, n = params.pretrain_fraction, params.pretrain_batch
    return [
        Phase(name=PRE_TRAIN, share=share, tasks=0, examples=n, selects=False),
        Phase(name="meta-train", share=1 - share),
    ]


def steps_at_test(params: LeoParams) -> int:
    """Steps on codes and on classifiers."""
    return params.latent_steps + params.tuning_steps


class Leo:
    """A generator of classifiers, and the rates of the steps that refine them.

    Args:
        context: what the harness gives.
    """

    def __init__(self, context: LearnerContext) -> None:
        self.context = context
        p: LeoParams = context.params
        self.params = p
        check_images(p.augmentation, context.task)
        self._network: PretrainedEmbedding | None = None
        if p.features == "pre-trained":
            self._network = PretrainedEmbedding(
                context,
                ClassifierHead(),
                learner="leo",
                lr=p.pretrain_lr,
                skip_above=p.skip_above,
            )
            features = self._network.embed.features
        else:
            features = math.prod(context.task.inputs)
        self._weights = leaves(self._initial_weights(features, context.rng), context.device)
        group = Group(self._weights, p.outer_lr, p.max_norm, each=True)
        self.outer = OuterAdam([group], clip=p.clip, skip_above=p.skip_above)

    def meta_step(
        self, tasks: TaskBatch, *, progress: float, rng: torch.Generator
    ) -> Mapping[str, Tensor | float]:
        """Train the network, or descend equation 4."""
        if self._network is not None and tasks.phase == PRE_TRAIN:
            assert tasks.labelled is not None
            examples = augmented(tasks.labelled, self.params.augmentation, rng=rng)
            return self._network.classify(examples, progress=progress, rng=rng)
        with torch.no_grad():
            support, query = self._features(tasks.support.x), self._features(tasks.query.x)
        log = QueryLog("classification")
        losses, penalty = self.losses(
            support,
            tasks.support.y,
            query,
            tasks.query.y,
            training=Training(rng=rng, progress=progress),
            log=log,
        )
        loss = losses.mean()
        skipped = self.outer.step(loss + penalty)
        logged = {"loss": loss.detach(), **log.means(), SKIPPED: skipped}
        return {**logged, "penalty": penalty.detach()}

    @torch.no_grad()
    def adapt(self, support: Labelled, *, rng: torch.Generator) -> Adapted:
        """Generate classifiers without noise, and refine them."""
        features = self._features(support.x)
        codes, _ = self.encode(features, support.y, training=None)
        with torch.enable_grad():
            _, classifiers = self.refine(codes, features, support.y, training=None)
        classifiers = classifiers.detach()
        embed = predictor(self._features, support.x, transductive=self.context.queries_together)
        n_params = sum(w.numel() for w in self._weights.values())
        if self._network is not None:
            n_params += self._network.n_params
        return Adapted(
            predict=torch.no_grad()(lambda x: logits(embed(x), classifiers)),
            n_params=[n_params] * len(support.x),
        )

    def losses(
        self,
        support: Tensor,
        labels: Tensor,
        query: Tensor,
        answers: Tensor,
        *,
        training: Training,
        log: QueryLog | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Query losses after the inner steps, ``[tasks]``, and the penalties, a scalar.

        Args:
            support: features ``[tasks, n, d]``.
            labels: ``[tasks, n]``.
            query: features ``[tasks, q, d]``.
            answers: ``[tasks, q]``.
            training: of the meta-step.
            log: notes the predictions for the queries.
        """
        p = self.params
        codes, divergence = self.encode(support, labels, training=training)
        moved, classifiers = self.refine(codes, support, labels, training=training)
        outputs = logits(self._dropout(query, training), classifiers)
        if log is not None:
            log.note(outputs, answers)
        losses = _losses(outputs, answers, reduction="mean")
        distance = (moved.detach() - codes).square().mean()
        penalty = p.kl_weight * divergence + p.encoder_penalty * distance
        penalty = penalty + p.l2_penalty * self._squares() / 2
        return losses, penalty + p.orthogonality_penalty * self._correlations()

    def encode(
        self, x: Tensor, labels: Tensor, *, training: Training | None
    ) -> tuple[Tensor, Tensor]:
        """Equation 1 and the codes of equation 2, ``[tasks, ways, shots, latent]``, and the KL."""
        w, ways = self._weights, self.context.shape.ways
        e = self._dropout(x, training) @ w["encoder"]
        n = e.shape[1]
        pairs = torch.cat(
            [e.unsqueeze(2).expand(-1, -1, n, -1), e.unsqueeze(1).expand(-1, n, -1, -1)], dim=3
        )
        h = torch.relu(pairs @ w["relation.1"])
        h = torch.relu(h @ w["relation.2"])
        related = (h @ w["relation.3"]).mean(dim=2)  # [tasks, n, 2 latent]
        members = functional.one_hot(labels, ways).to(related)
        shots = n // ways
        mean, spread = (members.mT @ related / shots).chunk(2, dim=2)
        mean = mean.unsqueeze(2).expand(-1, -1, shots, -1)
        if training is None:
            return mean, mean.new_zeros(())
        sigma = _spread(spread.unsqueeze(2).expand(-1, -1, shots, -1), offset=0.0)
        eps = _normal(mean, training)
        codes = mean + sigma * eps
        # log q(z) - log N(z; 0, 1): the constants cancel.
        divergence = (codes.square() - eps.square()) / 2 - sigma.log()
        return codes, divergence.mean()

    def refine(
        self, codes: Tensor, x: Tensor, labels: Tensor, *, training: Training | None
    ) -> tuple[Tensor, Tensor]:
        """Equation 3.

        Returns:
            The codes after their steps, and the classifiers ``[tasks, ways, shots, d]`` after
            theirs, with their graph in meta-training.
        """
        p, w = self.params, self._weights
        differentiable = training is not None
        if not differentiable:
            codes = codes.detach().requires_grad_()

        def loss(classifiers: Tensor) -> Tensor:
            outputs = logits(self._dropout(x, training), classifiers)
            return _losses(outputs, labels, reduction="per_shot").sum()

        for _ in range(p.latent_steps):
            total = loss(self.decode(codes, training=training))
            (gradient,) = torch.autograd.grad(total, codes, create_graph=differentiable)
            codes = codes - w["rate.latent"] * gradient
        classifiers = self.decode(codes, training=training)
        for _ in range(p.tuning_steps):
            total = loss(classifiers)
            (gradient,) = torch.autograd.grad(total, classifiers, create_graph=differentiable)
            classifiers = classifiers - w["rate.tuning"] * gradient
        return codes, classifiers

    def decode(self, codes: Tensor, *, training: Training | None) -> Tensor:
        """The classifiers of equation 2, ``[tasks, ways, shots, d]``."""
        mean, spread = (codes @ self._weights["decoder"]).chunk(2, dim=3)
        if training is None:
            return mean
        offset = math.sqrt(2 / (mean.shape[3] + self.context.shape.ways))
        return mean + _spread(spread, offset=offset) * _normal(mean, training)

    def state_dict(self) -> dict[str, Any]:
        """Weights and moments, of the network too."""
        network = {} if self._network is None else {"network": self._network.state_dict()}
        return {"leo": self.outer.state_dict(), **network}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights and moments."""
        self.outer.load_state_dict(state["leo"])
        if self._network is not None:
            self._network.load_state_dict(state["network"])

    def _dropout(self, x: Tensor, training: Training | None) -> Tensor:
        return nn.dropout(x, rate=self.params.dropout, training=training)

    def _features(self, x: Tensor) -> Tensor:
        """Features of length 1, ``[tasks, n, d]``."""
        features = x.flatten(2) if self._network is None else self._network.embed(x)
        return functional.normalize(features, dim=2)

    def _initial_weights(self, features: int, rng: torch.Generator) -> Params:
        """Initial weights, Glorot uniform, and rates."""
        latent = self.params.latent
        shapes = {
            "encoder": (features, latent),
            **{f"relation.{i}": (2 * latent, 2 * latent) for i in (1, 2, 3)},
            "decoder": (latent, 2 * features),
        }
        weights = {
            name: torch.empty(shape).uniform_(-1, 1, generator=rng) * math.sqrt(6 / sum(shape))
            for name, shape in shapes.items()
        }
        weights["rate.latent"] = torch.full((latent,), self.params.latent_lr)
        weights["rate.tuning"] = torch.full((features,), self.params.tuning_lr)
        return weights

    def _squares(self) -> Tensor:
        decayed = [w for name, w in self._weights.items() if not name.startswith("rate.")]
        return torch.stack([w.square().sum() for w in decayed]).sum()

    def _correlations(self) -> Tensor:
        """The mean square of what the cosines of the decoder's rows are off the unit matrix."""
        rows = functional.normalize(self._weights["decoder"], dim=1)
        unit = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        return (rows @ rows.T - unit).square().mean()


def logits(x: Tensor, classifiers: Tensor) -> Tensor:
    """Logits of ``x [tasks, n, d]`` by ``classifiers [tasks, ways, shots, d]``."""
    return x @ classifiers.mean(dim=2).mT


def _spread(u: Tensor, *, offset: float) -> Tensor:
    return (u.clamp_max(LARGEST_LOG_SPREAD).exp() - 1 + offset).clamp_min(NO_SPREAD)


def _losses(outputs: Tensor, y: Tensor, *, reduction: Reduction) -> Tensor:
    """The mean or, with ``per_shot``, the sum of the cross-entropies of each task, ``[tasks]``."""
    return task_losses(outputs, y, kind="classification", reduction=reduction, shots=1)


def _normal(like: Tensor, training: Training) -> Tensor:
    """Standard normals of the shape of another tensor."""
    return torch.randn(like.shape, generator=training.rng).to(like, non_blocking=True)
